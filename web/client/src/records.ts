/** The records in the store. Pages with another version of this script may read them: add fields, never rename one. */
import type { ConsentStatus, Counts, Fault } from "./types";

/** An event with its session and user. */
export interface QueuedEvent {
  k: number;
  json: string;
  bytes: number;
  session: string;
  user: string | null;
}

/** A batch with its number. It is sent unchanged until the server has answered. */
export interface Batch {
  k: number;
  session: string;
  user: string | null;
  sequence: number;
  dropped: number;
  context: string;
  events: string[];
  bytes: number;
}

/** The body of PUT /v1/consent. */
export interface Decision {
  userId?: string;
  sessionId?: string;
  status: ConsentStatus;
  version: string;
  dataUsageAccepted: boolean;
  decidedAt: string;
}

/** The state that all pages of one origin share. Each transaction reads and writes all of it. */
export interface State {
  k: 0;
  nextKey: number;
  session: { id: string; at: number } | null;
  user: string | null;
  /** The last batch number of each session that is current or still queued. */
  sequences: Counts;
  /** Dropped events that no batch has reported yet, and the number that each session has reported. */
  untold: number;
  told: Counts;
  queued: number;
  bytes: number;
  tracked: number;
  sent: Counts;
  dropped: number;
  purged: number;
  rejected: Counts;
  ignored: Counts;
  decision: Omit<Decision, "userId" | "sessionId"> | null;
  /** Decisions not sent yet, and the users and sessions that have a sent or queued decision. */
  decisions: Decision[];
  informed: string[];
  failures: number;
  /** No request is sent before this time. */
  until: number;
  lease: { tab: string; until: number } | null;
  lastError: Fault | null;
}

export const newState = (): State => ({
  k: 0,
  nextKey: 1,
  session: null,
  user: null,
  sequences: {},
  untold: 0,
  told: {},
  queued: 0,
  bytes: 0,
  tracked: 0,
  sent: {},
  dropped: 0,
  purged: 0,
  rejected: {},
  ignored: {},
  decision: null,
  decisions: [],
  informed: [],
  failures: 0,
  until: 0,
  lease: null,
  lastError: null,
});
