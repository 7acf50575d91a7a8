import * as format from "../format";
import { useApi } from "../hooks";
import { Answer } from "../parts/answer";
import { Mark } from "../parts/mark";
import { Panel } from "../parts/panel";
import { Search } from "../parts/search";
import { change, isRangeOrFilter, linkTo, query, type Route, zoneOf } from "../route";
import type { Trace } from "../types";

const UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

/** Traces an event: where it is, and why this view does not show it. */
export function WhereIsIt({ route }: { route: Route }) {
  const wanted = route.params.get("event");
  const view = query(route.params, isRangeOrFilter);
  const trace = useApi<Trace>(wanted === null ? null : `/v1/diagnostics/events/${encodeURIComponent(wanted)}?${view}`);
  return (
    <Panel title="Where is my event?" busy={trace.isLoading}>
      <Search
        label="Event id"
        placeholder="Event id (UUID)"
        action="Find"
        value={wanted ?? ""}
        pattern={`\\s*${UUID}\\s*`}
        title="A UUID, as in the response to the batch"
        onSearch={(typed) => {
          if (typed.trim() === wanted) trace.reload();
          else change(route, { event: typed.trim() || null });
        }}
      />
      {wanted !== null && <Answer of={trace}>{(data) => <Stages trace={data} route={route} />}</Answer>}
    </Panel>
  );
}

function Stages({ trace, route }: { trace: Trace; route: Route }) {
  const zone = zoneOf(route.params);
  const isWell = trace.stages.every((stage) => stage.status === "pass");
  return (
    <div class="trace" role="status">
      <p class={isWell ? "verdict well" : "verdict"}>
        <strong>{trace.verdict}</strong>
      </p>
      {trace.remedy && <p class="remedy">{trace.remedy}</p>}
      <ol class="stages">
        {trace.stages.map((stage) => (
          <li key={stage.stage} class={stage.status}>
            <b>{stage.stage}</b> <Mark status={stage.status} />
            {stage.at && <time dateTime={stage.at}>{format.moment(stage.at, zone)}</time>}
            {stage.detail && <p>{stage.detail}</p>}
          </li>
        ))}
      </ol>
      {trace.sessionId && (
        <p>
          <a href={linkTo("sessions", route.params, trace.sessionId)}>Open its session</a>
        </p>
      )}
    </div>
  );
}
