/** One request to the API, a batch of so many events or else a decision, and what its answer means for the queue. */
import type { Fate } from "./queue";

export interface Answer {
  verdict: "done" | "refused" | "stopped" | "failed";
  fates: Fate[];
  code: string;
  message: string;
  retryAfterMs: number;
}

const MAX_RETRY_AFTER_MS = 3_600_000;
// Of a whole request: it will not do better next time, but another key or address may.
const STOPPING = [401, 403, 404];
const PASSING = [408, 425, 429];

export async function send(
  url: string,
  key: string,
  body: string,
  keepalive: boolean,
  timeoutMs: number,
  events: number,
): Promise<Answer> {
  const answer: Answer = { verdict: "failed", fates: [], code: "network_error", message: "", retryAfterMs: 0 };
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
    const content = await response.json().catch(() => null);
    answer.code = content?.error?.code ?? `http_${status}`;
    answer.message = content?.error?.message ?? content?.message ?? "";
    answer.fates = content?.events ?? [];
    const asked = response.headers.get("retry-after");
    if (asked) answer.retryAfterMs = Math.min(Math.max(0, retryAfter(asked)), MAX_RETRY_AFTER_MS);
    if (response.ok) {
      // A hotel's login page answers 200 too.
      if (content && (events < 0 || answer.fates.length === events)) answer.verdict = "done";
      else answer.code = "not_muster";
    } else if (STOPPING.includes(status)) answer.verdict = "stopped";
    else if (status >= 400 && status < 500 && !PASSING.includes(status)) answer.verdict = "refused";
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
