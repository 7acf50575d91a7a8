import { useEffect, useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { asApiError, useApi } from "../hooks";
import { Answer, Copy, Empty, EventList, Explained, Failure, Panel, Skeleton, shortId, Table } from "../parts";
import { isFilter, isRange, linkTo, query, type Route, zoneOf } from "../route";
import type { EventPage, Ledger, Metrics, Session, StoredEvent } from "../types";

const PAGE = 1_000;
const MOST_PAGES = 5;

export function SessionsView({ route }: ViewProps) {
  return (
    <>
      <Open route={route} />
      {route.of === null ? <Latest route={route} /> : <One key={route.of} id={route.of} route={route} />}
    </>
  );
}

function Open({ route }: { route: Route }) {
  const [typed, setTyped] = useState(route.of ?? "");
  return (
    <form
      class="row search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        location.hash = linkTo("sessions", route.params, typed.trim());
      }}
    >
      <label>
        <span class="hidden">A session’s id</span>
        <input
          type="search"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          placeholder="A session’s id, a UUID"
          spellcheck={false}
          required
        />
      </label>
      <button type="submit" class="primary">
        Open
      </button>
    </form>
  );
}

interface Seen {
  id: string;
  userId: string | null;
  events: number;
  first: string;
  last: string;
}

/** The API lists no sessions: these are those of the newest thousand events. */
function Latest({ route }: { route: Route }) {
  const zone = zoneOf(route.params);
  const range = { timeframe: route.params.get("start") ? null : (route.params.get("timeframe") ?? "all") };
  const asked = (name: string) => isRange(name) || isFilter(name);
  const page = useApi<EventPage>(`/v1/metrics/events?${query(route.params, asked, { limit: String(PAGE), ...range })}`);
  const metrics = useApi<Metrics>(`/v1/metrics?${query(route.params, asked, range)}`);
  return (
    <>
      <Filters route={route} timeframe="all" />
      <Panel
        title="Latest sessions"
        busy={page.isLoading}
        note={`Sessions of the newest ${format.count(PAGE)} events of the range; times and counts are of those events.`}
      >
        <Answer of={page} rows={8}>
          {({ events }) =>
            events.length > 0 ? (
              <Table
                caption="Latest sessions"
                rows={sessionsOf(events)}
                keyOf={(each) => each.id}
                columns={[
                  {
                    title: "Session",
                    cell: (each) => (
                      <a href={linkTo("sessions", route.params, each.id)} aria-label={`Session ${each.id}`}>
                        <code>{shortId(each.id)}</code>
                      </a>
                    ),
                  },
                  {
                    title: "User",
                    cell: (each) =>
                      each.userId === null ? (
                        <span class="muted">unknown</span>
                      ) : (
                        <a href={linkTo("users", route.params, each.userId)}>{each.userId}</a>
                      ),
                  },
                  { title: "Events", isNumber: true, cell: (each) => format.count(each.events) },
                  {
                    title: "Length",
                    isNumber: true,
                    cell: (each) => format.duration((Date.parse(each.last) - Date.parse(each.first)) / 1000),
                  },
                  { title: "Last event", cell: (each) => format.moment(each.last, zone) },
                ]}
              />
            ) : metrics.data ? (
              <Explained explain={metrics.data.explain} isEmpty route={route} zone={zone} />
            ) : null
          }
        </Answer>
      </Panel>
    </>
  );
}

function sessionsOf(events: StoredEvent[]): Seen[] {
  const found = new Map<string, Seen>();
  for (const event of events) {
    const seen = found.get(event.sessionId);
    if (seen === undefined) {
      found.set(event.sessionId, {
        id: event.sessionId,
        userId: event.userId,
        events: 1,
        first: event.timestamp,
        last: event.timestamp,
      });
    } else {
      seen.events += 1;
      seen.first = event.timestamp;
      seen.userId ??= event.userId;
    }
  }
  return [...found.values()];
}

function One({ id, route }: { id: string; route: Route }) {
  const zone = zoneOf(route.params);
  const path = encodeURIComponent(id);
  const session = useApi<Session>(`/v1/sessions/${path}`);
  const ledger = useApi<Ledger>(session.data && `/v1/diagnostics/sessions/${path}`);
  return (
    <>
      <Panel
        title={`Session ${shortId(id)}`}
        busy={session.isLoading}
        actions={<Copy text={id} what="the session’s id" />}
      >
        <Answer of={session}>
          {(data) => (
            <dl class="pairs">
              <dt>User</dt>
              <dd>
                {data.userId === null ? (
                  <span class="muted">unknown</span>
                ) : (
                  <a href={linkTo("users", route.params, data.userId)}>{data.userId}</a>
                )}
              </dd>
              {data.participantType && (
                <>
                  <dt>Participant type</dt>
                  <dd>{data.participantType}</dd>
                </>
              )}
              <dt>Started</dt>
              <dd>{format.moment(data.startedAt, zone)}</dd>
              <dt>{data.endedAt ? "Ended" : "Last seen"}</dt>
              <dd>
                {format.moment(data.endedAt ?? data.lastSeenAt, zone)}{" "}
                {data.isActive && <span class="tag">active now</span>}
              </dd>
              <dt>Length</dt>
              <dd>{format.duration(data.durationSeconds)}</dd>
              <dt>Events</dt>
              <dd>{format.count(data.eventsCount)}</dd>
            </dl>
          )}
        </Answer>
      </Panel>
      {session.data && (
        <Panel title="Has all of it arrived?" busy={ledger.isLoading}>
          <Answer of={ledger} rows={2}>
            {(data) => <Losses ledger={data} />}
          </Answer>
        </Panel>
      )}
      {session.data && <Timeline session={session.data} route={route} />}
    </>
  );
}

