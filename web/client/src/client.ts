/**
 * Ties the queue to the page: what is tracked goes in, what is due goes out, and leaving loses nothing.
 *
 * One file, for every page of an app pays for it: as parts of their own it was more than the 6 KB that it may have.
 */
import { pauseMs, send } from "./http";
import {
  add,
  bodyOf,
  decide,
  drop,
  isForbidden,
  MAX_BATCH_BYTES,
  nextBatch,
  type Operation,
  obey,
  readState,
  settle,
  split,
  uuid,
} from "./queue";
import { type Batch, newState, type QueuedEvent, type State } from "./records";
import { bytesOf, serialise } from "./serialise";
import { idbStore, isFull, memoryStore, type Store, type Tx } from "./store";
import type { ConsentStatus, Fault, Options, Rejected, Status, Tracked } from "./types";

const VERSION = "0.1.0";
const MAX_CONTEXT_BYTES = 4_096;
// A pause that lies further ahead was written by a clock that has been put back since.
const MAX_PAUSE_MS = 3_700_000;

type Step = Operation | { kind: "consent"; status: ConsentStatus; version: string; at: number };

interface Incoming {
  step: Step;
  resolve: (tracked: Tracked) => void;
}

export interface Client {
  track(eventType: string, area?: string, data?: Record<string, unknown>): Promise<Tracked>;
  page(area?: string, data?: Record<string, unknown>): Promise<Tracked>;
  /** From now on events are this user's; those before stay nobody's. */
  identify(userId: string): Promise<void>;
  /** Another session, of nobody. */
  reset(): Promise<void>;
  setConsent(status: ConsentStatus, version?: string): Promise<void>;
  /** Tries now; what fails stays queued. */
  flush(): Promise<void>;
  status(): Promise<Status>;
  subscribe(listener: (status: Status) => void): () => void;
}

/** With a name that the server refuses, all that it goes with would be refused. */
function check(call: string, text: string, most: number): void {
  if (!new RegExp(`^[^\\0\\ud800-\\udfff]{1,${most}}$`, "u").test(text))
    throw new TypeError(`muster.${call} needs 1 to ${most} characters.`);
}

