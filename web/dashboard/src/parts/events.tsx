import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import * as format from "../format";
import { linkTo, type Route } from "../route";
import type { StoredEvent } from "../types";

const SHOWN = 25;

/** A list of events. Each opens to show its details. */
export function EventList(props: {
  events: StoredEvent[];
  route: Route;
  zone: string;
  label: string;
  withoutUser?: boolean;
  withoutSession?: boolean;
  /** Shown after the last event. */
  children?: ComponentChildren;
}) {
  const { route, zone, events } = props;
  const [shown, setShown] = useState(SHOWN);
  const more = Math.min(events.length - shown, 4 * SHOWN);
  return (
    <>
      <ol class="events" aria-label={props.label}>
        {events.slice(0, shown).map((event) => {
          const size = Object.keys(event.data).length;
          return (
            <li key={event.id + event.sessionId}>
              <details>
                <summary>
                  <time dateTime={event.timestamp} title={format.moment(event.timestamp, zone)}>
                    {format.dated(event.timestamp, zone, {
                      month: "short",
                      day: "numeric",
                      hour: "2-digit",
                      minute: "2-digit",
                      second: "2-digit",
                    })}
                  </time>
                  <span class="type">{event.eventType}</span>
                  <span class="area">{event.area}</span>
                  <span class="who">{props.withoutUser ? "" : (event.userId ?? "anonymous")}</span>
                  <span class="some">{size > 0 ? summaryOf(event.data) : ""}</span>
                </summary>
                <dl class="pairs">
                  <dt>Event</dt>
                  <dd>
                    <a href={linkTo("diagnostics", route.params, null, { event: event.id })}>{event.id}</a>
                  </dd>
                  {!props.withoutSession && (
                    <>
                      <dt>Session</dt>
                      <dd>
                        <a href={linkTo("sessions", route.params, event.sessionId)}>{event.sessionId}</a>
                      </dd>
                    </>
                  )}
                  {!props.withoutUser && event.userId !== null && (
                    <>
                      <dt>User</dt>
                      <dd>
                        <a href={linkTo("users", route.params, event.userId)}>{event.userId}</a>
                      </dd>
                    </>
                  )}
                  <dt>Received</dt>
                  <dd>{format.moment(event.receivedAt, zone)}</dd>
                </dl>
                <Data data={event.data} />
              </details>
            </li>
          );
        })}
      </ol>
      {more > 0 ? (
        <button type="button" class="more" onClick={() => setShown(shown + more)}>
          Show {format.count(more)} more
        </button>
      ) : (
        props.children
      )}
    </>
  );
}

export function Data(props: { data: unknown }) {
  return <pre class="data">{JSON.stringify(props.data, null, 2)}</pre>;
}

function summaryOf(data: Record<string, unknown>): string {
  return Object.entries(data)
    .slice(0, 3)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");
}
