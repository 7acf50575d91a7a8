/** What an app says to the client, and what it hears from it. */

export interface Options {
  /** Where the API is: `https://….execute-api.….amazonaws.com`. */
  url: string;
  /** The project's write key (`mw_…`), which is public. */
  key: string;
  /** Goes with every batch, up to 4 KB with what the client adds: `appVersion` and the like. */
  context?: Record<string, unknown>;
  /** `required`: before `setConsent("granted", …)` nothing is written on the device and nothing leaves it. */
  consent?: "required" | "optional";
  /** Do nothing at all where the browser sends Do Not Track or Global Privacy Control. */
  respectDoNotTrack?: boolean;
  /** Two projects on one origin need a name each; the default is `muster`. */
  name?: string;
  /** How long an event waits for company; 2,000. */
  flushMs?: number;
  /** So many waiting events leave at once; 30. */
  flushEvents?: number;
  /** How much the queue holds before it drops the oldest; 10,000 events and 5 MB. */
  maxEvents?: number;
  maxBytes?: number;
  /** The first pause after a failure, at most, and the longest; 1,000 and 60,000. */
  retryMs?: number;
  retryMaxMs?: number;
  /** How long one request may take; 30,000. */
  timeoutMs?: number;
  /** Hears of events that will never be stored. */
  onRejected?: (rejected: Rejected[]) => void;
}

export interface Rejected {
  event: Record<string, unknown>;
  reason: string;
  details?: unknown;
}

/**
 * What became of a call of `track`: `stored` is durable on this device, `memory` lasts as long as the page,
 * `held` waits in memory for consent, `refused` and `off` were not taken, for the reason given.
 */
export interface Tracked {
  id: string | null;
  state: "stored" | "memory" | "held" | "refused" | "off";
  reason?: string;
}

export type ConsentStatus = "granted" | "denied" | "withdrawn";
export type Counts = Record<string, number>;

/**
 * Where the events of this device are. Of every event taken one thing is true:
 * tracked = queued + sent.accepted + sent.duplicate + sent.queued + rejected + ignored + dropped + purged.
 */
export interface Status {
  enabled: boolean;
  /** Why not: `not_initialised`, `do_not_track`, `consent_required`, `consent_denied`, or an error's code. */
  reason: string | null;
  storage: "indexeddb" | "memory" | null;
  sessionId: string | null;
  userId: string | null;
  consent: ConsentStatus | null;
  /** Waiting for consent, in this page only, and not yet tracked. */
  held: number;
  tracked: number;
  queued: number;
  /**
   * By what the server said: `accepted`; `duplicate`, which it had already, for an answer was lost and not the event;
   * `queued`, which it keeps durably and stores in a moment (202).
   */
  sent: Counts;
  /** By reason. */
  rejected: Counts;
  ignored: Counts;
  /** Given up because the queue was full. */
  dropped: number;
  /** Removed when consent was denied or withdrawn. */
  purged: number;
  lastError: Fault | null;
  /** When the next try is due after a failure. */
  retryAt: string | null;
}

export interface Fault {
  code: string;
  message: string;
  at: string;
}
