import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Rejected } from "../src/types";
import { json, KEY, refusal, until, World } from "./world";

interface NodeJS {
  once(event: string, listener: () => void): void;
}

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const QUIET = { flushMs: 100_000 };

describe("the queue", () => {
  test("an event is stored on the device when track resolves, and leaves as the contract says", async () => {
    const client = world.open({ ...QUIET, context: { appVersion: "1.2" } });
    const tracked = await client.track("signed_up", "onboarding", { plan: "pilot" });
    expect(tracked.state).toBe("stored");
    expect(world.asks).toEqual([]);
    await client.flush();
    const [ask] = world.asks;
    expect(ask!.init.headers).toEqual({ authorization: `Bearer ${KEY}`, "content-type": "application/json" });
    expect(ask!.body).toMatchObject({
      userId: null,
      sequence: 1,
      dropped: 0,
      context: { appVersion: "1.2", locale: "en" },
    });
    expect(ask!.body.events).toEqual([
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

  test("what one page queued the next one sends", async () => {
    world.answer = () => Promise.reject(new TypeError("no network"));
    await world.open(QUIET).track("before");
    world.crash();
    world.answer = (ask) => world.store(ask);
    world.open();
    await until(() => world.types.includes("before"));
  });

  test("batches of one session are numbered across pages", async () => {
    const first = world.open(QUIET);
    await first.track("one");
    await first.flush();
    world.crash();
    const second = world.open(QUIET);
    await second.track("two");
    await second.flush();
    expect(world.batches.map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(new Set(world.batches.map(({ sessionId }) => sessionId)).size).toBe(1);
  });

  test("a try after a crash sends the identical batch, whatever was tracked since", async () => {
    world.answer = () => new Promise(() => {}); // the page dies while the server commits
    const first = world.open(QUIET);
    await first.track("one");
    void first.flush();
    await until(() => world.batches.length === 1);
    world.crash();
    world.store(world.asks[0]!);
    world.answer = (ask) => world.store(ask);
    const second = world.open(QUIET);
    await second.track("two");
    await second.flush();
    const [crashed, again, next] = world.batches;
    expect({ ...again, sentAt: null }).toEqual({ ...crashed, sentAt: null });
    expect(next).toMatchObject({ sequence: 2, events: [{ eventType: "two" }] });
    expect(await second.status()).toMatchObject({ sent: { duplicate: 1, accepted: 1 }, queued: 0 });
    expect(world.types).toEqual(["one", "two"]);
  });

  test("two tabs never give one number to two batches", async () => {
    const tabs = [world.open({ flushMs: 1 }), world.open({ flushMs: 1 })];
    await Promise.all(Array.from({ length: 100 }, (_, n) => tabs[n % 2]!.track(`event-${n}`)));
    await until(() => world.types.length === 100);
    const numbers = world.batches.map(({ sequence }) => sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(new Set(world.types).size).toBe(100);
  });

  test("two tabs without Web Locks take turns by a lease", async () => {
    world = new World({ locks: undefined });
    let most = 0;
    let now = 0;
    world.answer = async (ask) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now--;
      return world.store(ask);
    };
    const tabs = [world.open({ flushMs: 1 }), world.open({ flushMs: 1 })];
    await Promise.all(Array.from({ length: 50 }, (_, n) => tabs[n % 2]!.track(`event-${n}`)));
    await until(() => world.types.length === 50);
    expect(most).toBe(1);
    expect(world.batches.map(({ sequence }) => sequence)).toEqual(world.batches.map((_, index) => index + 1));
  });

  test("a batch has at most 200 events and 50 KB, so that a page that is left can still send it", async () => {
    const client = world.open(QUIET);
    await Promise.all(Array.from({ length: 201 }, () => client.track("small")));
    await Promise.all(Array.from({ length: 3 }, () => client.track("large", "a", { text: "x".repeat(24_000) })));
    await client.flush();
    expect(world.batches.map(({ events }) => events.length)).toEqual([200, 3, 1]);
    for (const { init } of world.asks) expect((init.body as string).length).toBeLessThan(60_000);
  });

  test("a full queue drops the oldest, and the server hears how many", async () => {
    const client = world.open({ ...QUIET, maxEvents: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) await client.track(name);
    expect(await client.status()).toMatchObject({ tracked: 5, queued: 3, dropped: 2 });
    await client.flush();
    expect(world.batches).toMatchObject([
      { dropped: 2, events: [{ eventType: "c" }, { eventType: "d" }, { eventType: "e" }] },
    ]);
    await client.track("f");
    await client.flush();
    expect(world.batches[1]).toMatchObject({ dropped: 2 });
  });

  test("the bytes of a queue are bounded too", async () => {
    const client = world.open({ ...QUIET, maxBytes: 50_000 });
    for (let n = 0; n < 4; n++) await client.track("large", "a", { text: "x".repeat(20_000) });
    expect(await client.status()).toMatchObject({ queued: 2, dropped: 2 });
  });

  test("a full disk costs the older half and not the newest event", async () => {
    const client = world.open(QUIET);
    for (let n = 0; n < 4; n++) await client.track(`event-${n}`);
    const add = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementationOnce(() => {
      throw Object.assign(new Error("full"), { name: "QuotaExceededError" });
    });
    expect((await client.track("newest")).state).toBe("stored");
    add.mockRestore();
    expect(await client.status()).toMatchObject({ queued: 3, dropped: 2, storage: "indexeddb" });
    await client.flush();
    expect(world.types).toEqual(["event-2", "event-3", "newest"]);
  });
});

describe("what cannot be sent", () => {
  test.each([
    ["a function", { f: () => 1 }, "invalid_event"],
    ["NaN, which JSON would call null", { n: Number.NaN }, "invalid_event"],
    [
      "a circle",
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
  ])("%s is refused by name and counted", async (_, data, reason) => {
    const rejected: Rejected[] = [];
    const client = world.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    expect(await client.track("bad", "a", data)).toMatchObject({ state: "refused", reason });
    await until(() => rejected.length > 0);
    expect(rejected).toMatchObject([{ reason, event: { eventType: "bad" } }]);
    expect(await client.status()).toMatchObject({ tracked: 1, queued: 0, rejected: { [reason]: 1 } });
  });

  test("data that changes after track is sent as it was", async () => {
    const client = world.open(QUIET);
    const data = { n: 1 };
    const done = client.track("counted", "a", data);
    data.n = 2;
    await done;
    await client.flush();
    expect(world.batches[0]!.events[0]).toMatchObject({ data: { n: 1 } });
  });

  test("a context or a user that would have every batch refused is refused at once", async () => {
    expect(() => world.open({ context: { text: "x".repeat(5_000) } })).toThrow("4 KB");
    expect(() => world.open({ context: { text: "\0" } })).toThrow("NUL");
    for (const user of ["", "x".repeat(201), "a\0b", "\ud800"])
      await expect(world.open(QUIET).identify(user)).rejects.toThrow("200");
  });
});

describe("the server's answers", () => {
  test("a rejected event is reported and forgotten, an ignored one is counted", async () => {
    const rejected: Rejected[] = [];
    world.answer = () =>
      json(200, {
        events: [
          { index: 0, status: "accepted" },
          { index: 1, status: "rejected", reason: "timestamp_out_of_range", details: [{ type: "late" }] },
          { index: 2, status: "ignored", reason: "bot" },
        ],
      });
    const client = world.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    await Promise.all(["a", "b", "c"].map((name) => client.track(name)));
    await client.flush();
    await client.flush();
    expect(world.asks).toHaveLength(1);
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

  test("an event that has the server refuse its batch is found, and its neighbours are stored", async () => {
    const rejected: Rejected[] = [];
    world.answer = (ask) =>
      ask.body.events.some(({ eventType }) => eventType === "e5") ? refusal(400, "invalid_batch") : world.store(ask);
    const client = world.open({ ...QUIET, onRejected: (events) => rejected.push(...events) });
    await Promise.all(Array.from({ length: 10 }, (_, n) => client.track(`e${n}`)));
    await client.flush();
    expect(world.types.sort()).toEqual(["e0", "e1", "e2", "e3", "e4", "e6", "e7", "e8", "e9"]);
    await until(() => rejected.length > 0);
    expect(rejected).toMatchObject([{ event: { eventType: "e5" }, reason: "invalid_batch" }]);
    const answered = world.batches.filter(({ events }) => !events.some(({ eventType }) => eventType === "e5"));
    expect(new Set(answered.map(({ sequence }) => sequence)).size).toBe(answered.length);
    await client.track("later");
    await client.flush();
    expect(world.batches.at(-1)).toMatchObject({ dropped: 1 });
    expect(await client.status()).toMatchObject({
      tracked: 11,
      queued: 0,
      sent: { accepted: 10 },
      rejected: { invalid_batch: 1 },
    });
  });

  test("a size that is refused on the way is halved until it fits", async () => {
    world.answer = (ask) => (ask.body.events.length > 3 ? new Response("<html>", { status: 413 }) : world.store(ask));
    const client = world.open(QUIET);
    await Promise.all(Array.from({ length: 10 }, (_, n) => client.track(`e${n}`)));
    await client.flush();
    expect(world.types).toEqual(Array.from({ length: 10 }, (_, n) => `e${n}`));
    expect(await client.status()).toMatchObject({ queued: 0, sent: { accepted: 10 }, rejected: {} });
  });

  test.each([400, 405, 451])("a %i that is not the server's own costs no event", async (status) => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    world.answer = () => new Response("<html>", { status });
    const client = world.open(QUIET);
    await client.track("kept");
    await client.flush();
    expect(await client.status()).toMatchObject({ reason: `http_${status}`, queued: 1, rejected: {} });
    world.answer = (ask) => world.store(ask);
    await client.flush();
    expect(world.types).toEqual(["kept"]);
  });

  test.each([401, 403, 404])("%i stops, says so once and keeps the queue", async (status) => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    world.answer = () => refusal(status, "invalid_key");
    const client = world.open();
    await client.track("kept");
    await until(async () => !(await client.status()).enabled);
    await client.track("kept too");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(world.asks).toHaveLength(1);
    expect(said).toHaveBeenCalledTimes(1);
    expect(await client.status()).toMatchObject({
      enabled: false,
      reason: "invalid_key",
      queued: 2,
      lastError: { code: "invalid_key", message: "It is invalid_key." },
    });
    world.answer = (ask) => world.store(ask);
    await client.flush();
    expect(world.types).toEqual(["kept", "kept too"]);
  });

  test.each([
    ["no network", () => Promise.reject(new TypeError("Failed to fetch")), "network_error"],
    ["503", () => refusal(503, "database_unavailable"), "database_unavailable"],
    ["429 of the gateway", () => json(429, { message: "Too Many Requests" }), "http_429"],
    ["a login page that answers 200", () => new Response("<html>", { status: 200 }), "not_muster"],
  ])("after %s the same batch is sent again until it is taken", async (_, answer, code) => {
    world.answer = answer;
    const client = world.open();
    await client.track("patient");
    await until(() => world.batches.length > 2);
    expect((await client.status()).lastError).toMatchObject({ code });
    world.answer = (ask) => world.store(ask);
    await until(() => world.types.length === 1);
    expect(new Set(world.batches.map((batch) => JSON.stringify({ ...batch, sentAt: 0 }))).size).toBe(1);
    await until(async () => (await client.status()).lastError === null);
  });

  test("retry-after is honoured, in every tab", async () => {
    world.answer = () => refusal(503, "database_unavailable", { "retry-after": "30" });
    const before = Date.now();
    const client = world.open();
    await client.track("patient");
    await until(async () => (await client.status()).retryAt !== null);
    expect(Date.parse((await client.status()).retryAt!)).toBeGreaterThanOrEqual(before + 30_000);
    await world.open().flush();
    expect(world.asks).toHaveLength(1);
    world.answer = (ask) => world.store(ask);
    world.dispatchEvent(new Event("online"));
    await until(() => world.types.length === 1);
  });

  test("a pause written by a clock that has been put back since is not waited for", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 86_400_000 });
    world.answer = () => refusal(503, "database_unavailable", { "retry-after": "30" });
    const client = world.open(QUIET);
    await client.track("patient");
    await client.flush();
    vi.useRealTimers();
    world.answer = (ask) => world.store(ask);
    await client.flush();
    expect(world.types).toEqual(["patient"]);
  });
});

describe("sessions and users", () => {
  test("a session goes on for 30 minutes after its last event, and then another begins", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-05-17T10:00:00Z") });
    const client = world.open(QUIET);
    await client.track("a");
    vi.setSystemTime(Date.parse("2026-05-17T10:30:00Z"));
    await world.open(QUIET).track("b");
    vi.setSystemTime(Date.parse("2026-05-17T11:00:01Z"));
    await client.track("c");
    await client.flush();
    expect(world.batches.map(({ sequence, events }) => [sequence, events.length])).toEqual([
      [1, 2],
      [1, 1],
    ]);
    expect(world.batches[0]!.sessionId).not.toBe(world.batches[1]!.sessionId);
  });

  test("a clock that is put back goes on with its session", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-05-17T10:00:00Z") });
    const client = world.open(QUIET);
    await client.track("a");
    vi.setSystemTime(Date.parse("2026-05-16T10:00:00Z"));
    await client.track("b");
    vi.setSystemTime(Date.parse("2026-05-16T10:31:00Z"));
    await client.track("c");
    await client.flush();
    expect(world.batches.map(({ events }) => events.length)).toEqual([2, 1]);
  });

  test("events before identify stay nobody's, later ones have the user, also in the next page", async () => {
    const client = world.open(QUIET);
    void client.track("anonymous");
    void client.identify("ada");
    await client.track("known");
    await client.flush();
    await world.open(QUIET).track("still known");
    await client.flush();
    expect(world.batches.map(({ userId, sequence }) => [userId, sequence])).toEqual([
      [null, 1],
      ["ada", 2],
      ["ada", 3],
    ]);
    expect(new Set(world.batches.map(({ sessionId }) => sessionId)).size).toBe(1);
  });

  test("reset, or another user, is another session", async () => {
    const client = world.open(QUIET);
    await client.identify("ada");
    await client.track("a");
    await client.identify("bob");
    await client.track("b");
    await client.reset();
    await client.track("c");
    await client.flush();
    expect(world.batches.map(({ userId, sequence }) => [userId, sequence])).toEqual([
      ["ada", 1],
      ["bob", 1],
      [null, 1],
    ]);
    expect(new Set(world.batches.map(({ sessionId }) => sessionId)).size).toBe(3);
  });
});

describe("consent", () => {
  const REQUIRED = { consent: "required", flushMs: 1 } as const;

  test("where it is required nothing is written and nothing leaves before it is given; then all does", async () => {
    const client = world.open(REQUIRED);
    await client.identify("ada");
    expect(await client.track("held")).toMatchObject({ state: "held" });
    await client.flush();
    world.leave();
    expect([world.asks, world.beacons]).toEqual([[], []]);
    expect(await records()).toEqual([]);
    expect(await client.status()).toMatchObject({ enabled: false, reason: "consent_required", held: 1, tracked: 0 });
    await client.setConsent("granted", "v2");
    await until(() => world.types.includes("held"));
    expect(world.asks.map(({ path }) => path)).toEqual(["/v1/consent", "/v1/consent", "/v1/events"]);
    expect(world.asks.map(({ body }) => body.userId)).toEqual([undefined, "ada", "ada"]);
    expect(world.asks[1]).toMatchObject({
      method: "PUT",
      body: { userId: "ada", status: "granted", version: "v2", dataUsageAccepted: true },
    });
  });

  test("a decision is told once, and again for each new session and user, before their batch", async () => {
    const client = world.open(QUIET);
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
    expect(world.asks.map(({ path, body }) => [path.slice(4), body.userId])).toEqual([
      ["consent", undefined],
      ["events", null],
      ["consent", "ada"],
      ["events", "ada"],
      ["consent", undefined],
      ["events", null],
    ]);
    expect(world.asks[4]!.body.sessionId).toBe(world.asks[5]!.body.sessionId);
  });

  test.each(["denied", "withdrawn"] as const)(
    "%s empties the queue of every tab and the server hears of it",
    async (status) => {
      world.answer = (ask) => (ask.path === "/v1/events" ? refusal(503, "database_unavailable") : world.store(ask));
      const other = world.open(QUIET);
      await other.track("queued elsewhere");
      const client = world.open(QUIET);
      await client.track("queued");
      await client.flush();
      world.dispatchEvent(new Event("online"));
      await client.setConsent(status, "v1");
      await until(() => world.asks.some(({ path, body }) => path === "/v1/consent" && body.status === status));
      expect(await client.track("later")).toMatchObject({ state: "refused", reason: "consent_denied" });
      world.asks = [];
      await client.flush();
      await other.flush();
      world.leave();
      expect([world.asks, world.beacons]).toEqual([[], []]);
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

  test("who denies is forgotten, also in the pages that had them", async () => {
    const client = world.open(QUIET);
    await client.identify("ada");
    await client.setConsent("withdrawn", "v2");
    await client.flush();
    await until(() => world.asks.length === 1);
    expect(world.asks[0]!.body).toMatchObject({ userId: "ada", status: "withdrawn" });
    await until(async () => JSON.stringify(await records()).includes('"decisions":[]'));
    expect(await client.status()).toMatchObject({ userId: null, sessionId: null });
    await client.setConsent("granted", "v2");
    await client.track("of nobody");
    await client.flush();
    expect(world.batches).toMatchObject([{ userId: null }]);
  });

  test("who was named before they denied is not named when they agree", async () => {
    const client = world.open(REQUIRED);
    await client.identify("ada");
    await client.setConsent("denied");
    await client.setConsent("granted");
    await client.track("of nobody");
    await until(() => world.batches.length === 1);
    expect(world.batches).toMatchObject([{ userId: null }]);
  });

  test("a later withdrawal elsewhere, of which the answer tells, empties the queue here", async () => {
    const elsewhere = { status: "withdrawn", version: "v3", decidedAt: "2099-01-01T00:00:00+00:00" };
    const client = world.open(QUIET);
    await client.setConsent("granted", "v1");
    await client.flush();
    await client.identify("ada");
    await client.track("queued");
    world.answer = (ask) =>
      ask.path === "/v1/consent"
        ? json(200, { ...elsewhere, purge: ["queuedEvents", "userId"] })
        : refusal(503, "database_unavailable");
    await client.flush();
    expect(world.batches).toEqual([]);
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

  test("what the server says of somebody who was here before says nothing of who is here now", async () => {
    let answer = (_: Response): void => {};
    world.answer = (ask) =>
      ask.path === "/v1/consent" ? new Promise((resolve) => (answer = resolve)) : world.store(ask);
    const client = world.open(QUIET);
    await client.identify("ada");
    await client.setConsent("granted", "v1");
    await until(() => world.asks.length === 1);
    await client.identify("bob");
    await client.track("of bob");
    world.answer = (ask) => world.store(ask);
    answer(
      json(200, { status: "withdrawn", version: "v3", decidedAt: "2099-01-01T00:00:00Z", purge: ["queuedEvents"] }),
    );
    await client.flush();
    expect(world.types).toEqual(["of bob"]);
    expect(await client.status()).toMatchObject({ consent: "granted", userId: "bob", purged: 0 });
  });

  test("a version that the server would refuse is refused at once", async () => {
    for (const version of ["", "x".repeat(101)])
      await expect(world.open(QUIET).setConsent("granted", version)).rejects.toThrow("100");
  });

  test("a denial that the server did not hear is told by the next page", async () => {
    world.answer = () => Promise.reject(new TypeError("no network"));
    const client = world.open();
    await client.setConsent("denied", "v1");
    await until(() => world.asks.length > 0);
    world.answer = (ask) => world.store(ask);
    world.crash();
    const next = world.open();
    await until(async () => world.asks.length > 1 && (await next.status()).lastError === null);
    expect(world.asks.at(-1)).toMatchObject({
      path: "/v1/consent",
      body: { status: "denied", dataUsageAccepted: false },
    });
  });

  test.each([{ doNotTrack: "1" }, { globalPrivacyControl: true }])(
    "%o is respected where the app says so",
    async (signal) => {
      world = new World(signal);
      const client = world.open({ ...QUIET, respectDoNotTrack: true });
      expect(await client.track("a")).toMatchObject({ state: "off", reason: "do_not_track" });
      await client.setConsent("granted");
      await client.flush();
      world.leave();
      expect([world.asks, world.beacons]).toEqual([[], []]);
      expect(await client.status()).toMatchObject({ enabled: false, reason: "do_not_track" });
      expect(await world.open(QUIET).track("b")).toMatchObject({ state: "stored" });
    },
  );
});

describe("leaving the page", () => {
  test("what waits goes by beacon with the key in the address, and is a duplicate when it is sent again", async () => {
    const client = world.open(QUIET);
    const { id } = await client.track("last words");
    world.leave();
    expect(world.beacons).toMatchObject([
      {
        url: `https://api.example/v1/events?key=${KEY}`,
        body: { sequence: null, events: [{ id, eventType: "last words" }] },
      },
    ]);
    world.store({ path: "/v1/events", method: "POST", init: {}, body: world.beacons[0]!.body as never });
    world.crash();
    const next = world.open(QUIET);
    await next.flush();
    expect(world.types).toEqual(["last words"]);
    expect(await next.status()).toMatchObject({ queued: 0, sent: { duplicate: 1 } });
  });

  test("what is sent already does not go again", async () => {
    const client = world.open(QUIET);
    await client.track("sent");
    await client.flush();
    world.leave();
    expect(world.beacons).toEqual([]);
  });

  test("what does not fit stays queued", async () => {
    world.beaconFits = false;
    const client = world.open(QUIET);
    await client.track("large", "a", { text: "x".repeat(30_000) });
    world.leave();
    expect(await client.status()).toMatchObject({ queued: 1 });
  });

  test("a page that is hidden sends what it has, in requests that outlive it", async () => {
    const client = world.open(QUIET);
    await client.track("hidden");
    world.documents.visibilityState = "hidden";
    world.documents.dispatchEvent(new Event("visibilitychange"));
    await until(() => world.types.length === 1);
    expect(world.asks[0]!.init.keepalive).toBe(true);
  });
});

describe("an app that listens", () => {
  test("hears of every change", async () => {
    const heard: number[] = [];
    const client = world.open(QUIET);
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

  test("and fails at it does not stop the queue", async () => {
    const thrown = vi.fn();
    (globalThis as unknown as { process: NodeJS }).process.once("uncaughtException", thrown);
    world.answer = () => json(200, { events: [{ index: 0, status: "rejected", reason: "invalid_event" }] });
    const client = world.open({
      onRejected: () => {
        throw new Error("of the app's own");
      },
    });
    await client.track("a");
    await until(() => thrown.mock.calls.length === 1);
    world.answer = (ask) => world.store(ask);
    await client.track("b");
    await until(() => world.types.includes("b"));
  });
});

describe("storage that fails", () => {
  test("where it is blocked events are kept in memory, and sent", async () => {
    vi.stubGlobal("indexedDB", {
      open: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
    const client = world.open();
    expect((await client.track("in memory")).state).toBe("memory");
    await until(() => world.types.length === 1);
    expect(await client.status()).toMatchObject({ storage: "memory", queued: 0, lastError: null });
  });

  test("a database that never opens is not waited for for long", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    vi.stubGlobal("indexedDB", { open: () => ({}) });
    const tracked = world.open(QUIET).track("in memory");
    await vi.advanceTimersByTimeAsync(3_000);
    expect((await tracked).state).toBe("memory");
  });

  test("a connection that the browser closed is opened again", async () => {
    const client = world.open(QUIET);
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
