// Shows the response to a request, its progress or its error.

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api";
import type { Loaded, Pages } from "../hooks";

/** The content of a response. A skeleton while it loads, and the error if it failed. */
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
        {props.isStale && " The data below is out of date."}
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

/** A button that loads the next page. Nothing if there is none. */
export function More(props: { of: Pages<unknown>; what: string }) {
  const { more, isLoading } = props.of;
  if (more === null) return null;
  return (
    <button type="button" class="more" onClick={more} disabled={isLoading}>
      {props.what}
    </button>
  );
}
