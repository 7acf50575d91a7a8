/** The client of a page: one, whatever is called before it is there. */
import { type Client, createClient } from "./client";
import type { Options, Status } from "./types";

export { type Client, createClient } from "./client";
export type * from "./types";

type Method = keyof Client;
/** A call with its moment, as the snippet of a page keeps them: the moment of the call counts, not that of our arrival. */
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

/** Starts the page's client, once; what was called before is done now. */
export function init(options: Options): Client {
  if (client) console.warn("Of muster.init the first call counts.");
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
