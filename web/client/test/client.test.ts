import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Rejected } from "../src/types";
import { Environment, json, KEY, refusal, until } from "./environment";

interface NodeJS {
  once(event: string, listener: () => void): void;
}

let environment: Environment;

beforeEach(() => {
  environment = new Environment();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const QUIET = { flushMs: 100_000 };

describe("the queue", () => {
  test("track stores an event on the device, and flush sends it as the contract says", async () => {
    const client = environment.open({ ...QUIET, context: { appVersion: "1.2" } });
    const tracked = await client.track("signed_up", "onboarding", { plan: "pilot" });
    expect(tracked.state).toBe("stored");
    expect(environment.requests).toEqual([]);
    await client.flush();
    const [request] = environment.requests;
    expect(request!.init.headers).toEqual({ authorization: `Bearer ${KEY}`, "content-type": "application/json" });
    expect(request!.body).toMatchObject({
      userId: null,
      sequence: 1,
      dropped: 0,
      context: { appVersion: "1.2", locale: "en" },
    });
    expect(request!.body.events).toEqual([
      {
        id: tracked.id,
        eventType: "signed_up",
        area: "onboarding",
        timestamp: expect.any(String),
        data: { plan: "pilot" },
      },
    ]);
    expect(await client.status()).toMatchObject({ tracked: 1, queued: 0, sent: { accepted: 1 }, lastError: null });
  });

  test("the next page sends the events that a page left queued", async () => {
    environment.answer = () => Promise.reject(new TypeError("no network"));
    await environment.open(QUIET).track("before");
    environment.crash();
    environment.answer = (request) => environment.store(request);
    environment.open();
    await until(() => environment.types.includes("before"));
  });

  test("batches of one session are numbered across pages", async () => {
    const first = environment.open(QUIET);
    await first.track("one");
    await first.flush();
    environment.crash();
    const second = environment.open(QUIET);
    await second.track("two");
    await second.flush();
    expect(environment.batches.map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(new Set(environment.batches.map(({ sessionId }) => sessionId)).size).toBe(1);
  });

  test("a try after a crash sends the identical batch, even after more events", async () => {
    environment.answer = () => new Promise(() => {}); // the page dies while the server commits
    const first = environment.open(QUIET);
    await first.track("one");
    void first.flush();
    await until(() => environment.batches.length === 1);
    environment.crash();
    environment.store(environment.requests[0]!);
    environment.answer = (request) => environment.store(request);
    const second = environment.open(QUIET);
    await second.track("two");
    await second.flush();
    const [crashed, again, next] = environment.batches;
    expect({ ...again, sentAt: null }).toEqual({ ...crashed, sentAt: null });
    expect(next).toMatchObject({ sequence: 2, events: [{ eventType: "two" }] });
    expect(await second.status()).toMatchObject({ sent: { duplicate: 1, accepted: 1 }, queued: 0 });
    expect(environment.types).toEqual(["one", "two"]);
  });

  test("two tabs never give two batches the same number", async () => {
    const tabs = [environment.open({ flushMs: 1 }), environment.open({ flushMs: 1 })];
    await Promise.all(Array.from({ length: 100 }, (_, n) => tabs[n % 2]!.track(`event-${n}`)));
    await until(() => environment.types.length === 100);
    const numbers = environment.batches.map(({ sequence }) => sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(new Set(environment.types).size).toBe(100);
  });

  test("two tabs without Web Locks send one at a time by a lease", async () => {
    environment = new Environment({ locks: undefined });
    let most = 0;
    let now = 0;
    environment.answer = async (request) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now--;
      return environment.store(request);
    };
    const tabs = [environment.open({ flushMs: 1 }), environment.open({ flushMs: 1 })];
    await Promise.all(Array.from({ length: 50 }, (_, n) => tabs[n % 2]!.track(`event-${n}`)));
    await until(() => environment.types.length === 50);
    expect(most).toBe(1);
    expect(environment.batches.map(({ sequence }) => sequence)).toEqual(
      environment.batches.map((_, index) => index + 1),
    );
  });

  test("a batch has at most 200 events and 50 KB, so it can be sent on leaving", async () => {
    const client = environment.open(QUIET);
    await Promise.all(Array.from({ length: 201 }, () => client.track("small")));
    await Promise.all(Array.from({ length: 3 }, () => client.track("large", "a", { text: "x".repeat(24_000) })));
    await client.flush();
    expect(environment.batches.map(({ events }) => events.length)).toEqual([200, 3, 1]);
    for (const { init } of environment.requests) expect((init.body as string).length).toBeLessThan(60_000);
  });

  test("a full queue drops the oldest events and reports their number", async () => {
    const client = environment.open({ ...QUIET, maxEvents: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) await client.track(name);
    expect(await client.status()).toMatchObject({ tracked: 5, queued: 3, dropped: 2 });
    await client.flush();
    expect(environment.batches).toMatchObject([
      { dropped: 2, events: [{ eventType: "c" }, { eventType: "d" }, { eventType: "e" }] },
    ]);
    await client.track("f");
    await client.flush();
    expect(environment.batches[1]).toMatchObject({ dropped: 2 });
  });

  test("the queue is limited by bytes, too", async () => {
    const client = environment.open({ ...QUIET, maxBytes: 50_000 });
    for (let n = 0; n < 4; n++) await client.track("large", "a", { text: "x".repeat(20_000) });
    expect(await client.status()).toMatchObject({ queued: 2, dropped: 2 });
  });

  test("a full disk loses the older half and not the newest event", async () => {
    const client = environment.open(QUIET);
    for (let n = 0; n < 4; n++) await client.track(`event-${n}`);
    const add = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementationOnce(() => {
      throw Object.assign(new Error("full"), { name: "QuotaExceededError" });
    });
    expect((await client.track("newest")).state).toBe("stored");
    add.mockRestore();
    expect(await client.status()).toMatchObject({ queued: 3, dropped: 2, storage: "indexeddb" });
    await client.flush();
    expect(environment.types).toEqual(["event-2", "event-3", "newest"]);
  });
});

describe("invalid events", () => {
  test.each([
    ["a function", { f: () => 1 }, "invalid_event"],
    ["NaN, which JSON would write as null", { n: Number.NaN }, "invalid_event"],
    [
      "a cycle",
      Object.assign(
        {},
        {
          get self() {
            return this;
          },
        },
      ),
      "invalid_event",
    ],
    ["a BigInt", { n: 1n }, "invalid_event"],
    ["over 32 KB", { text: "é".repeat(17_000) }, "event_too_large"],
  ])("%s is refused with a reason and counted", async (_, data, reason) => {
    const rejected: Rejected[] = [];
    const client = environment.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    expect(await client.track("bad", "a", data)).toMatchObject({ state: "refused", reason });
    await until(() => rejected.length > 0);
    expect(rejected).toMatchObject([{ reason, event: { eventType: "bad" } }]);
    expect(await client.status()).toMatchObject({ tracked: 1, queued: 0, rejected: { [reason]: 1 } });
  });

  test("changing data after track does not change the event", async () => {
    const client = environment.open(QUIET);
    const data = { n: 1 };
    const done = client.track("counted", "a", data);
    data.n = 2;
    await done;
    await client.flush();
    expect(environment.batches[0]!.events[0]).toMatchObject({ data: { n: 1 } });
  });

  test("a context or user that would fail every batch is refused at once", async () => {
    expect(() => environment.open({ context: { text: "x".repeat(5_000) } })).toThrow("4 KB");
    expect(() => environment.open({ context: { text: "\0" } })).toThrow("NUL");
    for (const user of ["", "x".repeat(201), "a\0b", "\ud800"])
      await expect(environment.open(QUIET).identify(user)).rejects.toThrow("200");
  });
});

describe("the server's responses", () => {
  test("a rejected event is reported and deleted, an ignored one is counted", async () => {
    const rejected: Rejected[] = [];
    environment.answer = () =>
      json(200, {
        events: [
          { index: 0, status: "accepted" },
          { index: 1, status: "rejected", reason: "timestamp_out_of_range", details: [{ type: "late" }] },
          { index: 2, status: "ignored", reason: "bot" },
        ],
      });
    const client = environment.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    await Promise.all(["a", "b", "c"].map((name) => client.track(name)));
    await client.flush();
    await client.flush();
    expect(environment.requests).toHaveLength(1);
    await until(() => rejected.length > 0);
    expect(rejected).toMatchObject([
      { event: { eventType: "b" }, reason: "timestamp_out_of_range", details: [{ type: "late" }] },
    ]);
    expect(await client.status()).toMatchObject({
      tracked: 3,
      queued: 0,
      sent: { accepted: 1 },
      rejected: { timestamp_out_of_range: 1 },
      ignored: { bot: 1 },
    });
  });

  test("an event that makes its batch fail does not lose its neighbours", async () => {
    const rejected: Rejected[] = [];
    environment.answer = (request) =>
      request.body.events.some(({ eventType }) => eventType === "e5")
        ? refusal(400, "invalid_batch")
        : environment.store(request);
    const client = environment.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    await Promise.all(Array.from({ length: 10 }, (_, n) => client.track(`e${n}`)));
    await client.flush();
    expect(environment.types.sort()).toEqual(["e0", "e1", "e2", "e3", "e4", "e6", "e7", "e8", "e9"]);
    await until(() => rejected.length > 0);
    expect(rejected).toMatchObject([{ event: { eventType: "e5" }, reason: "invalid_batch" }]);
    const answered = environment.batches.filter(({ events }) => !events.some(({ eventType }) => eventType === "e5"));
    expect(new Set(answered.map(({ sequence }) => sequence)).size).toBe(answered.length);
    await client.track("later");
    await client.flush();
    expect(environment.batches.at(-1)).toMatchObject({ dropped: 1 });
    expect(await client.status()).toMatchObject({
      tracked: 11,
      queued: 0,
      sent: { accepted: 10 },
      rejected: { invalid_batch: 1 },
    });
  });

  test("a batch that a proxy finds too large is halved until it fits", async () => {
    environment.answer = (request) =>
      request.body.events.length > 3 ? new Response("<html>", { status: 413 }) : environment.store(request);
    const client = environment.open(QUIET);
    await Promise.all(Array.from({ length: 10 }, (_, n) => client.track(`e${n}`)));
    await client.flush();
    expect(environment.types).toEqual(Array.from({ length: 10 }, (_, n) => `e${n}`));
    expect(await client.status()).toMatchObject({ queued: 0, sent: { accepted: 10 }, rejected: {} });
  });

  test.each([400, 405, 451])("a %i from a proxy loses no event", async (status) => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    environment.answer = () => new Response("<html>", { status });
    const client = environment.open(QUIET);
    await client.track("queued");
    await client.flush();
    expect(await client.status()).toMatchObject({ reason: `http_${status}`, queued: 1, rejected: {} });
    environment.answer = (request) => environment.store(request);
    await client.flush();
    expect(environment.types).toEqual(["queued"]);
  });

  test.each([401, 403, 404])("%i stops sending, logs it once and keeps the queue", async (status) => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    environment.answer = () => refusal(status, "invalid_key");
    const client = environment.open();
    await client.track("queued");
    await until(async () => !(await client.status()).enabled);
    await client.track("also queued");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(environment.requests).toHaveLength(1);
    expect(said).toHaveBeenCalledTimes(1);
    expect(await client.status()).toMatchObject({
      enabled: false,
      reason: "invalid_key",
      queued: 2,
      lastError: { code: "invalid_key", message: "The error is invalid_key." },
    });
    environment.answer = (request) => environment.store(request);
    await client.flush();
    expect(environment.types).toEqual(["queued", "also queued"]);
  });

  test.each([
    ["no network", () => Promise.reject(new TypeError("Failed to fetch")), "network_error"],
    ["503", () => refusal(503, "database_unavailable"), "database_unavailable"],
    ["429 from the gateway", () => json(429, { message: "Too Many Requests" }), "http_429"],
    ["a login page that answers 200", () => new Response("<html>", { status: 200 }), "not_muster"],
  ])("after %s the same batch is sent again until it is stored", async (_, answer, code) => {
    environment.answer = answer;
    const client = environment.open();
    await client.track("patient");
    await until(() => environment.batches.length > 2);
    expect((await client.status()).lastError).toMatchObject({ code });
    environment.answer = (request) => environment.store(request);
    await until(() => environment.types.length === 1);
    expect(new Set(environment.batches.map((batch) => JSON.stringify({ ...batch, sentAt: 0 }))).size).toBe(1);
    await until(async () => (await client.status()).lastError === null);
  });

  test("every tab honours retry-after", async () => {
    environment.answer = () => refusal(503, "database_unavailable", { "retry-after": "30" });
    const before = Date.now();
    const client = environment.open();
    await client.track("patient");
    await until(async () => (await client.status()).retryAt !== null);
    expect(Date.parse((await client.status()).retryAt!)).toBeGreaterThanOrEqual(before + 30_000);
    await environment.open().flush();
    expect(environment.requests).toHaveLength(1);
    environment.answer = (request) => environment.store(request);
    environment.dispatchEvent(new Event("online"));
    await until(() => environment.types.length === 1);
  });

  test("a pause from before the clock was set back is not waited for", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 86_400_000 });
    environment.answer = () => refusal(503, "database_unavailable", { "retry-after": "30" });
    const client = environment.open(QUIET);
    await client.track("patient");
    await client.flush();
    vi.useRealTimers();
    environment.answer = (request) => environment.store(request);
    await client.flush();
    expect(environment.types).toEqual(["patient"]);
  });
});

