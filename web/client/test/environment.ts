/** A browser and a server as the client sees them. */
import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { vi } from "vitest";
import { type Client, createClient } from "../src/client";
import type { Options } from "../src/types";

export interface Body {
  sessionId: string;
  userId: string | null;
  sentAt: string;
  sequence: number | null;
  dropped: number | null;
  context: Record<string, unknown>;
  events: Record<string, unknown>[];
}

export interface SentRequest {
  method: string;
  path: string;
  body: Body & Record<string, unknown>;
  init: RequestInit;
}

export const KEY = "mw_test";
const OPTIONS: Options = { url: "https://api.example/", key: KEY, flushMs: 5, retryMs: 5, retryMaxMs: 20 };

const later = setTimeout;
let page = 0;

export class Environment extends EventTarget {
  requests: SentRequest[] = [];
  beacons: { url: string; body: Body }[] = [];
  stored = new Map<string, Record<string, unknown>>();
  documents = Object.assign(new EventTarget(), { visibilityState: "visible", title: "A page", referrer: "" });
  answer: (request: SentRequest) => Response | Promise<Response> = (request) => this.store(request);
  beaconFits = true;

  constructor(navigator: Record<string, unknown> = {}) {
    super();
    vi.stubGlobal("indexedDB", new IDBFactory());
    vi.stubGlobal("setTimeout", (work: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const mine = page;
      return later(() => mine === page && work(...args), ms);
    });
    page++;
    vi.stubGlobal("navigator", {
      language: "en",
      locks: new Locks(),
      sendBeacon: (url: string, body: string) => {
        if (this.beaconFits) this.beacons.push({ url, body: JSON.parse(body) });
        return this.beaconFits;
      },
      ...navigator,
    });
    vi.stubGlobal("document", this.documents);
    vi.stubGlobal("location", { pathname: "/shop" });
    vi.stubGlobal("screen", { width: 1280, height: 720 });
    vi.stubGlobal("addEventListener", (type: string, listener: EventListener) => {
      const mine = page;
      this.addEventListener(type, (event) => mine === page && listener(event));
    });
    vi.stubGlobal("localStorage", {
      setItem: () => this.dispatchEvent(Object.assign(new Event("storage"), { key: "muster" })),
    });
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      const mine = page;
      const body = JSON.parse(init.body as string);
      const request = { method: init.method!, path: new URL(url).pathname, body, init };
      this.requests.push(request);
      const answer = await this.answer(request);
      return mine === page ? answer : new Promise<Response>(() => {});
    });
  }

  /** Closes every tab at once: no timer, event or response reaches it any more. */
  crash(): void {
    page++;
    Object.assign(navigator, { locks: navigator.locks && new Locks() });
  }

  /** Opens a tab. All tabs of one environment share its database. */
  open(options: Partial<Options> = {}): Client {
    return createClient({ ...OPTIONS, ...options });
  }

  leave(): void {
    this.dispatchEvent(new Event("pagehide"));
  }

  /** The server's response, as the contract says. */
  store({ path, body }: SentRequest): Response {
    if (path === "/v1/consent")
      return json(200, { status: body.status, version: body.version, decidedAt: body.decidedAt, purge: [] });
    const events = body.events.map((event, index) => {
      const known = `${body.sessionId} ${event.id} ${event.timestamp}`;
      const status = this.stored.has(known) ? "duplicate" : "accepted";
      this.stored.set(known, { ...event, sessionId: body.sessionId, userId: body.userId });
      return { index, id: event.id, status };
    });
    return json(200, { events });
  }

  get batches(): Body[] {
    return this.requests.filter(({ path }) => path === "/v1/events").map(({ body }) => body);
  }

  /** The types of the stored events. */
  get types(): string[] {
    return [...this.stored.values()].map(({ eventType }) => String(eventType));
  }
}

export const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers });

export const refusal = (status: number, code: string, headers: Record<string, string> = {}): Response =>
  json(status, { error: { code, message: `The error is ${code}.` } }, headers);

class Locks {
  private taken = new Set<string>();

  async request<T>(name: string, _: unknown, work: (lock: unknown) => Promise<T>): Promise<T> {
    if (this.taken.has(name)) return work(null);
    this.taken.add(name);
    try {
      return await work({});
    } finally {
      this.taken.delete(name);
    }
  }
}

/** Waits until timers and promises have made the condition true. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => {
    if (!(await condition())) throw new Error("The condition is still false.");
  }, 5_000);
}
