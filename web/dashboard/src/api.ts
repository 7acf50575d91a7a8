// The only module that sends requests to the API.

const KEY = "muster.key";
const TIMEOUT_MS = 30_000;

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null = null,
  ) {
    super(message);
  }
}

export type KeyKind = "read" | "admin";

/** The key of this tab. It is never in a URL, and closing the tab deletes it. */
export const key = {
  get: (): string | null => sessionStorage.getItem(KEY),
  set: (text: string): void => sessionStorage.setItem(KEY, text),
  forget: (): void => sessionStorage.removeItem(KEY),
};

/** Why a text cannot be a read or admin key. Null if it may be one. */
export function keyProblem(text: string): string | null {
  if (text.startsWith("mw_"))
    return "This is a write key, which can only send events. Enter the read key or the admin key.";
  if (text.startsWith("mr_") || text.startsWith("ma_")) return null;
  return "A read key begins with mr_, an admin key with ma_.";
}

export function kindOf(text: string): KeyKind {
  return text.startsWith("ma_") ? "admin" : "read";
}

export async function request<T>(
  path: string,
  options: { method?: string; body?: unknown; signal?: AbortSignal; key?: string } = {},
): Promise<T> {
  const { method = "GET", body, signal } = options;
  const headers: Record<string, string> = { authorization: `Bearer ${options.key ?? key.get() ?? ""}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const init: RequestInit = { method, headers, signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
  if (body !== undefined) init.body = JSON.stringify(body);
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, init);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(
      0,
      "unreachable",
      navigator.onLine ? "The API does not respond. It may be down or unreachable." : "This device is offline.",
    );
  }
  const answer = parse(text);
  if (response.ok) return answer as T;
  const error = toError(response, answer);
  // No view works with a refused key, so the app asks for another one.
  if (response.status === 401 && !options.key) dispatchEvent(new CustomEvent("keyrefused", { detail: error.message }));
  throw error;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** An error of the API, or of its gateway, which sends only a message. */
function toError(response: Response, answer: unknown): ApiError {
  const { error, message } = (answer ?? {}) as {
    error?: { code: string; message: string; requestId: string };
    message?: string;
  };
  const id = error?.requestId ?? response.headers.get("x-request-id") ?? response.headers.get("apigw-requestid");
  if (error) return new ApiError(response.status, error.code, error.message, id);
  return new ApiError(
    response.status,
    "gateway",
    `The gateway returned ${response.status}${message ? `: ${message}` : ""}.`,
    id,
  );
}
