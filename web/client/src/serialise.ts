/** Turns what an app tracks into JSON, once, so that what it changes later changes nothing. */

const MAX_DATA_BYTES = 32 * 1024;
// Its names and times included, an event must fit into a batch.
const MAX_EVENT_BYTES = 40_000;

export const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

/** JSON.stringify would write null for a NaN and leave out a function: an event is never silently altered. */
const refuseWhatIsNoJson = (name: string, value: unknown): unknown => {
  if (
    typeof value === "function" ||
    typeof value === "symbol" ||
    (typeof value === "number" && !Number.isFinite(value))
  )
    throw new TypeError(`${name} is no JSON: ${String(value)}`);
  return value;
};

export type Serialised =
  | { json: string; bytes: number; reason?: undefined; details?: undefined }
  | { json?: undefined; bytes?: undefined; reason: string; details: string };

export function serialise(event: Record<string, unknown>): Serialised {
  try {
    const json = JSON.stringify(event, refuseWhatIsNoJson);
    const bytes = bytesOf(json);
    if (bytes > MAX_EVENT_BYTES || (bytes > MAX_DATA_BYTES && bytesOf(JSON.stringify(event.data)) > MAX_DATA_BYTES))
      return { reason: "event_too_large", details: `${bytes} bytes, of ${MAX_DATA_BYTES}.` };
    return { json, bytes };
  } catch (error) {
    return { reason: "invalid_event", details: (error as Error).message };
  }
}
