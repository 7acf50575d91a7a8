/** Sends one request to the API, and says what its response means for the queue. */
import type { CurrentDecision, EventResult } from "./queue";

export interface Answer {
  verdict: "done" | "refused" | "stopped" | "failed";
  /** The results of the batch's events, or the decision that counts now. */
  content: { events: EventResult[] } & CurrentDecision;
  code: string;
  message: string;
  retryAfterMs: number;
}

const MAX_RETRY_AFTER_MS = 3_600_000;
// The request itself is wrong, and would be refused again.
const REFUSING = [400, 409];
// These are temporary. Any other status from 400 to 499 stops the queue, because another key or URL may work. Its events
// stay queued.
const PASSING = [408, 425, 429];

/** Sends a batch of `events` events, or a consent decision if `events` is -1. */
export async function send(
  url: string,
  key: string,
  body: string,
  keepalive: boolean,
  timeoutMs: number,
  events: number,
): Promise<Answer> {
  const answer = { verdict: "failed", code: "network_error", message: "", retryAfterMs: 0 } as Answer;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const response = await fetch(url + (events < 0 ? "/v1/consent" : "/v1/events"), {
      method: events < 0 ? "PUT" : "POST",
      body,
      keepalive,
      credentials: "omit",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      signal: abort.signal,
    });
    const { status } = response;
    const content = (answer.content = await response.json().catch(() => null));
    answer.code = content?.error?.code ?? `http_${status}`;
    answer.message = content?.error?.message ?? content?.message ?? "";
    const asked = response.headers.get("retry-after");
    if (asked) answer.retryAfterMs = Math.min(Math.max(0, retryAfter(asked)), MAX_RETRY_AFTER_MS);
    if (response.ok) {
      // The login page of a hotel's network also answers 200.
      if (content && (events < 0 || content.events?.length === events)) answer.verdict = "done";
      else answer.code = "not_muster";
      // A proxy may answer instead of the server. Its 4xx does not condemn the batch, except for its size.
    } else if (status === 413 || (content?.error && REFUSING.includes(status))) answer.verdict = "refused";
    else if (status < 500 && !PASSING.includes(status)) answer.verdict = "stopped";
  } catch (error) {
    answer.message = String(error);
  } finally {
    clearTimeout(timer);
  }
  return answer;
}

const retryAfter = (value: string): number => Number(value) * 1_000 || Date.parse(value) - Date.now() || 0;

/** Exponential backoff with full jitter. It is added to the pause that the server asked for, to spread the clients. */
export const pauseMs = (failures: number, retryAfterMs: number, retryMs: number, retryMaxMs: number): number =>
  retryAfterMs + Math.random() * (retryAfterMs ? retryMs : Math.min(retryMaxMs, retryMs * 2 ** Math.min(failures, 30)));
