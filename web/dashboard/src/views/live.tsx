import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { asApiError, useApi, useEvery } from "../hooks";
import { Empty, Failure, Skeleton } from "../parts/answer";
import { EventList } from "../parts/events";
import { Explained } from "../parts/explained";
import { Panel } from "../parts/panel";
import { isRangeOrFilter, query, zoneOf } from "../route";
import type { EventPage, Metrics, StoredEvent } from "../types";

const EVERY_MS = 3_000;
const PAGE = 100;
const MAX_EVENTS = 1_000;

const idOf = (event: StoredEvent): string => `${event.id} ${event.sessionId} ${event.timestamp}`;

/** The newest events. It reloads them while the page is visible and not paused. */
export function LiveView({ route }: ViewProps) {
  const zone = zoneOf(route.params);
  const search = query(route.params, isRangeOrFilter, {
    limit: String(PAGE),
    timeframe: route.params.get("start") ? null : (route.params.get("timeframe") ?? "all"),
  });
  const [events, setEvents] = useState<StoredEvent[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isPaused, setPaused] = useState(false);
  const [arrived, setArrived] = useState(0);
  const turn = useRef(0);
  const known = useRef<StoredEvent[] | null>(null);
  known.current = events;

  const load = async (isNew: boolean) => {
    const mine = ++turn.current;
    try {
      const page = await request<EventPage>(`/v1/metrics/events?${search}`);
      if (mine !== turn.current) return;
      setError(null);
      const before = isNew ? null : known.current;
      if (before === null) {
        setEvents(page.events);
        setCursor(page.nextCursor);
        return;
      }
      const ids = new Set(before.map(idOf));
      const fresh = page.events.filter((event) => !ids.has(idOf(event)));
      if (fresh.length === 0) return;
      setArrived((sum) => sum + fresh.length);
      // If the whole page is new, there may be events between it and those shown, so replace them.
      if (fresh.length === page.events.length) {
        setEvents(page.events);
        setCursor(page.nextCursor);
      } else
        setEvents(
          [...fresh, ...before].sort((one, other) => (one.timestamp < other.timestamp ? 1 : -1)).slice(0, MAX_EVENTS),
        );
    } catch (raised) {
      if (mine === turn.current) setError(asApiError(raised));
    }
  };
  useEffect(() => {
    setEvents(null);
    setArrived(0);
    void load(true);
    return () => {
      turn.current += 1;
    };
  }, [search]);
  useEvery(isPaused ? 0 : EVERY_MS, () => void load(false));
  const older = async () => {
    try {
      const page = await request<EventPage>(`/v1/metrics/events?${search}&cursor=${encodeURIComponent(cursor!)}`);
      setEvents([...(events ?? []), ...page.events]);
      setCursor(page.nextCursor);
    } catch (raised) {
      setError(asApiError(raised));
    }
  };
  return (
    <>
      <Filters route={route} timeframe="all" />
      <Panel
        title="Newest events"
        note={isPaused ? "Paused." : "Reloads every 3 seconds while this page is visible."}
        actions={
          <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
            {isPaused ? "Resume" : "Pause"}
          </button>
        }
      >
        <p class="hidden" role="status">
          {arrived > 0 ? `${format.counted(arrived, "new event")} since this view was opened` : ""}
        </p>
        {error && <Failure error={error} retry={() => void load(events === null)} isStale={events !== null} />}
        {events === null && !error && <Skeleton rows={8} />}
        {events !== null && events.length > 0 && (
          <EventList events={events} route={route} zone={zone} label="Newest events">
            {cursor !== null && (
              <button type="button" class="more" onClick={older}>
                Older events
              </button>
            )}
          </EventList>
        )}
        {events !== null && events.length === 0 && <WhyEmpty {...{ route, zone }} />}
      </Panel>
    </>
  );
}

function WhyEmpty({ route, zone }: { route: ViewProps["route"]; zone: string }) {
  const metrics = useApi<Metrics>(
    `/v1/metrics?${query(route.params, isRangeOrFilter, { timeframe: route.params.get("start") ? null : (route.params.get("timeframe") ?? "all") })}`,
  );
  if (metrics.error) return <Failure error={metrics.error} retry={metrics.reload} />;
  if (metrics.data === null) return <Empty>Looking for the reason…</Empty>;
  return <Explained explain={metrics.data.explain} isEmpty route={route} zone={zone} />;
}
