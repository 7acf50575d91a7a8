/**
 * Connects the queue to the page: queues events, sends them when they are due, and loses none when the page is left.
 *
 * This is one file because every page of an app loads it: as several modules it exceeded its limit of 6 KB.
 */
import { pauseMs, send } from "./http";
import {
  add,
  adopt,
  bodyOf,
  decide,
  drop,
  isForbidden,
  MAX_BATCH_BYTES,
  nextBatch,
  type Operation,
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
// A longer pause was written before the clock was set back.
const MAX_PAUSE_MS = 3_700_000;

type Step = Operation | { kind: "consent"; status: ConsentStatus; version: string; at: number };

interface Incoming {
  step: Step;
  resolve: (tracked: Tracked) => void;
}

export interface Client {
  track(eventType: string, area?: string, data?: Record<string, unknown>): Promise<Tracked>;
  page(area?: string, data?: Record<string, unknown>): Promise<Tracked>;
  /** Events from now on belong to this user. Earlier ones stay anonymous. */
  identify(userId: string): Promise<void>;
  /** Starts a new anonymous session. */
  reset(): Promise<void>;
  setConsent(status: ConsentStatus, version?: string): Promise<void>;
  /** Sends now. Events that cannot be sent stay queued. */
  flush(): Promise<void>;
  status(): Promise<Status>;
  subscribe(listener: (status: Status) => void): () => void;
}

/** Throws if the server would refuse this text, because it would then refuse everything sent with it. */
function check(call: string, text: string, most: number): void {
  if (!new RegExp(`^[^\\0\\ud800-\\udfff]{1,${most}}$`, "u").test(text))
    throw new TypeError(`muster.${call} needs 1 to ${most} characters.`);
}

/** `moment.at` is the time of the current call if the page made it before this client existed. */
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
  // Every batch has this context, so the server would refuse every batch.
  if (!context || contextBytes > MAX_CONTEXT_BYTES || /\\u(0000|d[89a-f])/.test(context))
    throw new TypeError("muster.init needs a JSON context up to 4 KB, no NUL.");
  const isOff =
    respectDoNotTrack &&
    (navigator.doNotTrack === "1" || !!(navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl);

  const tab = uuid();
  const listeners = new Set<(status: Status) => void>();
  const incoming: Incoming[] = [];
  // Events of this page that are in no batch yet, up to the size of a beacon, which sends them when the page is left.
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

  /** Runs one step of the queue in a transaction. Without `work` it only reads the state. */
  async function transact<T>(work?: (tx: Tx, state: State) => Promise<T>): Promise<T> {
    let latest = seen;
    const on = (target: Store): Promise<T> => {
      kind = target.kind;
      return target.run(async (tx) => {
        latest = await readState(tx);
        const result = (await work?.(tx, latest)) as T;
        // Where consent is required, nothing is written before it is given, not even a counter.
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
      // If two steps fail at once, both must use the same memory.
      if (store === opened) store = toMemory(error);
      result = await on(await open());
    }
    seen = latest;
    if (isForbidden(seen)) unsent.clear();
    if (work) for (const listener of listeners) notify(listener, snapshot());
    return result;
  }

  /** Calls the listener later, so an error in it does not disturb the queue. */
  function notify<T>(listener: (value: T) => void, value: T): void {
    setTimeout(listener, 0, value);
  }

  // ---- Queueing

  function enqueue(step: Step): Promise<Tracked> {
    return new Promise((resolve) => {
      incoming.push({ step, resolve });
      write();
    });
  }

  function write(): Promise<void> {
    writing ??= (async () => {
      // Calls made at the same time share one transaction.
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
        // The user of an identify call counts as soon as consent is given.
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

  // ---- Sending

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

  /** Runs `work` in one tab at a time. Two tabs would do no harm, because both would send the same batch. */
  async function exclusively(work: () => Promise<void>): Promise<void> {
    if (!isWithoutLocks) {
      try {
        await navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock ? work() : undefined));
        return;
      } catch {
        // A sandboxed frame has the interface but may not use it.
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

  /** Sends the next request: consent decisions first, then batches. Resolves to whether there may be more to send. */
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
    // Other requests of the page may have used up the browser's keepalive budget, so every other try does without it.
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
          const sent = JSON.stringify(decision);
          state.decisions = state.decisions.filter((each) => JSON.stringify(each) !== sent);
          if (verdict === "done") adopt(tx, state, decision, content);
          return [];
        }
        if (verdict === "done") return settle(tx, state, batch!, content.events);
        return split(tx, state, batch!, { status: "rejected", reason: code, details: message });
      }),
    );
    if (verdict === "stopped") stopped = code;
    if (stopped || (decision && verdict === "refused"))
      console.error(
        `Muster ${stopped ? "stopped sending, events stay queued" : "refused a consent decision"}: ${code} ${message}`,
      );
    return verdict !== "failed";
  }

  function report(rejected: Rejected[]): void {
    if (rejected.length && onRejected) notify(onRejected, rejected);
  }

  /** Sends unsent events by beacon, because the page may end now. They stay queued until the server has answered. */
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
      // A beacon has no sequence number: only the store gives one, and there is no time to ask it. The events' later batch
      // finds duplicates.
      if (!seen.decision || seen.informed.includes(user ?? session))
        beacon(bodyOf({ session, user, context: context, events: group.map((event) => event.json) }, Date.now()));
    }
  }

  // ---- The public methods

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
    // The query of a URL can hold search terms and secrets.
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
