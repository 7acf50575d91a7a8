/** What happens to events on this device, each step in one transaction with everything that it counts. */
import { type Batch, type Decision, newState, type QueuedEvent, type State } from "./records";
import type { Tx } from "./store";
import type { ConsentStatus, Counts, Rejected } from "./types";

export const SESSION_MS = 30 * 60_000;
// A batch and what is around it must fit into the 64 KB that a page may have under way when it is left.
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

/** What the server said of one event. */
export interface Fate {
  status: string;
  reason?: string;
  details?: unknown;
}

/** The decision that counts, as the server says it, and what must no longer be held for it. */
export interface Counting {
  status: ConsentStatus;
  version: string;
  decidedAt: string;
  purge?: string[];
}

export const readState = async (tx: Tx): Promise<State> => (await tx.all("meta", 1))[0] ?? newState();

/** A random id; `crypto.randomUUID` is missing on pages without TLS. Of each digit so many bits are random as it leaves. */
export const uuid = (): string =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (+digit ^ (crypto.getRandomValues(new Uint8Array(1))[0]! & (15 >> (+digit / 4)))).toString(16),
  );

const bump = (counts: Counts, name: string): void => {
  counts[name] = (counts[name] ?? 0) + 1;
};

/** The session that an event of this moment belongs to; of a clock that was put back it goes on. */
function sessionAt(state: State, at: number): string {
  if (!state.session || at - state.session.at > SESSION_MS) state.session = { id: uuid(), at };
  state.session.at = at;
  return state.session.id;
}

export const isForbidden = (state: State): boolean => !!state.decision && state.decision.status !== "granted";

/** Queues events, each with the session and user of its moment; the events queued, and the last key dropped. */
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
      // Another person is another session; who was nobody until now stays in theirs.
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

/** Gives up the oldest events, but no batch that is numbered, until what is left is within the limits. */
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

/** The batch to be sent now: the one that is waiting for its answer, else the oldest events with a new number. */
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
  // Events queue in the order of their sessions: one that is over, here and in the queue, needs no more numbers.
  const needed = [state.session?.id, session, oldest[taken.length]?.session];
  for (const counts of [state.sequences, state.told])
    for (const each of Object.keys(counts)) if (!needed.includes(each)) delete counts[each];
  return informed(state, batch);
}

/** Sees to it that the server hears of the decision of a batch's person before it sees the batch. */
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

/** The body of a batch, the same on every try but for the time of sending; a beacon's has no number. */
export const bodyOf = (
  batch: Pick<Batch, "session" | "user" | "context" | "events"> & Partial<Batch>,
  now: number,
): string =>
  `{"sessionId":"${batch.session}","userId":${JSON.stringify(batch.user)},"sentAt":"${new Date(now).toISOString()}",` +
  `"sequence":${batch.sequence ?? null},"dropped":${batch.dropped ?? null},"context":${batch.context},` +
  `"events":[${batch.events}]}`;

/** Takes an answered batch out of the queue; what was rejected of it. Another tab may have been first. */
export async function settle(tx: Tx, state: State, batch: Batch, fates: Fate[]): Promise<Rejected[]> {
  if (!(await take(tx, state, batch))) return [];
  const rejected: Rejected[] = [];
  fates.forEach(({ status, reason = status, details }, index) => {
    if (status === "rejected") {
      bump(state.rejected, reason);
      rejected.push({ event: JSON.parse(batch.events[index]!), reason, details });
    } else if (status === "ignored") bump(state.ignored, reason);
    else bump(state.sent, status);
  });
  return rejected;
}

/** Halves a batch that the server refuses as a whole; an event that is refused alone is given up. */
export async function split(tx: Tx, state: State, batch: Batch, fate: Fate): Promise<Rejected[]> {
  const { length } = batch.events;
  if (length === 1) {
    const rejected = await settle(tx, state, batch, [fate]);
    // The server has not seen it, and hears of it as of any that was dropped.
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

/** Keeps a decision and what the server must hear of it; one that forbids empties the queue and forgets the user. */
export function decide(tx: Tx, state: State, status: ConsentStatus, version: string, at: number): void {
  if (state.decision?.status === status && state.decision.version === version) return;
  const decidedAt = new Date(at).toISOString();
  state.decision = { status, version, dataUsageAccepted: status === "granted", decidedAt };
  state.informed = [];
  state.session ??= { id: uuid(), at };
  inform(state, state.user, state.session.id);
  if (status !== "granted") purge(tx, state);
}

/** Takes over what counts, where the server knows a later decision of this person, made elsewhere. */
export function obey(
  tx: Tx,
  state: State,
  told: Decision,
  { status, version, decidedAt, purge: asked }: Counting,
): void {
  const isOurs = (told.userId ?? told.sessionId) === (state.user ?? state.session?.id);
  // It may have been decided anew meanwhile.
  if (!asked?.length || !isOurs || told.decidedAt !== state.decision?.decidedAt) return;
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
