import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import type { ViewProps } from "../app";
import * as format from "../format";
import { asApiError, type Loaded, useApi } from "../hooks";
import { Answer, Copy, Empty, Failure, Panel, Table } from "../parts";
import { change, isFilter, isRange, linkTo, query, type Route, zoneOf } from "../route";
import type { Check, Diagnostics, Rejection, RejectionGroup, RejectionPage, Replay, Trace } from "../types";

const ORDER = { fail: 0, warn: 1, pass: 2, skip: 3 };
const WORDS = { fail: "Fails", warn: "Warns", pass: "Passes", skip: "Not checked", unknown: "Unknown" };
const UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

export function DiagnosticsView({ route, isAdmin, health }: ViewProps) {
  return (
    <>
      <WhereIsIt route={route} />
      <Checks health={health} zone={zoneOf(route.params)} />
      <Rejections route={route} isAdmin={isAdmin} />
      <Answer of={health} rows={1}>
        {(data) => <Tables data={data} />}
      </Answer>
    </>
  );
}

/** A word beside the mark: nothing is told by colour alone. */
function Mark({ status, word = WORDS[status] }: { status: keyof typeof WORDS; word?: string }) {
  return (
    <span class={`mark ${status}`}>
      <i aria-hidden="true" />
      {word}
    </span>
  );
}

function WhereIsIt({ route }: { route: Route }) {
  const wanted = route.params.get("event");
  const [typed, setTyped] = useState(wanted ?? "");
  const view = query(route.params, (name) => isRange(name) || isFilter(name));
  const trace = useApi<Trace>(wanted === null ? null : `/v1/diagnostics/events/${encodeURIComponent(wanted)}?${view}`);
  return (
    <Panel title="Where is my event?" busy={trace.isLoading}>
      <form
        class="row search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          if (typed.trim() === wanted) trace.reload();
          else change(route, { event: typed.trim() || null });
        }}
      >
        <label>
          <span class="hidden">The event’s id</span>
          <input
            type="search"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            placeholder="The event’s id, a UUID"
            pattern={`\\s*${UUID}\\s*`}
            title="A UUID, as the client’s status or the answer of ingest shows it"
            spellcheck={false}
            required
          />
        </label>
        <button type="submit" class="primary">
          Find
        </button>
      </form>
      {wanted !== null && <Answer of={trace}>{(data) => <Way trace={data} route={route} />}</Answer>}
    </Panel>
  );
}

function Way({ trace, route }: { trace: Trace; route: Route }) {
  const zone = zoneOf(route.params);
  const isWell = trace.stages.every((stage) => stage.status === "pass");
  return (
    <div class="way" role="status">
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
          <a href={linkTo("sessions", route.params, trace.sessionId)}>Its session</a>
        </p>
      )}
    </div>
  );
}

