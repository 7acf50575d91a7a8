/** The one client of a page. Calls made before `init` wait for it. */
import { type Client, createClient } from "./client";
import type { Options, Status } from "./types";

export { type Client, createClient } from "./client";
export type * from "./types";

type Method = keyof Client;
/** A call that the page's snippet has stored, and its time: the event happened then, not when this script arrived. */
export type Call = [method: Method | "init", args: unknown[], at: number, resolve?: (value: unknown) => void];

let client: Client | undefined;
let early: Call[] = [];
const moment: { at?: number } = {};

export function replay(calls: Call[]): void {
  for (const call of calls) {
    const [method, args, at, resolve] = call;
    if (method === "init") init(args[0] as Options);
    else if (client) {
      moment.at = at;
      const result = (client[method] as (...args: unknown[]) => unknown)(...args);
      moment.at = undefined;
      resolve?.(result);
    } else early.push(call);
  }
}

const method = <N extends Method>(name: N): Client[N] =>
  ((...args: unknown[]) => new Promise((resolve) => replay([[name, args, Date.now(), resolve]]))) as Client[N];

/** Starts the page's client once, and runs the calls made before. */
export function init(options: Options): Client {
  if (client) console.warn("Only the first muster.init counts.");
  else {
    client = createClient(options, moment);
    replay(early);
    early = [];
  }
  return client;
}

export const track = method("track");
export const page = method("page");
export const identify = method("identify");
export const reset = method("reset");
export const setConsent = method("setConsent");
export const flush = method("flush");

export async function status(): Promise<Pick<Status, "enabled" | "reason" | "held"> & Partial<Status>> {
  return client ? client.status() : { enabled: false, reason: "not_initialised", held: early.length };
}
