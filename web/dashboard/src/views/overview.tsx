import type { ComponentChildren } from "preact";
import type { ViewProps } from "../app";
import { Chart, type Measure } from "../chart";
import { Filters, nameOf } from "../filters";
import * as format from "../format";
import { useApi } from "../hooks";
import { Answer, Empty } from "../parts/answer";
import { Bars } from "../parts/bars";
import { Choice } from "../parts/controls";
import { Explained } from "../parts/explained";
import { Panel, Tile } from "../parts/panel";
import { change, isRangeOrFilter, isShared, query, type Route, toggleFilter, zoneOf } from "../route";
import type { Metrics } from "../types";

const REFRESH_MS = 60_000;
const MEASURES = [
  ["events", "Events"],
  ["users", "Users"],
  ["sessions", "Sessions"],
] as const;
const SHOWN = 12;

export function Overview({ route }: ViewProps) {
  const measure = (route.params.get("measure") ?? "events") as Measure;
  const metrics = useApi<Metrics>(`/v1/metrics?${query(route.params, isShared)}`, { everyMs: REFRESH_MS });
  return (
    <>
      <Filters route={route} withGranularity />
      <Answer of={metrics} rows={8}>
        {(data) => (
          <>
            <Totals metrics={data} />
            <Panel
              title="Over time"
              busy={metrics.isLoading}
              actions={
                <Choice
                  label="Count"
                  value={measure}
                  options={MEASURES}
                  onChoose={(value) => change(route, { measure: value })}
                />
              }
            >
              {data.totals.events > 0 && (
                <Chart series={data.series} measure={measure} range={data.range} asOf={data.asOf} />
              )}
              <Explained
                explain={data.explain}
                isEmpty={data.totals.events === 0}
                route={route}
                zone={zoneOf(route.params)}
                asOf={data.asOf}
              />
            </Panel>
          </>
        )}
      </Answer>
      <div class="columns">
        <Breakdown route={route} field="eventType" measure={measure} />
        <Breakdown route={route} field="area" measure={measure} />
        <Breakdown route={route} field="userId" measure={measure} />
        <Breakdown route={route} field="participantType" measure={measure} />
        <DataBreakdown route={route} measure={measure} />
      </div>
    </>
  );
}

function Totals({ metrics: { totals, previous } }: { metrics: Metrics }) {
  return (
    <dl class="tiles">
      <Tile name="Events" value={format.count(totals.events)} from={previous.events} to={totals.events} />
      <Tile name="Users" value={format.count(totals.users)} from={previous.users} to={totals.users} />
      <Tile name="New users" value={format.count(totals.newUsers)} from={previous.newUsers} to={totals.newUsers} />
      <Tile name="Sessions" value={format.count(totals.sessions)} from={previous.sessions} to={totals.sessions} />
      <Tile
        name="Average session"
        value={format.duration(totals.averageSessionSeconds)}
        from={previous.averageSessionSeconds}
        to={totals.averageSessionSeconds}
      />
      <Tile
        name="Events per session"
        value={format.decimal(totals.eventsPerSession)}
        from={previous.eventsPerSession}
        to={totals.eventsPerSession}
      />
      <Tile
        name="Bounce rate"
        value={format.percent(totals.bounceRate)}
        from={previous.bounceRate}
        to={totals.bounceRate}
        isWorseUp
      />
      <Tile name="Active now" value={format.count(totals.activeUsersNow)} note="last 30 minutes" />
    </dl>
  );
}

function Breakdown(props: {
  route: Route;
  field: string;
  measure: Measure;
  title?: string;
  actions?: ComponentChildren;
}) {
  const { route, field, measure } = props;
  const chosen = route.params.getAll(field);
  // A breakdown ignores the filters of its own field, so its other values can be chosen too.
  const path = `/v1/metrics?${query(route.params, (name) => isRangeOrFilter(name) && name !== field, { breakdown: field, limit: "100" })}`;
  const metrics = useApi<Metrics>(path, { everyMs: REFRESH_MS });
  return (
    <Panel title={props.title ?? nameOf(field)} busy={metrics.isLoading} actions={props.actions}>
      <Answer of={metrics}>
        {({ breakdown, explain }) => {
          if (breakdown.length === 0) return <Empty>{explain.hint || "No values in this range."}</Empty>;
          const rows = [...breakdown].sort((one, other) => other[measure] - one[measure]);
          const shown = rows.filter(
            (row, index) => index < SHOWN || (row.value !== null && chosen.includes(row.value)),
          );
          return (
            <>
              <Bars
                label={`${nameOf(field)} by ${measure}`}
                bars={shown.map((row) => ({
                  value: row.value,
                  size: row[measure],
                  text: format.count(row[measure]),
                  isChosen: row.value !== null && chosen.includes(row.value),
                }))}
                onChoose={(value) => toggleFilter(route, field, value)}
              />
              {rows.length > shown.length && (
                <p class="small">
                  {rows.length === 100 ? "Only the 100 values with the most events are loaded. " : ""}
                  {format.counted(rows.length - shown.length, "more value")} not shown.
                </p>
              )}
            </>
          );
        }}
      </Answer>
    </Panel>
  );
}

/** A breakdown by a data key. The newest events show which keys exist. */
function DataBreakdown({ route, measure }: { route: Route; measure: Measure }) {
  const recent = useApi<{ events: { data: Record<string, unknown> }[] }>(
    `/v1/metrics/events?${query(route.params, isRangeOrFilter, { limit: "50" })}`,
  );
  const filtered = [
    ...new Set([...route.params.keys()].filter((name) => name.startsWith("data.")).map((name) => name.slice(5))),
  ];
  const seen = new Map<string, number>();
  for (const { data } of recent.data?.events ?? []) {
    for (const [name, value] of Object.entries(data))
      if (value === null || typeof value !== "object") seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  const keys = [...new Set([...filtered, ...[...seen].sort((one, other) => other[1] - one[1]).map(([name]) => name)])];
  const key = route.params.get("by") ?? keys[0] ?? null;
  if (key !== null && !keys.includes(key)) keys.unshift(key);
  if (key === null) {
    return (
      <Panel title="Data">
        <Answer of={recent}>{() => <Empty>The newest events of this view have no data keys.</Empty>}</Answer>
      </Panel>
    );
  }
  const choose = keys.length > 1 && (
    <select aria-label="Data key" value={key} onChange={(event) => change(route, { by: event.currentTarget.value })}>
      {keys.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
  return (
    <Breakdown
      key={key}
      route={route}
      field={`data.${key}`}
      measure={measure}
      title={choose ? "Data" : `Data: ${key}`}
      actions={choose}
    />
  );
}