describe("sessions and users", () => {
  test("a session ends 30 minutes after its last event", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-05-17T10:00:00Z") });
    const client = environment.open(QUIET);
    await client.track("a");
    vi.setSystemTime(Date.parse("2026-05-17T10:30:00Z"));
    await environment.open(QUIET).track("b");
    vi.setSystemTime(Date.parse("2026-05-17T11:00:01Z"));
    await client.track("c");
    await client.flush();
    expect(environment.batches.map(({ sequence, events }) => [sequence, events.length])).toEqual([
      [1, 2],
      [1, 1],
    ]);
    expect(environment.batches[0]!.sessionId).not.toBe(environment.batches[1]!.sessionId);
  });

  test("a session continues after the clock is set back", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-05-17T10:00:00Z") });
    const client = environment.open(QUIET);
    await client.track("a");
    vi.setSystemTime(Date.parse("2026-05-16T10:00:00Z"));
    await client.track("b");
    vi.setSystemTime(Date.parse("2026-05-16T10:31:00Z"));
    await client.track("c");
    await client.flush();
    expect(environment.batches.map(({ events }) => events.length)).toEqual([2, 1]);
  });

  test("identify affects later events only, also those of the next page", async () => {
    const client = environment.open(QUIET);
    void client.track("anonymous");
    void client.identify("ada");
    await client.track("known");
    await client.flush();
    await environment.open(QUIET).track("still known");
    await client.flush();
    expect(environment.batches.map(({ userId, sequence }) => [userId, sequence])).toEqual([
      [null, 1],
      ["ada", 2],
      ["ada", 3],
    ]);
    expect(new Set(environment.batches.map(({ sessionId }) => sessionId)).size).toBe(1);
  });

  test("reset, or another user, starts a new session", async () => {
    const client = environment.open(QUIET);
    await client.identify("ada");
    await client.track("a");
    await client.identify("bob");
    await client.track("b");
    await client.reset();
    await client.track("c");
    await client.flush();
    expect(environment.batches.map(({ userId, sequence }) => [userId, sequence])).toEqual([
      ["ada", 1],
      ["bob", 1],
      [null, 1],
    ]);
    expect(new Set(environment.batches.map(({ sessionId }) => sessionId)).size).toBe(3);
  });
});

