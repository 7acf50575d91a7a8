import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import type { ViewProps } from "../app";
import * as format from "../format";
import { asApiError, usePages } from "../hooks";
import { Answer, Empty, Failure, More } from "../parts/answer";
import { Confirm } from "../parts/confirm";
import { Copy } from "../parts/controls";
import { Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { zoneOf } from "../route";
import type { IssuedToken, PilotToken } from "../types";

const PATH = "/v1/pilot-tokens";
const PAGE = 50;
const STATES: Record<PilotToken["state"], string> = {
  active: "active",
  expired: "expired",
  revoked: "revoked",
  used_up: "used up",
};

export function PilotView({ route, isAdmin }: ViewProps) {
  const zone = zoneOf(route.params);
  const tokens = usePages<PilotToken>(isAdmin ? `${PATH}?limit=${PAGE}` : null, "tokens");
  const [issued, setIssued] = useState<IssuedToken[]>([]);
  const [revoking, setRevoking] = useState<PilotToken | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  if (!isAdmin) {
    return (
      <Panel title="Pilot tokens">
        <Empty>Issuing, listing and revoking tokens needs the admin key. Choose “Change key” to enter it.</Empty>
      </Panel>
    );
  }
  const revoke = async () => {
    const { id } = revoking!;
    setRevoking(null);
    setError(null);
    try {
      await request(`${PATH}/${id}`, { method: "DELETE" });
    } catch (raised) {
      setError(asApiError(raised));
    }
    tokens.reload();
  };
  return (
    <>
      <Issue
        onIssued={(made) => {
          setIssued(made);
          tokens.reload();
        }}
      />
      {issued.length > 0 && <Issued tokens={issued} onDone={() => setIssued([])} />}
      <Panel title="Tokens" busy={tokens.isLoading}>
        {error && <Failure error={error} />}
        <Answer of={tokens}>
          {(rows) => (
            <>
              {rows.length === 0 ? (
                <Empty>No token has been issued yet. A user who redeems one gets its participant type.</Empty>
              ) : (
                <Table
                  caption="Pilot tokens"
                  rows={rows}
                  keyOf={(token) => token.id}
                  columns={[
                    { title: "Token", cell: (token) => <code>{token.prefix}…</code> },
                    { title: "Participant type", cell: (token) => token.participantType },
                    {
                      title: "State",
                      cell: (token) => <span class={`tag ${token.state}`}>{STATES[token.state] ?? token.state}</span>,
                    },
                    {
                      title: "Used",
                      isNumber: true,
                      cell: (token) => `${format.count(token.uses)} of ${format.count(token.maxUses)}`,
                    },
                    {
                      title: "Expires",
                      cell: (token) => (token.expiresAt ? format.moment(token.expiresAt, zone) : "never"),
                    },
                    { title: "Note", cell: (token) => token.note ?? "" },
                    {
                      title: "Revoke",
                      cell: (token) =>
                        token.state === "active" && (
                          <button
                            type="button"
                            aria-label={`Revoke ${token.prefix}`}
                            onClick={() => setRevoking(token)}
                          >
                            Revoke
                          </button>
                        ),
                    },
                  ]}
                />
              )}
              <More of={tokens} what="Older tokens" />
            </>
          )}
        </Answer>
      </Panel>
      {revoking && (
        <Confirm
          title="Revoke this token?"
          action="Revoke"
          word={revoking.prefix}
          onConfirm={revoke}
          onCancel={() => setRevoking(null)}
        >
          <p>It can no longer be redeemed. Users who have redeemed it stay participants.</p>
        </Confirm>
      )}
    </>
  );
}

function Issue({ onIssued }: { onIssued: (tokens: IssuedToken[]) => void }) {
  const [error, setError] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const issue = async (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    const body: Record<string, unknown> = {
      participantType: text("participantType"),
      count: Number(text("count") || 1),
      maxUses: Number(text("maxUses") || 1),
    };
    if (text("note")) body.note = text("note");
    // The token is valid until the last second of the day, in the reader's time zone.
    if (text("expiresAt")) body.expiresAt = new Date(`${text("expiresAt")}T23:59:59`).toISOString();
    setBusy(true);
    setError(null);
    try {
      onIssued((await request<{ tokens: IssuedToken[] }>(PATH, { method: "POST", body })).tokens);
    } catch (raised) {
      setError(asApiError(raised));
    }
    setBusy(false);
  };
  return (
    <Panel title="Issue tokens" busy={isBusy}>
      <form class="row" onSubmit={issue}>
        <label>
          <span>Participant type</span>
          <input name="participantType" required maxLength={100} placeholder="teacher" />
        </label>
        <label>
          <span>How many</span>
          <input name="count" type="number" min={1} max={1000} defaultValue="1" />
        </label>
        <label>
          <span>Uses each</span>
          <input name="maxUses" type="number" min={1} defaultValue="1" />
        </label>
        <label>
          <span>Last day</span>
          <input name="expiresAt" type="date" />
        </label>
        <label>
          <span>Note</span>
          <input name="note" maxLength={500} />
        </label>
        <button type="submit" class="primary" disabled={isBusy}>
          Issue
        </button>
      </form>
      {error && <Failure error={error} />}
    </Panel>
  );
}

function Issued({ tokens, onDone }: { tokens: IssuedToken[]; onDone: () => void }) {
  const all = tokens.map((token) => token.token).join("\n");
  return (
    <Panel
      title={`${format.counted(tokens.length, "new token")}, shown only once`}
      note="Copy them now. The database stores only their hashes."
      actions={
        <>
          <Copy text={all} what="all new tokens" />
          <button type="button" onClick={onDone}>
            Done
          </button>
        </>
      }
    >
      <pre class="data">{all}</pre>
    </Panel>
  );
}
