/** Muster in React: `<AnalyticsProvider url writeKey>` around the app, `useAnalytics()` inside it. */
import {
  type Client,
  type ConsentStatus,
  flush,
  identify,
  init,
  type Options,
  page,
  reset,
  type Status,
  setConsent,
  track,
} from "muster-client";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

export interface Analytics {
  /** Resolves when the event is durable on this device. */
  trackEvent: Client["track"];
  trackPage: Client["page"];
  identify: Client["identify"];
  reset: Client["reset"];
  setConsent: Client["setConsent"];
  flush: Client["flush"];
  /** Whether events are sent. If not, `status.reason` says why. */
  enabled: boolean;
  consent: ConsentStatus | null;
  sessionId: string | null;
  userId: string | null;
  /** The number of events that wait on this device. */
  queued: number;
  /** The client's status. Null until it is first read. */
  status: Status | null;
}

const Context = createContext<Analytics | null>(null);
// A page has one client, even if React mounts the provider again.
let started: Client | undefined;

/** The key is named `writeKey`, because React reserves `key`. */
export type AnalyticsProviderProps = Omit<Options, "key"> & { writeKey: string; children?: ReactNode };

/** Starts the client when it is first mounted. Later changes of its options have no effect. */
export function AnalyticsProvider({ children, writeKey, ...options }: AnalyticsProviderProps): ReactNode {
  const [status, setStatus] = useState<Status | null>(null);
  useEffect(() => {
    started ??= init({ ...options, key: writeKey });
    let isMounted = true;
    const stop = started.subscribe(setStatus);
    void started.status().then((first) => isMounted && setStatus((known) => known ?? first));
    return () => {
      isMounted = false;
      stop();
    };
  }, []);
  const analytics = useMemo(
    () => ({
      // Effects of children may call these before the client is started. The calls then wait for it.
      trackEvent: track,
      trackPage: page,
      identify,
      reset,
      setConsent,
      flush,
      enabled: status?.enabled ?? false,
      consent: status?.consent ?? null,
      sessionId: status?.sessionId ?? null,
      userId: status?.userId ?? null,
      queued: status?.queued ?? 0,
      status,
    }),
    [status],
  );
  return <Context.Provider value={analytics}>{children}</Context.Provider>;
}

export function useAnalytics(): Analytics {
  const analytics = useContext(Context);
  if (!analytics) throw new Error("useAnalytics needs an <AnalyticsProvider> above it.");
  return analytics;
}
