/** The queue of events on this device. Each step changes the events and their counts in one transaction. */
import { type Batch, type Decision, newState, type QueuedEvent, type State } from "./records";
import type { Tx } from "./store";
import type { ConsentStatus, Counts, Rejected } from "./types";

export const SESSION_MS = 30 * 60_000;
// A batch and its envelope must fit into the 64 KB that a browser still sends for a page that was left.
export const MAX_BATCH_BYTES = 50_000;
export const MAX_BATCH_EVENTS = 200;
const MAX_INFORMED = 20;
const EVER = Number.MAX_SAFE_INTEGER;

export type Operation =
  | { kind: "event"; json: string; bytes: number; at: number }
  | { kind: "refused"; reason: string }
  | { kind: "user"; user: string | null };

export interface Limits {
  maxEvents: number;
  maxBytes: number;
}

/** The server's result for one event. */
export interface EventResult {
  status: string;
  reason?: string;
  details?: unknown;
}

/** The decision that counts on the server, and what the client must delete because of it. */
export interface CurrentDecision {
  status: ConsentStatus;
  version: string;
  decidedAt: string;
  purge?: string[];
}

export const readState = async (tx: Tx): Promise<State> => (await tx.all("meta", 1))[0] ?? newState();

/** A random UUID. `crypto.randomUUID` is missing on pages without TLS. Each 0 and 1 becomes four random bits, the 8 two. */
export const uuid = (): string =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (+digit ^ (crypto.getRandomValues(new Uint8Array(1))[0]! & (15 >> (+digit / 4)))).toString(16),
  );

const bump = (counts: Counts, name: string): void => {
  counts[name] = (counts[name] ?? 0) + 1;
};

/** The session of an event that happens at `at`. If the clock was set back, the session continues. */
function sessionAt(state: State, at: number): string {
  if (!state.session || at - state.session.at > SESSION_MS) state.session = { id: uuid(), at };
  state.session.at = at;
  return state.session.id;
}

export const isForbidden = (state: State): boolean => !!state.decision && state.decision.status !== "granted";

/** Queues events with the session and user of their time. Resolves to the queued events and the last dropped key. */
export async function add(
  tx: Tx,
  state: State,
  operations: Operation[],
  limits: Limits,
): Promise<{ queued: QueuedEvent[]; dropped: number }> {
  const queued: QueuedEvent[] = [];
  for (const operation of operations) {
    if (operation.kind === "user") {
      const { user } = operation;
      // Another user gets a new session. An anonymous session continues when its user is identified.
      if (!user || (state.user && state.user !== user)) state.session = null;
      state.user = user;
      continue;
    }
    state.tracked++;
    if (operation.kind === "refused") {
      bump(state.rejected, operation.reason);
      continue;
    }
    const { json, bytes, at } = operation;
    const event = { k: state.nextKey++, json, bytes, session: sessionAt(state, at), user: state.user };
    tx.put("events", event);
    queued.push(event);
    state.queued++;
    state.bytes += bytes;
  }
  return { queued, dropped: await drop(tx, state, limits) };
}

/** Drops the oldest events until the queue is within its limits. Numbered batches stay. */
export async function drop(tx: Tx, state: State, limits: Limits): Promise<number> {
  let last = 0;
  while (state.queued > limits.maxEvents || state.bytes > limits.maxBytes) {
    const [oldest] = await tx.all("events", 1);
    if (!oldest) break;
    last = oldest.k;
    tx.remove("events", last, last);
    state.queued--;
    state.bytes -= oldest.bytes;
    state.dropped++;
    state.untold++;
  }
  return last;
}

/** The next batch to send: one without a response yet, or else the oldest events with a new number. */
export async function nextBatch(tx: Tx, state: State, context: string): Promise<Batch | undefined> {
  const [waiting] = await tx.all("batches", 1);
  if (waiting) return informed(state, waiting);
  const oldest = await tx.all("events", MAX_BATCH_EVENTS + 1);
  const first = oldest[0];
  if (!first) return;
  const taken: QueuedEvent[] = [];
  let bytes = 0;
  for (const event of oldest) {
    const isOther = event.session !== first.session || event.user !== first.user;
    if (isOther || taken.length === MAX_BATCH_EVENTS || (bytes && bytes + event.bytes > MAX_BATCH_BYTES)) break;
    taken.push(event);
    bytes += event.bytes;
  }
  tx.remove("events", 0, taken[taken.length - 1]!.k);
  const { session, user } = first;
  if (state.untold) state.told[session] = (state.told[session] ?? 0) + state.untold;
  state.untold = 0;
  bump(state.sequences, session);
  const batch: Batch = {
    k: state.nextKey++,
    session,
    user,
    sequence: state.sequences[session]!,
    dropped: state.told[session] ?? 0,
    context,
    events: taken.map((event) => event.json),
    bytes,
  };
  tx.put("batches", batch);
  // Events are queued in the order of their sessions. A session that is neither current nor queued needs no more numbers.
  const needed = [state.session?.id, session, oldest[taken.length]?.session];
  for (const counts of [state.sequences, state.told])
    for (const each of Object.keys(counts)) if (!needed.includes(each)) delete counts[each];
  return informed(state, batch);
}

