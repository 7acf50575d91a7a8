import * as format from "../format";
import { useApi, usePages } from "../hooks";
import { Answer, Empty, More } from "../parts/answer";
import { Copy } from "../parts/controls";
import { EventList } from "../parts/events";
import { Panel } from "../parts/panel";
import { linkTo, type Route, zoneOf } from "../route";
import type { DeliveryReport, Session, StoredEvent } from "../types";

const PAGE = 1_000;

/** One session: its user, its delivery report and its events. */
export function SessionView({ id, route }: { id: string; route: Route }) {
  const zone = zoneOf(route.params);
  const path = encodeURIComponent(id);
  const session = useApi<Session>(`/v1/sessions/${path}`);
  const report = useApi<DeliveryReport>(session.data && `/v1/diagnostics/sessions/${path}`);
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
                  <span class="muted">anonymous</span>
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
        <Panel title="Did everything arrive?" busy={report.isLoading}>
          <Answer of={report} rows={2}>
            {(data) => <Delivery report={data} />}
          </Answer>
        </Panel>
      )}
      {session.data && <Timeline session={session.data} route={route} />}
    </>
  );
}

function Delivery({ report }: { report: DeliveryReport }) {
  const { batches, lateness, clockSkewMs } = report;
  return (
    <>
      <p class={report.remedy === null ? "verdict well" : "verdict"}>
        <strong>{report.verdict}</strong>
      </p>
      {report.remedy && <p class="remedy">{report.remedy}</p>}
      <ul class="facts">
        <li>
          {batches.last === 0
            ? "batches are not numbered"
            : `${format.count(batches.last - batches.missing)} of ${format.counted(batches.last, "batch", "batches")} arrived`}
        </li>
        <li>{format.count(report.dropped)} dropped by the client</li>
        <li>{format.count(report.rejected)} rejected</li>
        {clockSkewMs !== null && <li>client clock off by {format.duration(Math.abs(clockSkewMs) / 1000)}</li>}
        {lateness && <li>received {format.duration(lateness.medianSeconds)} after they happened (median)</li>}
        {report.userConflicts > 0 && (
          <li>{format.counted(report.userConflicts, "batch named", "batches named")} a different user</li>
        )}
      </ul>
    </>
  );
}

function Timeline({ session, route }: { session: Session; route: Route }) {
  const zone = zoneOf(route.params);
  const path = `/v1/metrics/events?sessionId=${encodeURIComponent(session.sessionId)}&limit=${PAGE}`;
  const events = usePages<StoredEvent>(path, "events");
  return (
    <Panel title="Timeline" busy={events.isLoading}>
      <Answer of={events} rows={6}>
        {(latest) => {
          if (latest.length === 0)
            return (
              <Empty>
                No event of this session is stored. The delivery report above says whether events are missing.
              </Empty>
            );
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