describe("consent", () => {
  const REQUIRED = { consent: "required", flushMs: 1 } as const;

  test("required consent: nothing is written or sent before it is given", async () => {
    const client = environment.open(REQUIRED);
    await client.identify("ada");
    expect(await client.track("held")).toMatchObject({ state: "held" });
    await client.flush();
    environment.leave();
    expect([environment.requests, environment.beacons]).toEqual([[], []]);
    expect(await records()).toEqual([]);
    expect(await client.status()).toMatchObject({ enabled: false, reason: "consent_required", held: 1, tracked: 0 });
    await client.setConsent("granted", "v2");
    await until(() => environment.types.includes("held"));
    expect(environment.requests.map(({ path }) => path)).toEqual(["/v1/consent", "/v1/consent", "/v1/events"]);
    expect(environment.requests.map(({ body }) => body.userId)).toEqual([undefined, "ada", "ada"]);
    expect(environment.requests[1]).toMatchObject({
      method: "PUT",
      body: { userId: "ada", status: "granted", version: "v2", dataUsageAccepted: true },
    });
  });

  test("a decision is sent once per session and user, before their batch", async () => {
    const client = environment.open(QUIET);
    await client.setConsent("granted", "v1");
    await client.setConsent("granted", "v1");
    await client.track("a");
    await client.flush();
    await client.identify("ada");
    await client.track("b");
    await client.flush();
    await client.reset();
    await client.track("c");
    await client.flush();
    expect(environment.requests.map(({ path, body }) => [path.slice(4), body.userId])).toEqual([
      ["consent", undefined],
      ["events", null],
      ["consent", "ada"],
      ["events", "ada"],
      ["consent", undefined],
      ["events", null],
    ]);
    expect(environment.requests[4]!.body.sessionId).toBe(environment.requests[5]!.body.sessionId);
  });

  test.each(["denied", "withdrawn"] as const)(
    "%s empties the queue of every tab and is sent to the server",
    async (status) => {
      environment.answer = (request) =>
        request.path === "/v1/events" ? refusal(503, "database_unavailable") : environment.store(request);
      const other = environment.open(QUIET);
      await other.track("queued elsewhere");
      const client = environment.open(QUIET);
      await client.track("queued");
      await client.flush();
      environment.dispatchEvent(new Event("online"));
      await client.setConsent(status, "v1");
      await until(() =>
        environment.requests.some(({ path, body }) => path === "/v1/consent" && body.status === status),
      );
      expect(await client.track("later")).toMatchObject({ state: "refused", reason: "consent_denied" });
      environment.requests = [];
      await client.flush();
      await other.flush();
      environment.leave();
      expect([environment.requests, environment.beacons]).toEqual([[], []]);
      expect(await client.status()).toMatchObject({
        enabled: false,
        reason: "consent_denied",
        consent: status,
        tracked: 2,
        queued: 0,
        purged: 2,
      });
    },
  );

  test("a refusal forgets the user, also in open pages", async () => {
    const client = environment.open(QUIET);
    await client.identify("ada");
    await client.setConsent("withdrawn", "v2");
    await client.flush();
    await until(() => environment.requests.length === 1);
    expect(environment.requests[0]!.body).toMatchObject({ userId: "ada", status: "withdrawn" });
    await until(async () => JSON.stringify(await records()).includes('"decisions":[]'));
    expect(await client.status()).toMatchObject({ userId: null, sessionId: null });
    await client.setConsent("granted", "v2");
    await client.track("anonymous");
    await client.flush();
    expect(environment.batches).toMatchObject([{ userId: null }]);
  });

  test("a user identified before a denial is not restored by a later grant", async () => {
    const client = environment.open(REQUIRED);
    await client.identify("ada");
    await client.setConsent("denied");
    await client.setConsent("granted");
    await client.track("anonymous");
    await until(() => environment.batches.length === 1);
    expect(environment.batches).toMatchObject([{ userId: null }]);
  });

  test("a later withdrawal on another device empties the queue here", async () => {
    const elsewhere = { status: "withdrawn", version: "v3", decidedAt: "2099-01-01T00:00:00+00:00" };
    const client = environment.open(QUIET);
    await client.setConsent("granted", "v1");
    await client.flush();
    await client.identify("ada");
    await client.track("queued");
    environment.answer = (request) =>
      request.path === "/v1/consent"
        ? json(200, { ...elsewhere, purge: ["queuedEvents", "userId"] })
        : refusal(503, "database_unavailable");
    await client.flush();
    expect(environment.batches).toEqual([]);
    expect(await client.status()).toMatchObject({
      enabled: false,
      reason: "consent_denied",
      consent: "withdrawn",
      userId: null,
      tracked: 1,
      queued: 0,
      purged: 1,
    });
  });

  test("a response about an earlier user does not affect the current one", async () => {
    let answer = (_: Response): void => {};
    environment.answer = (request) =>
      request.path === "/v1/consent" ? new Promise((resolve) => (answer = resolve)) : environment.store(request);
    const client = environment.open(QUIET);
    await client.identify("ada");
    await client.setConsent("granted", "v1");
    await until(() => environment.requests.length === 1);
    await client.identify("bob");
    await client.track("of bob");
    environment.answer = (request) => environment.store(request);
    answer(
      json(200, { status: "withdrawn", version: "v3", decidedAt: "2099-01-01T00:00:00Z", purge: ["queuedEvents"] }),
    );
    await client.flush();
    expect(environment.types).toEqual(["of bob"]);
    expect(await client.status()).toMatchObject({ consent: "granted", userId: "bob", purged: 0 });
  });

  test("a version that the server would refuse is refused at once", async () => {
    for (const version of ["", "x".repeat(101)])
      await expect(environment.open(QUIET).setConsent("granted", version)).rejects.toThrow("100");
  });

  test("the next page sends a denial that did not reach the server", async () => {
    environment.answer = () => Promise.reject(new TypeError("no network"));
    const client = environment.open();
    await client.setConsent("denied", "v1");
    await until(() => environment.requests.length > 0);
    environment.answer = (request) => environment.store(request);
    environment.crash();
    const next = environment.open();
    await until(async () => environment.requests.length > 1 && (await next.status()).lastError === null);
    expect(environment.requests.at(-1)).toMatchObject({
      path: "/v1/consent",
      body: { status: "denied", dataUsageAccepted: false },
    });
  });

  test.each([{ doNotTrack: "1" }, { globalPrivacyControl: true }])(
    "%o is respected if the app asks for it",
    async (signal) => {
      environment = new Environment(signal);
      const client = environment.open({ ...QUIET, respectDoNotTrack: true });
      expect(await client.track("a")).toMatchObject({ state: "off", reason: "do_not_track" });
      await client.setConsent("granted");
      await client.flush();
      environment.leave();
      expect([environment.requests, environment.beacons]).toEqual([[], []]);
      expect(await client.status()).toMatchObject({ enabled: false, reason: "do_not_track" });
      expect(await environment.open(QUIET).track("b")).toMatchObject({ state: "stored" });
    },
  );
});

