import * as format from "../format";
import type { Loaded } from "../hooks";
import { Answer } from "../parts/answer";
import { Copy } from "../parts/controls";
import { Mark } from "../parts/mark";
import { Panel } from "../parts/panel";
import type { Check, Diagnostics } from "../types";

const ORDER = { fail: 0, warn: 1, pass: 2, skip: 3 };

/** The checks of the diagnostics, failures first, with remedies. */
export function Checks({ health, zone }: { health: Loaded<Diagnostics>; zone: string }) {
  return (
    <Panel
      title="Checks"
      busy={health.isLoading}
      actions={
        <button type="button" onClick={health.reload} disabled={health.isLoading}>
          Check now
        </button>
      }
    >
      <Answer of={health} rows={10}>
        {(data) => {
          const checks = [...data.checks].sort((one, other) => ORDER[one.status] - ORDER[other.status]);
          return (
            <>
              <p class="note">
                Status <b>{data.status}</b>, mode {data.mode}, checked {format.moment(data.checkedAt, zone)}.
              </p>
              <ul class="checks">
                {checks.map((check) => (
                  <CheckRow key={check.name} check={check} />
                ))}
              </ul>
            </>
          );
        }}
      </Answer>
    </Panel>
  );
}

function CheckRow({ check }: { check: Check }) {
  const needsRemedy = check.status === "fail" || check.status === "warn";
  return (
    <li class={check.status}>
      <Mark status={check.status} />
      <div>
        <b>{check.name.replaceAll("_", " ")}</b>
        <span class="summary">{check.summary}</span>
        {check.remedy && needsRemedy && (
          <div class="remedy">
            <p>{check.remedy}</p>
            <Copy text={check.remedy} what="the remedy" />
          </div>
        )}
        {Object.keys(check.data).length > 0 && (
          <details>
            <summary>Details</summary>
            <pre class="data">{JSON.stringify(check.data, null, 2)}</pre>
          </details>
        )}
      </div>
      <span class="small">{format.count(check.durationMs)} ms</span>
    </li>
  );
}
