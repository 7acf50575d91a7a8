/** One request to the API, a batch of so many events or else a decision, and what its answer means for the queue. */
import type { Counting, Fate } from "./queue";

export interface Answer {
  verdict: "done" | "refused" | "stopped" | "failed";
  /** What it says, of events or of the decision that counts now. */
  content: { events: Fate[] } & Counting;
  code: string;
  message: string;
  retryAfterMs: number;
}

const MAX_RETRY_AFTER_MS = 3_600_000;
// The request is at fault, and so it will be next time.
const REFUSING = [400, 409];
// All others of 400 to 499 stop the queue: another key or address may do better, and what is queued is no worse for it.
const PASSING = [408, 425, 429];

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
      // A hotel's login page answers 200 too.
      if (content && (events < 0 || content.events?.length === events)) answer.verdict = "done";
      else answer.code = "not_muster";
      // What is between us and the server may answer for it; of that nobody knows what it dislikes, save a size.
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

/** Exponential backoff with full jitter; on top of what the server asked for, so that not all return at once. */
export const pauseMs = (failures: number, retryAfterMs: number, retryMs: number, retryMaxMs: number): number =>
  retryAfterMs + Math.random() * (retryAfterMs ? retryMs : Math.min(retryMaxMs, retryMs * 2 ** Math.min(failures, 30)));
