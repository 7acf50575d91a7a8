import { useState } from "preact/hooks";
import { ApiError, keyProblem, request } from "./api";
import { asApiError } from "./hooks";
import { Failure } from "./parts/answer";

export function KeyEntry(props: { refusal: string | null; onKey: (key: string) => void }) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<ApiError | null>(
    props.refusal === null ? null : new ApiError(401, "invalid_key", props.refusal),
  );
  const [isChecking, setChecking] = useState(false);
  const enter = async (event: Event) => {
    event.preventDefault();
    const given = typed.trim();
    const problem = keyProblem(given);
    if (problem !== null) return setError(new ApiError(0, "no_key", problem));
    setChecking(true);
    setError(null);
    try {
      await request("/v1/metrics?timeframe=hour", { key: given });
      props.onKey(given);
    } catch (raised) {
      const refused = asApiError(raised);
      // Without its database the API cannot check keys. The diagnostics say what is wrong.
      if (refused.code === "database_unavailable") props.onKey(given);
      else setError(refused);
      setChecking(false);
    }
  };
  return (
    <main class="entry">
      <h1>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M7 23V10l9 8 9-8v13" />
        </svg>
        Muster
      </h1>
      <p>Every event, present and accounted for.</p>
      <form onSubmit={enter}>
        <label for="key">The project’s read key, or its admin key</label>
        <input
          id="key"
          type="password"
          autocomplete="off"
          spellcheck={false}
          placeholder="mr_… or ma_…"
          required
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          aria-describedby="key-note"
        />
        <button type="submit" class="primary" disabled={isChecking}>
          {isChecking ? "Checking…" : "Open"}
        </button>
        <p id="key-note" class="small">
          The key stays in this tab until you close it. <code>make run</code> prints both keys. The admin key can also
          replay rejected events, issue pilot tokens, and export or erase a user.
        </p>
      </form>
      {error && <Failure error={error} />}
    </main>
  );
}
