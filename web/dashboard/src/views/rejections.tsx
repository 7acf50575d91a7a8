import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import * as format from "../format";
import { asApiError, useApi, usePages } from "../hooks";
import { Answer, Empty, Failure, More } from "../parts/answer";
import { Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { change, linkTo, type Route, zoneOf } from "../route";
import type { Rejection, RejectionGroup, Replay } from "../types";

const PAGE = 20;

/** The quarantined events by reason, and their replay. */
export function Rejections({ route, isAdmin }: { route: Route; isAdmin: boolean }) {
  const reason = route.params.get("reason");
  const groups = useApi<{ groups: RejectionGroup[] }>("/v1/diagnostics/rejections?group=reason");
  const page = usePages<Rejection>(
    reason === null ? null : `/v1/diagnostics/rejections?limit=${PAGE}&reason=${encodeURIComponent(reason)}`,
    "rejections",
  );
  const [message, setMessage] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const zone = zoneOf(route.params);
  const replay = async (wanted: { reason?: string; ids?: number[] }) => {
    setBusy(true);
    setError(null);
    setMessage(null);
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
    const unreplayable = sum.notKept > 0 ? `, ${format.count(sum.notKept)} of them without a stored payload` : "";
    setMessage(
      `${format.count(sum.replayed)} stored, ${format.count(sum.stillRejected)} still rejected${unreplayable}.`,
    );
    setBusy(false);
    groups.reload();
    page.reload();
  };
  return (
    <Panel
      title="Rejected"
      busy={groups.isLoading || isBusy}
      note="Rejected events wait here with their reason. Replay stores them once the rule or the event is fixed."
    >
      {message && (
        <p class="banner" role="status">
          {message}
        </p>
      )}
      {error && <Failure error={error} />}
      <Answer of={groups}>
        {(data) =>
          data.groups.length === 0 ? (
            <Empty>The quarantine is empty. Every received event was stored, ignored with a reason, or replayed.</Empty>
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
                      title={isAdmin ? undefined : "Replay needs the admin key"}
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
        <p class="small">Replay needs the admin key. Choose “Change key” to enter it.</p>
      )}
      {reason !== null && (
        <Answer of={page}>
          {(rows) =>
            rows.length === 0 ? (
              <Empty>No event with reason {reason} is left.</Empty>
            ) : (
              <>
                <h3>
                  Latest rejections: <code>{reason}</code>
                </h3>
                <ul class="rejections">
                  {rows.map((each) => (
                    <Rejected
                      key={each.id}
                      rejection={each}
                      zone={zone}
                      route={route}
                      onReplay={isAdmin ? () => replay({ ids: [each.id] }) : null}
                    />
                  ))}
                </ul>
                <More of={page} what="Older rejections" />
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
        {rejection.attempts > 1 && <span>sent {format.counted(rejection.attempts, "time")}</span>}
        {rejection.eventId && /^[0-9a-f-]{36}$/i.test(rejection.eventId) && (
          <a href={linkTo("diagnostics", props.route.params, null, { event: rejection.eventId })}>trace it</a>
        )}
        <span class="grow" />
        {props.onReplay && (
          <button
            type="button"
            onClick={props.onReplay}
            aria-label={`Replay the event received at ${format.moment(rejection.receivedAt, props.zone)}`}
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
          <summary>Payload</summary>
          <pre class="data">{rejection.payload}</pre>
        </details>
      )}
    </li>
  );
}
