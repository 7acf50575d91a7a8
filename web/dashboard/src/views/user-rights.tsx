import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import * as format from "../format";
import { asApiError } from "../hooks";
import { Failure } from "../parts/answer";
import { Confirm } from "../parts/confirm";
import { Copy } from "../parts/controls";
import { Panel } from "../parts/panel";
import type { Receipt, Subject } from "../types";

export function UserRights({ id, isAdmin, onErased }: { id: string; isAdmin: boolean; onErased: () => void }) {
  const [isConfirming, setConfirming] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [message, setMessage] = useState<string | null>(null);
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const path = `/v1/subjects/${encodeURIComponent(id)}`;
  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(null);
    setMessage(null);
    try {
      await work();
    } catch (raised) {
      setError(asApiError(raised));
    }
    setBusy(false);
  };
  const save = () =>
    attempt(async () => {
      const whole = await request<Subject>(path);
      for (let cursor = whole.nextCursor; cursor; ) {
        const more: Subject = await request<Subject>(`${path}?cursor=${encodeURIComponent(cursor)}`);
        whole.events.push(...more.events);
        cursor = more.nextCursor;
      }
      delete whole.nextCursor;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(whole, null, 2)], { type: "application/json" }));
      link.download = `muster-${id.replace(/[^\w.-]+/g, "_")}.json`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      setMessage(`Saved ${link.download}, with ${format.counted(whole.events.length, "event")}.`);
    });
  const erase = () =>
    attempt(async () => {
      setConfirming(false);
      setReceipt(await request<Receipt>(path, { method: "DELETE" }));
      onErased();
    });
  return (
    <Panel title="Privacy" busy={isBusy}>
      {!isAdmin && <p class="note">Export and erasure need the admin key. Choose “Change key” to enter it.</p>}
      <div class="row">
        <button type="button" disabled={!isAdmin || isBusy} onClick={save}>
          Export all
        </button>
        <button type="button" class="danger" disabled={!isAdmin || isBusy} onClick={() => setConfirming(true)}>
          Erase…
        </button>
      </div>
      {message && <p role="status">{message}</p>}
      {receipt && (
        <div role="status">
          <p>
            <strong>Erased.</strong> {format.counted(receipt.events, "event")},{" "}
            {format.counted(receipt.sessions, "session")}, {format.counted(receipt.consents, "decision")},{" "}
            {format.counted(receipt.rejections, "rejection")}.
          </p>
          <p class="small">
            Receipt <code>{receipt.receiptId}</code> <Copy text={receipt.receiptId} what="the receipt" />
          </p>
        </div>
      )}
      {error && <Failure error={error} />}
      {isConfirming && (
        <Confirm
          title="Erase this user?"
          action="Erase"
          word={id}
          onConfirm={erase}
          onCancel={() => setConfirming(false)}
        >
          <p>
            This deletes all of the user’s events, sessions, decisions and rejections. Events sent again are ignored.
            You cannot undo this.
          </p>
        </Confirm>
      )}
    </Panel>
  );
}