/** `moment`: when the call that is being made was asked for, if that was before this client was there. */
export function createClient(options: Options, moment: { at?: number } = {}): Client {
  const {
    key,
    name = "muster",
    respectDoNotTrack,
    flushMs = 2_000,
    flushEvents = 30,
    maxEvents = 10_000,
    maxBytes = 5_000_000,
    retryMs = 1_000,
    retryMaxMs = 60_000,
    timeoutMs = 30_000,
    onRejected,
  } = options;
  if (!options.url || !key) throw new TypeError("muster.init needs a url and a key.");
  const url = options.url.replace(/\/+$/, "");
  const isConsentRequired = options.consent === "required";
  const limits = { maxEvents, maxBytes };
  const { json: context = "", bytes: contextBytes = 0 } = serialise({
    client: `muster.js/${VERSION}`,
    locale: navigator.language,
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    screen: `${screen.width}x${screen.height}`,
    ...options.context,
  });
  // What the server refuses of a context it refuses of every batch.
  if (!context || contextBytes > MAX_CONTEXT_BYTES || /\\u(0000|d[89a-f])/.test(context))
    throw new TypeError("muster.init needs a context of JSON, up to 4 KB, no NUL.");
  const isOff =
    respectDoNotTrack &&
    (navigator.doNotTrack === "1" || !!(navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl);

  const tab = uuid();
  const listeners = new Set<(status: Status) => void>();
  const incoming: Incoming[] = [];
  // What this page tracked and no batch holds yet, as far as a beacon can carry it when the page is left.
  const unsent = new Map<number, QueuedEvent>();
  let held: Operation[] = [];
  let seen = newState();
  let kind: Store["kind"] | null = null;
  let store: Promise<Store> | undefined;
  let writing: Promise<void> | undefined;
  let flushing: Promise<void> | undefined;
  let isAgain = false;
  let isWithoutLocks = !navigator.locks;
  let stopped: string | undefined;
  let inFlight: Batch | undefined;
  let isKeptAlive = true;
  let fresh = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let due = 0;

  const isGranted = (state: State): boolean => !isForbidden(state) && (!isConsentRequired || !!state.decision);
  const now = (): number => moment.at ?? Date.now();
  const isPaused = (state: State): boolean => {
    const wait = state.until - Date.now();
    return wait > 0 && wait < MAX_PAUSE_MS;
  };
  const fault = (code: string, message: string): Fault => ({ code, message, at: new Date().toISOString() });

  // ---- The store

  const open = (): Promise<Store> => (store ??= idbStore(name).catch((error) => toMemory(error)));

  async function toMemory(error: unknown): Promise<Store> {
    const memory = memoryStore();
    const { decision, user } = seen;
    const state = { ...newState(), decision, user, lastError: fault("storage_unavailable", String(error)) };
    await memory.run(async (tx) => tx.put("meta", state));
    return memory;
  }

  /** One step of the queue; without work it only looks. */
  async function transact<T>(work?: (tx: Tx, state: State) => Promise<T>): Promise<T> {
    let latest = seen;
    const on = (target: Store): Promise<T> => {
      kind = target.kind;
      return target.run(async (tx) => {
        latest = await readState(tx);
        const result = (await work?.(tx, latest)) as T;
        // Before a required consent not even a counter is written.
        if (work && (!isConsentRequired || latest.decision || kind === "memory")) tx.put("meta", latest);
        return result;
      });
    };
    let result: T;
    const opened = open();
    const target = await opened;
    try {
      try {
        result = await on(target);
      } catch (error) {
        if (!isFull(error)) throw error;
        await target.run(async (tx) => {
          const state = await readState(tx);
          await drop(tx, state, { maxEvents: state.queued >> 1, maxBytes });
          tx.put("meta", state);
        });
        result = await on(target);
      }
    } catch (error) {
      // Two steps may fail at once, and must find the same memory.
      if (store === opened) store = toMemory(error);
      result = await on(await open());
    }
    seen = latest;
    if (isForbidden(seen)) unsent.clear();
    if (work) for (const listener of listeners) tell(listener, snapshot());
    return result;
  }

  /** Whatever the app does with what it hears, it does not disturb the queue. */
  function tell<T>(listener: (value: T) => void, value: T): void {
    setTimeout(listener, 0, value);
  }

  // ---- In

  function enqueue(step: Step): Promise<Tracked> {
    return new Promise((resolve) => {
      incoming.push({ step, resolve });
      write();
    });
  }

  function write(): Promise<void> {
    writing ??= (async () => {
      // What is tracked in one go is one transaction.
      await open();
      do {
        const taken = incoming.splice(0);
        const before = held;
        const states = await transact((tx, state) => apply(tx, state, taken, before));
        for (const [index, { resolve }] of taken.entries()) resolve(states[index]!);
      } while (incoming.length);
      writing = undefined;
      if (isDue()) schedule(fresh < flushEvents ? flushMs : 0);
    })();
    return writing;
  }

  async function apply(tx: Tx, state: State, taken: Incoming[], before: Operation[]): Promise<Tracked[]> {
    let waiting = before;
    let ready: Operation[] = [];
    const put = async (): Promise<void> => {
      const { queued, dropped } = await add(tx, state, ready, limits);
      fresh += queued.length;
      remember(queued, dropped);
      ready = [];
    };
    const release = (): void => {
      if (isGranted(state)) [ready, waiting] = [[...ready, ...waiting], []];
    };
    release();
    const results: Tracked[] = [];
    for (const { step } of taken) {
      let result: Tracked = { id: null, state: kind === "memory" ? "memory" : "stored" };
      if (step.kind === "consent") {
        await put();
        decide(tx, state, step.status, step.version, step.at);
        release();
        if (isForbidden(state)) waiting = [];
      } else if (isGranted(state)) ready.push(step);
      else {
        const isRefused = isForbidden(state);
        result = isRefused ? { id: null, state: "refused", reason: "consent_denied" } : { id: null, state: "held" };
        // Who somebody says they are from now on counts as soon as they agree.
        if (!isRefused || step.kind === "user") waiting = [...waiting, step].slice(-maxEvents);
      }
      if (isForbidden(state)) waiting = waiting.filter((each) => each.kind === "user").slice(-1);
      results.push(result);
    }
    await put();
    held = waiting;
    return results;
  }

  function remember(queued: QueuedEvent[], dropped: number): void {
    for (const event of queued) unsent.set(event.k, event);
    forget(dropped);
    let bytes = 0;
    for (const [k, event] of [...unsent].reverse()) {
      bytes += event.bytes;
      if (bytes > MAX_BATCH_BYTES) unsent.delete(k);
    }
  }

  function forget(last: number): void {
    for (const k of unsent.keys()) if (k <= last) unsent.delete(k);
  }

  // ---- Out

  const isDue = (state = seen): boolean => !stopped && !!(state.decisions.length || (state.queued && isGranted(state)));

  function schedule(ms: number): void {
    const at = performance.now() + ms;
    if (due && at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => void flush(), ms);
  }

  function flush(): Promise<void> {
    isAgain = true;
    clearTimeout(timer);
    due = 0;
    flushing ??= (async () => {
      try {
        while (isAgain) {
          isAgain = false;
          await writing;
          await exclusively(async () => {
            fresh = 0;
            while (!stopped && (await sendNext()));
          });
        }
      } finally {
        flushing = undefined;
        if (isDue()) schedule(Math.max(flushMs, isPaused(seen) ? seen.until - Date.now() : 0));
      }
    })();
    return flushing;
  }

  /** One tab at a time sends; that two did would be harmless, for both would send the same. */
  async function exclusively(work: () => Promise<void>): Promise<void> {
    if (!isWithoutLocks) {
      try {
        await navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock ? work() : undefined));
        return;
      } catch {
        // A sandboxed frame has the interface and may not use it.
        isWithoutLocks = true;
      }
    }
    await work();
    if (seen.lease?.tab === tab)
      await transact(async (_, state) => {
        if (state.lease?.tab === tab) state.lease = null;
      });
  }

  function mayLease(state: State): boolean {
    const left = state.lease && state.lease.tab !== tab ? state.lease.until - Date.now() : 0;
    if (left > 0 && left <= 2 * timeoutMs) return false;
    state.lease = { tab, until: Date.now() + 2 * timeoutMs };
    return true;
  }

  /** Sends what is first: what the server must know of consent, then batches; whether there may be more. */
  async function sendNext(): Promise<boolean> {
    const [decision, batch] = await transact(async (tx, state) => {
      if (isPaused(state) || !isDue(state) || (isWithoutLocks && !mayLease(state))) return [];
      const batch = isGranted(state) ? await nextBatch(tx, state, context) : undefined;
      const [next] = await tx.all("events", 1);
      forget(next ? next.k - 1 : state.nextKey);
      return [state.decisions[0], batch] as const;
    });
    if (!decision && !batch) return false;
    if (!decision) inFlight = batch;
    // What else the page keeps alive may have used up the browser's budget: every other try does without.
    isKeptAlive = seen.failures % 2 === 0;
    const body = decision ? JSON.stringify(decision) : bodyOf(batch!, Date.now());
    const length = decision ? -1 : batch!.events.length;
    const answer = await send(url, key, body, isKeptAlive, timeoutMs, length);
    const { verdict, content, code, message, retryAfterMs } = answer;
    inFlight = undefined;
    report(
      await transact(async (tx, state) => {
        state.lastError = verdict === "done" ? null : fault(code, message);
        if (verdict === "failed") {
          state.until = Date.now() + pauseMs(state.failures++, retryAfterMs, retryMs, retryMaxMs);
          return [];
        }
        state.failures = state.until = 0;
        if (verdict === "stopped") return [];
        if (decision) {
          const told = JSON.stringify(decision);
          state.decisions = state.decisions.filter((each) => JSON.stringify(each) !== told);
          if (verdict === "done") obey(tx, state, decision, content);
          return [];
        }
        if (verdict === "done") return settle(tx, state, batch!, content.events);
        return split(tx, state, batch!, { status: "rejected", reason: code, details: message });
      }),
    );
    if (verdict === "stopped") stopped = code;
    if (stopped || (decision && verdict === "refused"))
      console.error(
        `Muster ${stopped ? "sends nothing, and keeps what is queued" : "refuses a decision"}: ${code} ${message}`,
      );
    return verdict !== "failed";
  }

  function report(rejected: Rejected[]): void {
    if (rejected.length && onRejected) tell(onRejected, rejected);
  }

  /** The page may be gone after this: what cannot wait goes by beacon, and stays queued until it is answered. */
  function leave(): void {
    if (stopped || !isGranted(seen) || seen.decisions.length || isPaused(seen) || !navigator.sendBeacon) return;
    let budget = 60_000;
    const beacon = (body: string): void => {
      budget -= bytesOf(body);
      if (budget >= 0) navigator.sendBeacon(`${url}/v1/events?key=${encodeURIComponent(key)}`, body);
    };
    if (inFlight && isKeptAlive) budget -= inFlight.bytes + MAX_CONTEXT_BYTES;
    else if (inFlight) beacon(bodyOf(inFlight, Date.now()));
    const groups: QueuedEvent[][] = [];
    for (const event of unsent.values()) {
      const last = groups[groups.length - 1];
      if (last && last[0]!.session === event.session && last[0]!.user === event.user) last.push(event);
      else groups.push([event]);
    }
    for (const group of groups) {
      const { session, user } = group[0]!;
      // Without a number: that is given in the store, for which there is no time. Its batch will find duplicates.
      if (!seen.decision || seen.informed.includes(user ?? session))
        beacon(bodyOf({ session, user, context: context, events: group.map((event) => event.json) }, Date.now()));
    }
  }

  // ---- The app's side

  function snapshot(): Status {
    const { session, user, decision, queued, tracked, sent, rejected, ignored, dropped, purged, lastError, until } =
      seen;
    const consent = decision ? "consent_denied" : "consent_required";
    const reason = isOff ? "do_not_track" : isGranted(seen) ? (stopped ?? null) : consent;
    return {
      enabled: !reason,
      reason,
      storage: kind,
      sessionId: session?.id ?? null,
      userId: user,
      consent: decision?.status ?? null,
      held: held.filter((each) => each.kind === "event").length,
      tracked,
      queued,
      sent,
      rejected,
      ignored,
      dropped,
      purged,
      lastError,
      retryAt: isPaused(seen) ? new Date(until).toISOString() : null,
    };
  }

  async function track(eventType: string, area?: string, data?: Record<string, unknown>): Promise<Tracked> {
    if (isOff) return { id: null, state: "off", reason: "do_not_track" };
    const id = uuid();
    const at = now();
    const event = { id, eventType, area, timestamp: new Date(at).toISOString(), data };
    const { json, bytes, reason, details } = serialise(event);
    if (json !== undefined) return { ...(await enqueue({ kind: "event", json, bytes, at })), id };
    await enqueue({ kind: "refused", reason });
    report([{ event, reason, details }]);
    return { id, state: "refused", reason };
  }

  function page(area = location.pathname.slice(0, 100), data?: Record<string, unknown>): Promise<Tracked> {
    const { title, referrer } = document;
    // Queries hold what people searched for, and secrets.
    return track("page_view", area, {
      path: location.pathname,
      title,
      referrer: referrer.replace(/[?#].*/, "") || undefined,
      ...data,
    });
  }

  async function change(step: Step): Promise<void> {
    if (isOff) return;
    await enqueue(step);
    if (step.kind !== "consent") return;
    try {
      // Tells the other tabs.
      localStorage.setItem(name, String(Date.now()));
    } catch {
      // They read it with their next event.
    }
    void flush();
  }

  if (!isOff) {
    addEventListener("pagehide", leave);
    addEventListener("pageshow", (event) => {
      if (event.persisted) void write();
    });
    addEventListener("storage", (event) => {
      if (event.key === name) void write();
    });
    addEventListener("online", () => {
      void transact(async (_, state) => {
        state.until = 0;
      }).then(flush);
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") void flush();
    });
    void write();
  }

  return {
    track,
    page,
    async identify(userId) {
      check("identify", userId, 200);
      return change({ kind: "user", user: String(userId) });
    },
    reset: () => change({ kind: "user", user: null }),
    async setConsent(status, version = "1") {
      check("setConsent", version, 100);
      return change({ kind: "consent", status, version, at: now() });
    },
    async flush() {
      if (isOff) return;
      stopped = undefined;
      await flush();
    },
    async status() {
      if (!isOff) await transact();
      return snapshot();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
