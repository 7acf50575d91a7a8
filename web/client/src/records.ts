/** What is in the store. Pages of another version may read it: add, never rename. */
import type { ConsentStatus, Counts, Fault } from "./types";

/** An event of which session and user are settled. */
export interface QueuedEvent {
  k: number;
  json: string;
  bytes: number;
  session: string;
  user: string | null;
}

/** A batch with its number: sent as it is until the server has answered. */
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

/** A decision as PUT /v1/consent takes it. */
export interface Decision {
  userId?: string;
  sessionId?: string;
  status: ConsentStatus;
  version: string;
  dataUsageAccepted: boolean;
  decidedAt: string;
}

/** All else that pages of one origin share; read and written whole, in the transaction of what it counts. */
export interface State {
  k: 0;
  nextKey: number;
  session: { id: string; at: number } | null;
  user: string | null;
  /** The last batch number of each session that is current or still queued. */
  sequences: Counts;
  /** Events dropped of which no batch has told, and what each session has told. */
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
  /** Decisions that the server has not heard yet, and whose it has been or will be told. */
  decisions: Decision[];
  informed: string[];
  failures: number;
  /** Until then nobody asks the server. */
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
