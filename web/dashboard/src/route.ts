// The view and its filters, in the URL after the #. Filters can name users, and browsers do not send this part to servers.
import { useEffect, useState } from "preact/hooks";

export interface Route {
  view: string;
  /** The user or session that the view shows. */
  of: string | null;
  params: URLSearchParams;
}

/** The parameters that all views share. Every other parameter belongs to one view. */
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

/** The link to a view. It keeps the range and the filters. */
export function linkTo(
  view: string,
  params: URLSearchParams,
  of: string | null = null,
  own: Record<string, string> = {},
): string {
  const linked = new URLSearchParams([...params].filter(([name]) => isShared(name)));
  for (const [name, value] of Object.entries(own)) linked.set(name, value);
  const query = linked.toString();
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

/** Changes parameters of the URL. Null removes one. */
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

/** The query string of a request, from the URL's parameters and `also`. A null in `also` leaves a parameter out. */
export function query(
  params: URLSearchParams,
  names: (name: string) => boolean,
  also: Record<string, string | null> = {},
): string {
  const sent = new URLSearchParams([...params].filter(([name]) => names(name) && !(name in also)));
  if (names("timezone") && !("timezone" in also)) sent.set("timezone", zoneOf(params));
  for (const [name, value] of Object.entries(also)) if (value !== null) sent.set(name, value);
  return sent.toString();
}

export const isRange = (name: string): boolean => ["timeframe", "start", "end", "timezone"].includes(name);
export const isRangeOrFilter = (name: string): boolean => isRange(name) || isFilter(name);