describe("leaving the page", () => {
  test("a beacon sends queued events, and sending them again is a duplicate", async () => {
    const client = environment.open(QUIET);
    const { id } = await client.track("last words");
    environment.leave();
    expect(environment.beacons).toMatchObject([
      {
        url: `https://api.example/v1/events?key=${KEY}`,
        body: { sequence: null, events: [{ id, eventType: "last words" }] },
      },
    ]);
    environment.store({ path: "/v1/events", method: "POST", init: {}, body: environment.beacons[0]!.body as never });
    environment.crash();
    const next = environment.open(QUIET);
    await next.flush();
    expect(environment.types).toEqual(["last words"]);
    expect(await next.status()).toMatchObject({ queued: 0, sent: { duplicate: 1 } });
  });

  test("a beacon does not send events again", async () => {
    const client = environment.open(QUIET);
    await client.track("sent");
    await client.flush();
    environment.leave();
    expect(environment.beacons).toEqual([]);
  });

  test("events that do not fit into a beacon stay queued", async () => {
    environment.beaconFits = false;
    const client = environment.open(QUIET);
    await client.track("large", "a", { text: "x".repeat(30_000) });
    environment.leave();
    expect(await client.status()).toMatchObject({ queued: 1 });
  });

  test("a hidden page sends its events in requests that outlive it", async () => {
    const client = environment.open(QUIET);
    await client.track("hidden");
    environment.documents.visibilityState = "hidden";
    environment.documents.dispatchEvent(new Event("visibilitychange"));
    await until(() => environment.types.length === 1);
    expect(environment.requests[0]!.init.keepalive).toBe(true);
  });
});

