import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { useApi, usePages } from "../hooks";
import { Answer, More } from "../parts/answer";
import { Explained } from "../parts/explained";
import { Panel } from "../parts/panel";
import { Search } from "../parts/search";
import { type Column, Table } from "../parts/table";
import { isRangeOrFilter, linkTo, query, type Route, zoneOf } from "../route";
import type { Metrics, SessionInRange } from "../types";
import { SessionView } from "./session";

const PAGE = 50;

export function SessionsView({ route }: ViewProps) {
  return (
    <>
      <Search
        label="Session id"
        placeholder="Session id (UUID)"
        action="Open"
        value={route.of ?? ""}
        onSearch={(typed) => {
          location.hash = linkTo("sessions", route.params, typed.trim());
        }}
      />
      {route.of === null ? <Latest route={route} /> : <SessionView key={route.of} id={route.of} route={route} />}
    </>
  );
}

function Latest({ route }: { route: Route }) {
  const zone = zoneOf(route.params);
  const range = { timeframe: route.params.get("start") ? null : (route.params.get("timeframe") ?? "all") };
  const sessions = usePages<SessionInRange>(
    `/v1/metrics/sessions?${query(route.params, isRangeOrFilter, { limit: String(PAGE), ...range })}`,
    "sessions",
  );
  const isEmpty = sessions.data?.length === 0;
  const metrics = useApi<Metrics>(isEmpty ? `/v1/metrics?${query(route.params, isRangeOrFilter, range)}` : null);
  return (
    <>
      <Filters route={route} timeframe="all" />
      <Panel
        title="Latest sessions"
        busy={sessions.isLoading}
        note="Sessions with an event that passes the range and filters, ordered by the latest such event."
      >
        <Answer of={sessions} rows={8}>
          {(rows) =>
            rows.length > 0 ? (
              <>
                <Table
                  caption="Latest sessions"
                  rows={rows}
                  keyOf={(each) => each.sessionId}
                  columns={columns(route, zone)}
                />
                <More of={sessions} what="Older sessions" />
              </>
            ) : metrics.data ? (
              <Explained explain={metrics.data.explain} isEmpty route={route} zone={zone} />
            ) : null
          }
        </Answer>
      </Panel>
    </>
  );
}

const columns = (route: Route, zone: string): Column<SessionInRange>[] => [
  {
    title: "Session",
    cell: (each) => (
      <a href={linkTo("sessions", route.params, each.sessionId)} aria-label={`Session ${each.sessionId}`}>
        <code>{format.shortId(each.sessionId)}</code>
      </a>
    ),
  },
  {
    title: "User",
    cell: (each) =>
      each.userId === null ? (
        <span class="muted">anonymous</span>
      ) : (
        <a href={linkTo("users", route.params, each.userId)}>{each.userId}</a>
      ),
  },
  { title: "Participant type", cell: (each) => each.participantType ?? <span class="muted">none</span> },
  {
    title: "Events",
    isNumber: true,
    cell: (each) =>
      each.eventsInRange === each.eventsCount
        ? format.count(each.eventsCount)
        : `${format.count(each.eventsInRange)} of ${format.count(each.eventsCount)}`,
  },
  { title: "Length", isNumber: true, cell: (each) => format.duration(each.durationSeconds) },
  {
    title: "Last event",
    cell: (each) => (
      <>
        {format.moment(each.lastEventAt, zone)} {each.isActive && <span class="tag">active now</span>}
      </>
    ),
  },
];
