/** Turns an event into JSON when it is tracked, so later changes to its data have no effect. */

const MAX_DATA_BYTES = 32 * 1024;
// An event with all of its fields must fit into a batch.
const MAX_EVENT_BYTES = 40_000;

export const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

/** Throws where JSON.stringify would write null for NaN or leave out a function: no event is silently changed. */
const refuseNonJson = (name: string, value: unknown): unknown => {
  if (
    typeof value === "function" ||
    typeof value === "symbol" ||
    (typeof value === "number" && !Number.isFinite(value))
  )
    throw new TypeError(`${name} is not JSON: ${String(value)}`);
  return value;
};

export type Serialised =
  | { json: string; bytes: number; reason?: undefined; details?: undefined }
  | { json?: undefined; bytes?: undefined; reason: string; details: string };

export function serialise(event: Record<string, unknown>): Serialised {
  try {
    const json = JSON.stringify(event, refuseNonJson);
    const bytes = bytesOf(json);
    if (bytes > MAX_EVENT_BYTES || (bytes > MAX_DATA_BYTES && bytesOf(JSON.stringify(event.data)) > MAX_DATA_BYTES))
      return { reason: "event_too_large", details: `${bytes} bytes, limit ${MAX_DATA_BYTES}.` };
    return { json, bytes };
  } catch (error) {
    return { reason: "invalid_event", details: (error as Error).message };
  }
}
