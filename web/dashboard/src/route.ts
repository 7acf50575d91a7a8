// Where one is, and by which filters: all of it in the URL after the #, which no server sees, for filters name people.
import { useEffect, useState } from "preact/hooks";

export interface Route {
  view: string;
  /** What the view is of: a user, a session. */
  of: string | null;
  params: URLSearchParams;
}

/** The parameters that all views share; the rest is a view's own. */
const SHARED = [
  "timeframe",
  "start",
  "end",
  "timezone",
  "granularity",
  "eventType",
  "area",
  "userId",
  "participantType",
];
export const FIELDS = ["eventType", "area", "userId", "participantType"];

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  return {
    view: view || "overview",
    of: rest.length ? safelyDecoded(rest.join("/")) : null,
    params: new URLSearchParams(query),
  };
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function isShared(name: string): boolean {
  return SHARED.includes(name) || name.startsWith("data.");
}

export function isFilter(name: string): boolean {
  return FIELDS.includes(name) || name.startsWith("data.");
}

/** The address of a view; range and filters go with one from view to view. */
export function linkTo(
  view: string,
  params: URLSearchParams,
  of: string | null = null,
  own: Record<string, string> = {},
): string {
  const kept = new URLSearchParams([...params].filter(([name]) => isShared(name)));
  for (const [name, value] of Object.entries(own)) kept.set(name, value);
  const query = kept.toString();
  return `#/${view}${of === null ? "" : `/${encodeURIComponent(of)}`}${query ? `?${query}` : ""}`;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const follow = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}

/** Changes parameters of the address; null takes one out. */
export function change(route: Route, changes: Record<string, string | string[] | null>): void {
  const params = new URLSearchParams(route.params);
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const each of value === null ? [] : [value].flat()) params.append(name, each);
  }
  const query = params.toString();
  location.hash = `#/${route.view}${route.of === null ? "" : `/${encodeURIComponent(route.of)}`}${query ? `?${query}` : ""}`;
}

export function toggleFilter(route: Route, name: string, value: string): void {
  const values = route.params.getAll(name);
  change(route, { [name]: values.includes(value) ? values.filter((each) => each !== value) : [...values, value] });
}

export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export const zoneOf = (params: URLSearchParams): string => params.get("timezone") ?? ownZone();

/** The query of a request for what the address says; of `also`, null leaves a parameter out. */
export function query(
  params: URLSearchParams,
  names: (name: string) => boolean,
  also: Record<string, string | null> = {},
): string {
  const asked = new URLSearchParams([...params].filter(([name]) => names(name) && !(name in also)));
  if (names("timezone") && !("timezone" in also)) asked.set("timezone", zoneOf(params));
  for (const [name, value] of Object.entries(also)) if (value !== null) asked.set(name, value);
  return asked.toString();
}

export const isRange = (name: string): boolean => ["timeframe", "start", "end", "timezone"].includes(name);
