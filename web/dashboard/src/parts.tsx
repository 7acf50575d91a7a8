// What views are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ApiError } from "./api";
import * as format from "./format";
import type { Loaded } from "./hooks";
import { change, linkTo, type Route } from "./route";
import type { Explain, StoredEvent } from "./types";

export function Panel(props: {
  title: string;
  children: ComponentChildren;
  actions?: ComponentChildren;
  note?: ComponentChildren;
  busy?: boolean;
  class?: string;
}) {
  const id = useId();
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={id} aria-busy={props.busy ?? false}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.note && <p class="note">{props.note}</p>}
      {props.children}
    </section>
  );
}

/** What was asked for, once it is there; until then, or where it failed, what is going on. */
export function Answer<T>(props: { of: Loaded<T>; children: (data: T) => ComponentChildren; rows?: number }) {
  const { data, error, isLoading, reload } = props.of;
  return (
    <>
      {error && <Failure error={error} retry={reload} isStale={data !== null} />}
      {data !== null ? props.children(data) : isLoading && !error && <Skeleton rows={props.rows ?? 4} />}
    </>
  );
}

export function Skeleton(props: { rows: number }) {
  return (
    <div class="skeleton" role="status">
      <span class="hidden">Loading…</span>
      {Array.from({ length: props.rows }, (_, row) => (
        <i key={row} style={{ width: `${92 - ((row * 23) % 50)}%` }} />
      ))}
    </div>
  );
}

export function Failure(props: { error: ApiError; retry?: () => void; isStale?: boolean }) {
  const { error } = props;
  return (
    <div class="failure" role="alert">
      <p>
        <strong>{error.message}</strong>
        {props.isStale && " What is shown is from before."}
      </p>
      <p class="small">
        <code>{error.code}</code>
        {error.requestId && (
          <>
            {" "}
            request <code>{error.requestId}</code>
          </>
        )}
      </p>
      {props.retry && (
        <button type="button" onClick={props.retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty(props: { children: ComponentChildren }) {
  return <div class="empty">{props.children}</div>;
}

/** Why a view shows what it shows: an empty one never stays silent. */
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
      <li>{explain.lastEventAt ? `last event ${format.moment(explain.lastEventAt, zone)}` : "no event ever"}</li>
      <li>counted from {explain.source === "rollups" ? "rollups and the newest events" : "raw events"}</li>
    </ul>
  );
  if (!props.isEmpty) return <div class="explain">{facts}</div>;
  return (
    <Empty>
      <p class="hint">
        <strong>{explain.hint || "There is nothing in this view."}</strong>
      </p>
      {facts}
      {explain.rowsOutsideRange > 0 && route.params.get("timeframe") !== "all" && (
        <button
          type="button"
          onClick={() => change(route, { timeframe: "all", start: null, end: null, granularity: null })}
        >
          Look at all time
        </button>
      )}
    </Empty>
  );
}

export interface Column<T> {
  title: string;
  cell: (row: T) => ComponentChildren;
  isNumber?: boolean;
  class?: string;
}

export function Table<T>(props: {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T) => string | number;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div class="scroll" tabIndex={0} role="group" aria-label={props.caption}>
      <table>
        <caption class="hidden">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.title} scope="col" class={column.isNumber ? "number" : undefined}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={props.keyOf(row)}>
              {props.columns.map((column) => (
                <td
                  key={column.title}
                  class={[column.isNumber ? "number" : "", column.class ?? ""].join(" ").trim() || undefined}
                >
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChoose: (value: T) => void;
}) {
  return (
    <fieldset class="choice">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChoose(value)}>
          {text}
        </button>
      ))}
    </fieldset>
  );
}

export interface Bar {
  value: string | null;
  label?: string;
  size: number;
  text: string;
  note?: string;
  isChosen?: boolean;
  href?: string;
}

/** Values by their sizes; one that is chosen filters. */
export function Bars(props: { label: string; bars: Bar[]; onChoose?: (value: string) => void }) {
  const most = Math.max(1, ...props.bars.map((bar) => bar.size));
  return (
    <ul class="bars" aria-label={props.label}>
      {props.bars.map((bar) => {
        const name = bar.label ?? bar.value ?? "(none)";
        const inside = (
          <>
            <i style={{ width: `${(100 * bar.size) / most}%` }} />
            <span class={bar.value === null ? "name nobody" : "name"}>{name}</span>
            {bar.note && <span class="of">{bar.note}</span>}
            <b>{bar.text}</b>
          </>
        );
        const { onChoose } = props;
        return (
          <li key={name}>
            {bar.href ? (
              <a class="bar" href={bar.href}>
                {inside}
              </a>
            ) : onChoose && bar.value !== null ? (
              <button
                type="button"
                class="bar"
                aria-pressed={bar.isChosen ?? false}
                title={`Filter by ${name}`}
                onClick={() => onChoose(bar.value!)}
              >
                {inside}
              </button>
            ) : (
              <span class="bar">{inside}</span>
            )}
          </li>
        );
      })}
    </ul>
  );
}

export function Copy(props: { text: string; what?: string }) {
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [isDone]);
  const copy = () =>
    navigator.clipboard?.writeText(props.text).then(
      () => setDone(true),
      () => setDone(false),
    );
  return (
    <button type="button" class="quiet" onClick={copy} aria-label={`Copy ${props.what ?? "it"}`}>
      {isDone ? "Copied" : "Copy"}
    </button>
  );
}

export function Confirm(props: {
  title: string;
  action: string;
  word: string;
  children: ComponentChildren;
  onConfirm: () => void;
  onCancel: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.onCancel}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === props.word) props.onConfirm();
        }}
      >
        <h2 id={id}>{props.title}</h2>
        {props.children}
        <label>
          Type <code>{props.word}</code> to confirm
          <input
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            autocomplete="off"
            spellcheck={false}
          />
        </label>
        <div class="row end">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={typed !== props.word}>
            {props.action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

export const shortId = (id: string): string => (id.length > 13 ? `${id.slice(0, 8)}…` : id);

export function Data(props: { data: unknown }) {
  return <pre class="data">{JSON.stringify(props.data, null, 2)}</pre>;
}

/** Events one below the other, the details of each on demand. */
export function EventList(props: {
  events: StoredEvent[];
  route: Route;
  zone: string;
  label: string;
  withoutUser?: boolean;
  withoutSession?: boolean;
}) {
  const { route, zone } = props;
  return (
    <ol class="events" aria-label={props.label}>
      {props.events.map((event) => {
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
                <span class="who">{props.withoutUser ? "" : (event.userId ?? "nobody")}</span>
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
  );
}

function summaryOf(data: Record<string, unknown>): string {
  return Object.entries(data)
    .slice(0, 3)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");
}

export function Tile(props: {
  name: string;
  value: string;
  from?: number;
  to?: number;
  isWorseUp?: boolean;
  note?: string;
}) {
  const { from, to } = props;
  const change = from === undefined || to === undefined ? null : format.changed(from, to);
  const direction =
    from === undefined || to === undefined || from === to
      ? "same"
      : to > from !== (props.isWorseUp ?? false)
        ? "better"
        : "worse";
  return (
    <div class="tile">
      <dt>{props.name}</dt>
      <dd>
        <b>{props.value}</b>
        {change !== null && (
          <span class={`change ${direction}`}>
            {change}
            <span class="hidden"> against the range before</span>
          </span>
        )}
        {change === null && (props.note || (from === 0 && to ? "none before" : "")) && (
          <span class="change same">{props.note ?? "none before"}</span>
        )}
      </dd>
    </div>
  );
}
