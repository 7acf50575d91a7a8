import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, request } from "./api";

export interface Loaded<T> {
  data: T | null;
  error: ApiError | null;
  isLoading: boolean;
  reload: () => void;
}

export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError(0, "unexpected", `The dashboard failed: ${error}`);

/** The API's response for a path. A null path sends no request. Old data stays until the next response. */
export function useApi<T>(path: string | null, options: { everyMs?: number; body?: unknown } = {}): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: ApiError | null }>({ data: null, error: null });
  const [isLoading, setLoading] = useState(path !== null);
  const [turn, setTurn] = useState(0);
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  useEffect(() => {
    if (path === null) {
      setState({ data: null, error: null });
      setLoading(false);
      return;
    }
    const abort = new AbortController();
    setLoading(true);
    request<T>(path, {
      signal: abort.signal,
      ...(body === undefined ? {} : { method: "POST", body: JSON.parse(body) }),
    })
      .then((data) => setState({ data, error: null }))
      .catch((error) => {
        if (!abort.signal.aborted) setState((before) => ({ ...before, error: asApiError(error) }));
      })
      .finally(() => {
        if (!abort.signal.aborted) setLoading(false);
      });
    return () => abort.abort();
  }, [path, body, turn]);
  useEvery(options.everyMs ?? 0, reload);
  useEffect(() => {
    addEventListener("online", reload);
    return () => removeEventListener("online", reload);
  }, [reload]);
  return { ...state, isLoading, reload };
}

export interface Pages<T> extends Loaded<T[]> {
  /** Loads the next page. Null if there is none. */
  more: (() => void) | null;
}

/** Rows that the API returns page by page. A null path sends no request. */
export function usePages<T>(path: string | null, name: string): Pages<T> {
  const first = useApi<Page<T>>(path);
  const empty: Rest<T> = { of: first.data, rows: [], cursor: first.data?.nextCursor ?? null, error: null };
  const [loaded, setRest] = useState(empty);
  const [isLoading, setLoading] = useState(false);
  // Later pages and their error belong to one first page. A new first page starts again without them.
  const rest = loaded.of === first.data ? loaded : empty;
  const more = () => {
    setLoading(true);
    request<Page<T>>(`${path}${path?.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(rest.cursor!)}`)
      .then((page) => ({ rows: [...rest.rows, ...rowsOf(page, name)], cursor: page.nextCursor ?? null, error: null }))
      .catch((raised) => ({ ...rest, error: asApiError(raised) }))
      .then((next) => setRest({ ...next, of: first.data }))
      .finally(() => setLoading(false));
  };
  return {
    data: first.data && [...rowsOf(first.data, name), ...rest.rows],
    error: first.error ?? rest.error,
    isLoading: first.isLoading || isLoading,
    reload: first.error || !rest.error ? first.reload : more,
    more: rest.cursor === null ? null : more,
  };
}

interface Rest<T> {
  of: Page<T> | null;
  rows: T[];
  cursor: string | null;
  error: ApiError | null;
}

type Page<T> = Record<string, T[]> & { nextCursor?: string | null };

const rowsOf = <T>(page: Page<T>, name: string): T[] => page[name] ?? [];

/** Calls every `ms` while the page is visible, and as soon as it is visible again. */
export function useEvery(ms: number, call: () => void): void {
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    if (ms <= 0) return;
    let missed = false;
    const tick = () => {
      missed = document.hidden;
      if (!missed) latest.current();
    };
    const seen = () => {
      if (missed && !document.hidden) tick();
    };
    const timer = setInterval(tick, ms);
    document.addEventListener("visibilitychange", seen);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [ms]);
}

export function useMedia(text: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(text).matches);
  useEffect(() => {
    const media = matchMedia(text);
    const follow = () => setMatches(media.matches);
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, [text]);
  return matches;
}

export function useOnline(): boolean {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const follow = () => setOnline(navigator.onLine);
    addEventListener("online", follow);
    addEventListener("offline", follow);
    return () => {
      removeEventListener("online", follow);
      removeEventListener("offline", follow);
    };
  }, []);
  return online;
}