describe("listeners", () => {
  test("a listener is called on every change", async () => {
    const heard: number[] = [];
    const client = environment.open(QUIET);
    const stop = client.subscribe(({ queued }) => heard.push(queued));
    await client.track("a");
    await until(() => heard.at(-1) === 1);
    await client.flush();
    await until(() => heard.at(-1) === 0);
    stop();
    await client.track("b");
    await client.status();
    expect(heard.at(-1)).toBe(0);
  });

  test("an error in a listener does not stop the queue", async () => {
    const thrown = vi.fn();
    (globalThis as unknown as { process: NodeJS }).process.once("uncaughtException", thrown);
    environment.answer = () => json(200, { events: [{ index: 0, status: "rejected", reason: "invalid_event" }] });
    const client = environment.open({
      onRejected: () => {
        throw new Error("an error of the app");
      },
    });
    await client.track("a");
    await until(() => thrown.mock.calls.length === 1);
    environment.answer = (request) => environment.store(request);
    await client.track("b");
    await until(() => environment.types.includes("b"));
  });
});

describe("storage that fails", () => {
  test("without IndexedDB events are stored in memory and sent", async () => {
    vi.stubGlobal("indexedDB", {
      open: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
    const client = environment.open();
    expect((await client.track("in memory")).state).toBe("memory");
    await until(() => environment.types.length === 1);
    expect(await client.status()).toMatchObject({ storage: "memory", queued: 0, lastError: null });
  });

  test("a database that never opens delays an event by three seconds", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    vi.stubGlobal("indexedDB", { open: () => ({}) });
    const tracked = environment.open(QUIET).track("in memory");
    await vi.advanceTimersByTimeAsync(3_000);
    expect((await tracked).state).toBe("memory");
  });

  test("a database connection that the browser closed is opened again", async () => {
    const client = environment.open(QUIET);
    await client.track("a");
    vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementationOnce(() => {
      throw new DOMException("The database connection is closing.", "InvalidStateError");
    });
    expect((await client.track("b")).state).toBe("stored");
    expect(await client.status()).toMatchObject({ queued: 2, storage: "indexeddb" });
  });
});

async function records(): Promise<unknown[]> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open("muster");
    request.onsuccess = () => resolve(request.result);
  });
  const found = await Promise.all(
    [...database.objectStoreNames].map(
      (name) =>
        new Promise<unknown[]>((resolve) => {
          const request = database.transaction(name).objectStore(name).getAll();
          request.onsuccess = () => resolve(request.result);
        }),
    ),
  );
  return found.flat();
}
