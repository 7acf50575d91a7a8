/** The options, results and status of the client. */

export interface Options {
  /** The URL of the API: `https://….execute-api.….amazonaws.com`. */
  url: string;
  /** The project's write key (`mw_…`), which is public. */
  key: string;
  /** Sent with every batch, for example `appVersion`. Up to 4 KB, including the fields that the client adds. */
  context?: Record<string, unknown>;
  /** With `required`, nothing is written on the device or sent before `setConsent("granted", …)`. */
  consent?: "required" | "optional";
  /** Do nothing if the browser sends Do Not Track or Global Privacy Control. */
  respectDoNotTrack?: boolean;
  /** Names the store. Two projects on one origin need different names. Default: `muster`. */
  name?: string;
  /** How long an event waits for others in its batch, in milliseconds. Default: 2,000. */
  flushMs?: number;
  /** This many waiting events are sent at once. Default: 30. */
  flushEvents?: number;
  /** The size of the queue. A full queue drops its oldest events. Default: 10,000 events and 5 MB. */
  maxEvents?: number;
  maxBytes?: number;
  /** The longest first pause after a failure, and the longest of all, in milliseconds. Default: 1,000 and 60,000. */
  retryMs?: number;
  retryMaxMs?: number;
  /** The timeout of one request, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /** Called with events that will never be stored. */
  onRejected?: (rejected: Rejected[]) => void;
}

export interface Rejected {
  event: Record<string, unknown>;
  reason: string;
  details?: unknown;
}

/**
 * The result of a call of `track`. `stored` is durable on this device. `memory` lasts as long as the page. `held` waits in
 * memory for consent. `refused` and `off` were not queued, and `reason` says why.
 */
export interface Tracked {
  id: string | null;
  state: "stored" | "memory" | "held" | "refused" | "off";
  reason?: string;
}

export type ConsentStatus = "granted" | "denied" | "withdrawn";
export type Counts = Record<string, number>;

/**
 * Where the events of this device are. Every tracked event has exactly one state:
 * tracked = queued + sent.accepted + sent.duplicate + sent.queued + rejected + ignored + dropped + purged.
 */
export interface Status {
  enabled: boolean;
  /** Why the client sends nothing: `not_initialised`, `do_not_track`, `consent_required`, `consent_denied`, or an error's code. */
  reason: string | null;
  storage: "indexeddb" | "memory" | null;
  sessionId: string | null;
  userId: string | null;
  consent: ConsentStatus | null;
  /** Events of this page that wait for consent. They do not count as tracked yet. */
  held: number;
  tracked: number;
  queued: number;
  /**
   * By the server's result. `accepted`: stored. `duplicate`: already stored, because only the response of an earlier try was
   * lost. `queued`: durably queued, and stored in a moment (202).
   */
  sent: Counts;
  /** By reason. */
  rejected: Counts;
  ignored: Counts;
  /** Deleted because the queue was full. */
  dropped: number;
  /** Deleted when consent was denied or withdrawn. */
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