function Losses({ ledger }: { ledger: Ledger }) {
  const { batches, lateness, clockSkewMs } = ledger;
  return (
    <>
      <p class={ledger.remedy === null ? "verdict well" : "verdict"}>
        <strong>{ledger.verdict}</strong>
      </p>
      {ledger.remedy && <p class="remedy">{ledger.remedy}</p>}
      <ul class="facts">
        <li>
          {batches.last === 0
            ? "batches are not numbered"
            : `${format.count(batches.last - batches.missing)} of ${format.counted(batches.last, "batch", "batches")} arrived`}
        </li>
        <li>{format.count(ledger.dropped)} dropped by the client</li>
        <li>{format.count(ledger.rejected)} rejected</li>
        {clockSkewMs !== null && <li>client’s clock off by {format.duration(Math.abs(clockSkewMs) / 1000)}</li>}
        {lateness && <li>received {format.duration(lateness.medianSeconds)} after they happened (median)</li>}
        {ledger.userConflicts > 0 && (
          <li>{format.counted(ledger.userConflicts, "batch named", "batches named")} another user</li>
        )}
      </ul>
    </>
  );
}

/** The API filters events by user and time, not by session: what other sessions had in that time is left out here. */
function Timeline({ session, route }: { session: Session; route: Route }) {
  const zone = zoneOf(route.params);
  const [found, setFound] = useState<{ events: StoredEvent[]; isWhole: boolean } | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setFound(null);
    setError(null);
    eventsOf(session, abort.signal)
      .then(setFound)
      .catch((raised) => {
        if (!abort.signal.aborted) setError(asApiError(raised));
      });
    return () => abort.abort();
  }, [session.sessionId, session.lastSeenAt, turn]);
  const start = found?.events[0] ? Date.parse(found.events[0].timestamp) : 0;
  return (
    <Panel title="Timeline" busy={found === null && error === null}>
      {error && <Failure error={error} retry={() => setTurn(turn + 1)} />}
      {found === null && !error && <Skeleton rows={6} />}
      {found && found.events.length === 0 && (
        <Empty>
          {session.eventsCount === 0
            ? "No event of this session is stored. The ledger above says whether any is missing."
            : "None of its events is among those of its time that could be looked through."}
        </Empty>
      )}
      {found && found.events.length > 0 && (
        <>
          <p class="note">
            {format.counted(found.events.length, "event")} over{" "}
            {format.duration((Date.parse(found.events.at(-1)!.timestamp) - start) / 1000)}.
            {!found.isWhole &&
              ` Of ${format.count(session.eventsCount)} that the session counts: the rest is beyond what the API lets one look through at once.`}
          </p>
          <EventList
            events={found.events}
            route={route}
            zone={zone}
            label="The session’s events"
            withoutSession
            withoutUser
          />
        </>
      )}
    </Panel>
  );
}

async function eventsOf(session: Session, signal: AbortSignal): Promise<{ events: StoredEvent[]; isWhole: boolean }> {
  const events: StoredEvent[] = [];
  // The session's own times are those of its events; a second more on each side forgives fractions.
  const asked = new URLSearchParams({
    limit: String(PAGE),
    start: shifted(session.startedAt, -1),
    end: shifted(later(session.endedAt, session.lastSeenAt), 1),
  });
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    if (cursor !== null) asked.set("cursor", cursor);
    const answer: EventPage = await request<EventPage>(`/v1/metrics/events?${asked}`, { signal });
    events.push(...answer.events.filter((event) => event.sessionId === session.sessionId));
    cursor = answer.nextCursor;
    if (cursor === null || events.length >= session.eventsCount) break;
  }
  return { events: events.reverse(), isWhole: events.length >= session.eventsCount };
}

const shifted = (when: string, seconds: number): string => new Date(Date.parse(when) + seconds * 1000).toISOString();
const later = (one: string | null, other: string): string =>
  one !== null && Date.parse(one) > Date.parse(other) ? one : other;