function Checks({ health, zone }: { health: Loaded<Diagnostics>; zone: string }) {
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
  const isSore = check.status === "fail" || check.status === "warn";
  return (
    <li class={check.status}>
      <Mark status={check.status} />
      <div>
        <b>{check.name.replaceAll("_", " ")}</b>
        <span class="summary">{check.summary}</span>
        {check.remedy && isSore && (
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

function Rejections({ route, isAdmin }: { route: Route; isAdmin: boolean }) {
  const reason = route.params.get("reason");
  const groups = useApi<{ groups: RejectionGroup[] }>("/v1/diagnostics/rejections?group=reason");
  const page = useApi<RejectionPage>(
    reason === null ? null : `/v1/diagnostics/rejections?limit=50&reason=${encodeURIComponent(reason)}`,
  );
  const [said, setSaid] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const zone = zoneOf(route.params);
  const replay = async (wanted: { reason?: string; ids?: number[] }) => {
    setBusy(true);
    setError(null);
    setSaid(null);
    const sum = { replayed: 0, stillRejected: 0, notKept: 0 };
    try {
      for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
        const body: Record<string, unknown> = { ...wanted, ...(cursor === null ? {} : { cursor }) };
        const done: Replay = await request<Replay>("/v1/diagnostics/rejections/replay", { method: "POST", body });
        sum.replayed += done.replayed;
        sum.stillRejected += done.stillRejected;
        sum.notKept += done.notKept;
        cursor = done.nextCursor;
      }
    } catch (raised) {
      setError(asApiError(raised));
    }
    const lost = sum.notKept > 0 ? `, ${format.count(sum.notKept)} of them without a payload to try` : "";
    setSaid(`${format.count(sum.replayed)} stored, ${format.count(sum.stillRejected)} still rejected${lost}.`);
    setBusy(false);
    groups.reload();
    page.reload();
  };
  return (
    <Panel
      title="Rejected"
      busy={groups.isLoading || isBusy}
      note="What was not stored is kept with its reason, and can be stored once the rule or the event is mended."
    >
      {said && (
        <p class="banner" role="status">
          {said}
        </p>
      )}
      {error && <Failure error={error} />}
      <Answer of={groups}>
        {(data) =>
          data.groups.length === 0 ? (
            <Empty>
              Nothing is waiting in the quarantine: every event that came was stored, ignored with a reason, or
              replayed.
            </Empty>
          ) : (
            <Table
              caption="Rejected events by reason"
              rows={data.groups}
              keyOf={(group) => group.reason}
              columns={[
                {
                  title: "Reason",
                  cell: (group) => (
                    <button
                      type="button"
                      class="link"
                      aria-expanded={group.reason === reason}
                      onClick={() => change(route, { reason: group.reason === reason ? null : group.reason })}
                    >
                      {group.reason}
                    </button>
                  ),
                },
                { title: "Events", isNumber: true, cell: (group) => format.count(group.events) },
                { title: "Attempts", isNumber: true, cell: (group) => format.count(group.attempts) },
                { title: "Last", cell: (group) => format.moment(group.lastReceivedAt, zone) },
                {
                  title: "Replay",
                  cell: (group) => (
                    <button
                      type="button"
                      disabled={!isAdmin || isBusy}
                      title={isAdmin ? undefined : "The admin key replays"}
                      aria-label={`Replay ${group.reason}${isAdmin ? "" : " (needs the admin key)"}`}
                      onClick={() => replay({ reason: group.reason })}
                    >
                      Replay
                    </button>
                  ),
                },
              ]}
            />
          )
        }
      </Answer>
      {!isAdmin && (groups.data?.groups.length ?? 0) > 0 && (
        <p class="small">To replay, leave and enter the admin key.</p>
      )}
      {reason !== null && (
        <Answer of={page}>
          {(data) =>
            data.rejections.length === 0 ? (
              <Empty>None of {reason} is left.</Empty>
            ) : (
              <>
                <h3>
                  The latest of <code>{reason}</code>
                </h3>
                <ul class="rejections">
                  {data.rejections.map((each) => (
                    <Rejected
                      key={each.id}
                      rejection={each}
                      zone={zone}
                      route={route}
                      onReplay={isAdmin ? () => replay({ ids: [each.id] }) : null}
                    />
                  ))}
                </ul>
              </>
            )
          }
        </Answer>
      )}
    </Panel>
  );
}

function Rejected(props: { rejection: Rejection; zone: string; route: Route; onReplay: (() => void) | null }) {
  const { rejection } = props;
  return (
    <li>
      <div class="row">
        <time dateTime={rejection.receivedAt}>{format.moment(rejection.receivedAt, props.zone)}</time>
        {rejection.events > 1 && <span>{format.counted(rejection.events, "event")}</span>}
        {rejection.attempts > 1 && <span>came {format.counted(rejection.attempts, "time")}</span>}
        {rejection.eventId && /^[0-9a-f-]{36}$/i.test(rejection.eventId) && (
          <a href={linkTo("diagnostics", props.route.params, null, { event: rejection.eventId })}>where is it?</a>
        )}
        <span class="grow" />
        {props.onReplay && (
          <button
            type="button"
            onClick={props.onReplay}
            aria-label={`Replay this one of ${format.moment(rejection.receivedAt, props.zone)}`}
          >
            Replay
          </button>
        )}
      </div>
      <ul class="details">
        {rejection.details.map((detail, index) => (
          <li key={index}>
            <code>{detail.loc.join(".")}</code> {detail.message}
          </li>
        ))}
      </ul>
      {rejection.payload !== null && (
        <details>
          <summary>As it came</summary>
          <pre class="data">{rejection.payload}</pre>
        </details>
      )}
    </li>
  );
}

function Tables({ data }: { data: Diagnostics }) {
  const names = Object.keys(data.tablesExist).sort();
  if (names.length === 0) return null;
  return (
    <Panel title="Tables">
      <Table
        caption="Tables and their rows"
        rows={names}
        keyOf={(name) => name}
        columns={[
          { title: "Table", cell: (name) => <code>{name}</code> },
          {
            title: "State",
            cell: (name) =>
              data.tablesExist[name] ? <Mark status="pass" word="There" /> : <Mark status="fail" word="Missing" />,
          },
          {
            title: "Rows",
            isNumber: true,
            cell: (name) => (typeof data.counts[name] === "number" ? format.count(data.counts[name]) : "–"),
          },
        ]}
      />
    </Panel>
  );
}
