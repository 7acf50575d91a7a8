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
import { isFilter, isRange, query, zoneOf } from "../route";
import type { EventPage, Metrics, StoredEvent } from "../types";

const EVERY_MS = 3_000;
const PAGE = 100;
const MOST = 1_000;

const idOf = (event: StoredEvent): string => `${event.id} ${event.sessionId} ${event.timestamp}`;

/** The newest events; it asks again while it is seen, and not while somebody reads. */
export function LiveView({ route }: ViewProps) {
  const zone = zoneOf(route.params);
  const asked = query(route.params, (name) => isRange(name) || isFilter(name), {
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

  const look = async (isNew: boolean) => {
    const mine = ++turn.current;
    try {
      const page = await request<EventPage>(`/v1/metrics/events?${asked}`);
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
      // A whole page of new ones: there may be more between it and what is shown.
      if (fresh.length === page.events.length) {
        setEvents(page.events);
        setCursor(page.nextCursor);
      } else
        setEvents(
          [...fresh, ...before].sort((one, other) => (one.timestamp < other.timestamp ? 1 : -1)).slice(0, MOST),
        );
    } catch (raised) {
      if (mine === turn.current) setError(asApiError(raised));
    }
  };
  useEffect(() => {
    setEvents(null);
    setArrived(0);
    void look(true);
    return () => {
      turn.current += 1;
    };
  }, [asked]);
  useEvery(isPaused ? 0 : EVERY_MS, () => void look(false));
  const older = async () => {
    try {
      const page = await request<EventPage>(`/v1/metrics/events?${asked}&cursor=${encodeURIComponent(cursor!)}`);
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
        note={isPaused ? "Paused." : "Asked for again every 3 seconds while this page is seen."}
        actions={
          <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
            {isPaused ? "Go on" : "Pause"}
          </button>
        }
      >
        <p class="hidden" role="status">
          {arrived > 0 ? `${format.counted(arrived, "new event")} since this view was opened` : ""}
        </p>
        {error && <Failure error={error} retry={() => void look(events === null)} isStale={events !== null} />}
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
        {events !== null && events.length === 0 && <WhyNone {...{ route, zone }} />}
      </Panel>
    </>
  );
}

function WhyNone({ route, zone }: { route: ViewProps["route"]; zone: string }) {
  const metrics = useApi<Metrics>(
    `/v1/metrics?${query(route.params, (name) => isRange(name) || isFilter(name), { timeframe: route.params.get("start") ? null : (route.params.get("timeframe") ?? "all") })}`,
  );
  if (metrics.error) return <Failure error={metrics.error} retry={metrics.reload} />;
  if (metrics.data === null) return <Empty>Asking why…</Empty>;
  return <Explained explain={metrics.data.explain} isEmpty route={route} zone={zone} />;
}
