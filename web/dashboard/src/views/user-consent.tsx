import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import * as format from "../format";
import { asApiError, type Loaded } from "../hooks";
import { Answer, Empty, Failure } from "../parts/answer";
import { Panel } from "../parts/panel";
import { zoneOf } from "../route";
import type { Consent } from "../types";

const STATUSES = ["granted", "denied", "withdrawn"] as const;

/** A user's consent decision. The admin key can also record one received outside the app, such as by letter. */
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
            <Empty>
              This user has made no decision. The project’s consentMode says whether events are stored without one.
            </Empty>
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
      {isAdmin && <RecordDecision id={id} version={consent.data?.version ?? null} onRecorded={consent.reload} />}
    </Panel>
  );
}

function RecordDecision(props: { id: string; version: string | null; onRecorded: () => void }) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const record = async (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const version = String(form.get("version") ?? "").trim();
    setBusy(true);
    setError(null);
    try {
      const body = { userId: props.id, status: form.get("status"), ...(version && { version }) };
      await request("/v1/consent", { method: "PUT", body });
      props.onRecorded();
    } catch (raised) {
      setError(asApiError(raised));
    }
    setBusy(false);
  };
  return (
    <form class="row" aria-label="Record a decision" onSubmit={record}>
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
        Record decision
      </button>
      {error && <Failure error={error} />}
    </form>
  );
}