/** Makes sure that the server gets the decision of a batch's user before the batch. */
function informed(state: State, batch: Batch): Batch {
  if (state.decision) inform(state, batch.user, batch.session);
  return batch;
}

function inform(state: State, user: string | null, session: string): void {
  const subject = user ?? session;
  if (state.informed.includes(subject)) return;
  state.informed = [...state.informed.slice(-MAX_INFORMED), subject];
  state.decisions.push({ ...(user ? { userId: user } : { sessionId: session }), ...state.decision! });
}

/** The body of a batch. Only `sentAt` changes between tries. A beacon's batch has no number. */
export const bodyOf = (
  batch: Pick<Batch, "session" | "user" | "context" | "events"> & Partial<Batch>,
  now: number,
): string =>
  `{"sessionId":"${batch.session}","userId":${JSON.stringify(batch.user)},"sentAt":"${new Date(now).toISOString()}",` +
  `"sequence":${batch.sequence ?? null},"dropped":${batch.dropped ?? null},"context":${batch.context},` +
  `"events":[${batch.events}]}`;

/** Removes an answered batch, unless another tab has done so. Resolves to its rejected events. */
export async function settle(tx: Tx, state: State, batch: Batch, results: EventResult[]): Promise<Rejected[]> {
  if (!(await take(tx, state, batch))) return [];
  const rejected: Rejected[] = [];
  results.forEach(({ status, reason = status, details }, index) => {
    if (status === "rejected") {
      bump(state.rejected, reason);
      rejected.push({ event: JSON.parse(batch.events[index]!), reason, details });
    } else if (status === "ignored") bump(state.ignored, reason);
    else bump(state.sent, status);
  });
  return rejected;
}

/** Halves a batch that the server refused as a whole. An event refused alone is rejected. */
export async function split(tx: Tx, state: State, batch: Batch, result: EventResult): Promise<Rejected[]> {
  const { length } = batch.events;
  if (length === 1) {
    const rejected = await settle(tx, state, batch, [result]);
    // The server has not stored this event, so report it like a dropped one.
    state.untold += rejected.length;
    return rejected;
  }
  if (!(await take(tx, state, batch))) return [];
  const half = length >> 1;
  const put = (sequence: number, events: string[]): void => {
    const bytes = Math.round((batch.bytes * events.length) / length);
    tx.put("batches", { ...batch, k: state.nextKey++, sequence, events, bytes });
    state.queued += events.length;
    state.bytes += bytes;
  };
  put(batch.sequence, batch.events.slice(0, half));
  bump(state.sequences, batch.session);
  put(state.sequences[batch.session]!, batch.events.slice(half));
  return [];
}

async function take(tx: Tx, state: State, batch: Batch): Promise<boolean> {
  const waiting = await tx.all("batches", MAX_BATCH_EVENTS);
  if (!waiting.some((each) => each.k === batch.k)) return false;
  tx.remove("batches", batch.k, batch.k);
  state.queued -= batch.events.length;
  state.bytes = state.queued ? Math.max(0, state.bytes - batch.bytes) : 0;
  return true;
}

/** Stores a decision and queues it for the server. A refusal empties the queue and forgets the user. */
export function decide(tx: Tx, state: State, status: ConsentStatus, version: string, at: number): void {
  if (state.decision?.status === status && state.decision.version === version) return;
  const decidedAt = new Date(at).toISOString();
  state.decision = { status, version, dataUsageAccepted: status === "granted", decidedAt };
  state.informed = [];
  state.session ??= { id: uuid(), at };
  inform(state, state.user, state.session.id);
  if (status !== "granted") purge(tx, state);
}

/** Adopts the server's decision if this user made a later one on another device. */
export function adopt(
  tx: Tx,
  state: State,
  sent: Decision,
  { status, version, decidedAt, purge: asked }: CurrentDecision,
): void {
  const isCurrent = (sent.userId ?? sent.sessionId) === (state.user ?? state.session?.id);
  // There may be a new decision since the request.
  if (!asked?.length || !isCurrent || sent.decidedAt !== state.decision?.decidedAt) return;
  state.decision = { status, version, dataUsageAccepted: false, decidedAt };
  purge(tx, state);
}

function purge(tx: Tx, state: State): void {
  tx.remove("events", 0, EVER);
  tx.remove("batches", 0, EVER);
  state.purged += state.queued;
  state.queued = state.bytes = 0;
  state.session = state.user = null;
  state.sequences = {};
  state.told = {};
}
