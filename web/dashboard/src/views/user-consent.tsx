import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import * as format from "../format";
import { asApiError, type Loaded } from "../hooks";
import { Answer, Empty, Failure } from "../parts/answer";
import { Panel } from "../parts/panel";
import { zoneOf } from "../route";
import type { Consent } from "../types";

const STATUSES = ["granted", "denied", "withdrawn"] as const;

/** What a user decided; who has the admin key may note a decision that came by another way, such as a letter. */
export function UserConsent(props: {
  id: string;
  isAdmin: boolean;
  params: URLSearchParams;
  consent: Loaded<Consent>;
}) {
  const { id, isAdmin, consent } = props;
  return (
    <Panel title="Consent" busy={consent.isLoading}>
      <Answer of={consent} rows={2}>
        {(data) =>
          data.status === "unknown" ? (
            <Empty>This user has decided nothing; the project’s consentMode says what that means.</Empty>
          ) : (
            <dl class="pairs">
              <dt>Decision</dt>
              <dd>
                <span class={`tag ${data.status}`}>{data.status}</span>
              </dd>
              <dt>Version</dt>
              <dd>{data.version ?? "–"}</dd>
              <dt>Decided</dt>
              <dd>{data.decidedAt ? format.moment(data.decidedAt, zoneOf(props.params)) : "–"}</dd>
            </dl>
          )
        }
      </Answer>
      {isAdmin && <Note id={id} version={consent.data?.version ?? null} onNoted={consent.reload} />}
    </Panel>
  );
}

function Note(props: { id: string; version: string | null; onNoted: () => void }) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const note = async (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const version = String(form.get("version") ?? "").trim();
    setBusy(true);
    setError(null);
    try {
      const body = { userId: props.id, status: form.get("status"), ...(version && { version }) };
      await request("/v1/consent", { method: "PUT", body });
      props.onNoted();
    } catch (raised) {
      setError(asApiError(raised));
    }
    setBusy(false);
  };
  return (
    <form class="row" aria-label="Note a decision" onSubmit={note}>
      <label>
        <span>Decision</span>
        <select name="status">
          {STATUSES.map((status) => (
            <option key={status}>{status}</option>
          ))}
        </select>
      </label>
      <label>
        <span>Version</span>
        <input name="version" size={8} maxLength={100} defaultValue={props.version ?? ""} />
      </label>
      <button type="submit" disabled={isBusy}>
        Note decision
      </button>
      {error && <Failure error={error} />}
    </form>
  );
}
