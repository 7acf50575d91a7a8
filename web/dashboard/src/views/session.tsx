import * as format from "../format";
import { useApi, usePages } from "../hooks";
import { Answer, Empty, More } from "../parts/answer";
import { Copy } from "../parts/controls";
import { EventList } from "../parts/events";
import { Panel } from "../parts/panel";
import { linkTo, type Route, zoneOf } from "../route";
import type { Ledger, Session, StoredEvent } from "../types";

const MOST_EVENTS = 1_000;

/** One session: whose it is, whether all of it has arrived, and what happened in it. */
export function SessionView({ id, route }: { id: string; route: Route }) {
  const zone = zoneOf(route.params);
  const path = encodeURIComponent(id);
  const session = useApi<Session>(`/v1/sessions/${path}`);
  const ledger = useApi<Ledger>(session.data && `/v1/diagnostics/sessions/${path}`);
  return (
    <>
      <Panel
        title={`Session ${format.shortId(id)}`}
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

function Timeline({ session, route }: { session: Session; route: Route }) {
  const zone = zoneOf(route.params);
  const path = `/v1/metrics/events?sessionId=${encodeURIComponent(session.sessionId)}&limit=${MOST_EVENTS}`;
  const events = usePages<StoredEvent>(path, "events");
  return (
    <Panel title="Timeline" busy={events.isLoading}>
      <Answer of={events} rows={6}>
        {(latest) => {
          if (latest.length === 0)
            return <Empty>No event of this session is stored. The ledger above says whether any is missing.</Empty>;
          const inOrder = [...latest].reverse();
          const length = Date.parse(latest[0]!.timestamp) - Date.parse(inOrder[0]!.timestamp);
          return (
            <>
              <More of={events} what="Earlier events" />
              <p class="note">
                {format.counted(latest.length, "event")} over {format.duration(length / 1000)}.
              </p>
              <EventList
                events={inOrder}
                route={route}
                zone={zone}
                label="The session’s events"
                withoutSession
                withoutUser
              />
            </>
          );
        }}
      </Answer>
    </Panel>
  );
}
