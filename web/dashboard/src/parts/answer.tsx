// What was asked for, and what there is to see until it is there, or where it is not.

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api";
import type { Loaded, Pages } from "../hooks";

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

/** Leads to the next page, where there is one. */
export function More(props: { of: Pages<unknown>; what: string }) {
  const { more, isLoading } = props.of;
  if (more === null) return null;
  return (
    <button type="button" class="more" onClick={more} disabled={isLoading}>
      {props.what}
    </button>
  );
}
