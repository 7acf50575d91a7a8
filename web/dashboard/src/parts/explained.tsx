// Explains the numbers of a view.
import * as format from "../format";
import { change, linkTo, type Route } from "../route";
import type { Explain } from "../types";
import { Empty } from "./answer";

/** The facts behind a view's numbers. An empty view also says why it is empty. */
export function Explained(props: { explain: Explain; isEmpty: boolean; route: Route; zone: string; asOf?: string }) {
  const { explain, route, zone } = props;
  const outside = `${explain.rowsOutsideRangeIsExact ? "" : "at least "}${format.counted(explain.rowsOutsideRange, "event")} outside the range`;
  const facts = (
    <ul class="facts">
      {props.asOf && <li>As of {format.clock(props.asOf, zone)}</li>}
      <li>{outside}</li>
      <li>
        {explain.rejectedInRange > 0 ? (
          <a href={linkTo("diagnostics", route.params)}>{format.count(explain.rejectedInRange)} rejected</a>
        ) : (
          "none rejected"
        )}
      </li>
      <li>{explain.ignoredInRange > 0 ? `${format.count(explain.ignoredInRange)} ignored` : "none ignored"}</li>
      <li>{explain.lastEventAt ? `last event ${format.moment(explain.lastEventAt, zone)}` : "no events yet"}</li>
      <li>counted from {explain.source === "rollups" ? "roll-ups and the newest events" : "raw events"}</li>
    </ul>
  );
  if (!props.isEmpty) return <div class="explain">{facts}</div>;
  return (
    <Empty>
      <p class="hint">
        <strong>{explain.hint || "This view has no data."}</strong>
      </p>
      {facts}
      {explain.rowsOutsideRange > 0 && route.params.get("timeframe") !== "all" && (
        <button
          type="button"
          onClick={() => change(route, { timeframe: "all", start: null, end: null, granularity: null })}
        >
          Show all time
        </button>
      )}
    </Empty>
  );
}
