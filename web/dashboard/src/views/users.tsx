import { useState } from "preact/hooks";
import { type ApiError, request } from "../api";
import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { asApiError, useApi } from "../hooks";
import { Answer, Bars, Confirm, Copy, Empty, EventList, Explained, Failure, Panel, Tile } from "../parts";
import { isFilter, isRange, linkTo, query, type Route, zoneOf } from "../route";
import type { Consent, Metrics, Receipt, Subject, UserSummary } from "../types";

export function UsersView({ route, isAdmin }: ViewProps) {
  return (
    <>
      <Open route={route} />
      {route.of === null ? (
        <Most route={route} />
      ) : (
        <One key={route.of} id={route.of} route={route} isAdmin={isAdmin} />
      )}
    </>
  );
}

function Open({ route }: { route: Route }) {
  const [typed, setTyped] = useState(route.of ?? "");
  return (
    <form
      class="row search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        location.hash = linkTo("users", route.params, typed);
      }}
    >
      <label>
        <span class="hidden">A user’s id</span>
        <input
          type="search"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          placeholder="A user’s id, as the app names it"
          spellcheck={false}
          required
          maxLength={200}
        />
      </label>
      <button type="submit" class="primary">
        Open
      </button>
    </form>
  );
}

function Most({ route }: { route: Route }) {
  const zone = zoneOf(route.params);
  const metrics = useApi<Metrics>(
    `/v1/metrics?${query(route.params, (name) => isRange(name) || isFilter(name), { breakdown: "userId", limit: "100" })}`,
  );
  return (
    <>
      <Filters route={route} />
      <Panel title="Most active" busy={metrics.isLoading}>
        <Answer of={metrics} rows={8}>
          {(data) => {
            const rows = data.breakdown.filter((row) => row.value !== null);
            const unknown = data.breakdown.find((row) => row.value === null);
            if (data.totals.events === 0) return <Explained explain={data.explain} isEmpty route={route} zone={zone} />;
            return (
              <>
                {rows.length === 0 ? (
                  <Empty>No event of this range names a user; apps send userId once somebody has signed in.</Empty>
                ) : (
                  <Bars
                    label="Users by events"
                    bars={rows.map((row) => ({
                      value: row.value,
                      size: row.events,
                      text: format.count(row.events),
                      note: format.counted(row.sessions, "session"),
                      href: linkTo("users", route.params, row.value),
                    }))}
                  />
                )}
                <p class="small">
                  {format.counted(data.totals.users, "user")} in this range
                  {data.totals.users > rows.length && `, the ${format.count(rows.length)} most active of them shown`}.
                  {unknown && ` ${format.counted(unknown.events, "event")} without a user.`}
                </p>
              </>
            );
          }}
        </Answer>
      </Panel>
    </>
  );
}

function One({ id, route, isAdmin }: { id: string; route: Route; isAdmin: boolean }) {
  const zone = zoneOf(route.params);
  const user = useApi<UserSummary>(`/v1/metrics/users/${encodeURIComponent(id)}`);
  const consent = useApi<Consent>(`/v1/consent?userId=${encodeURIComponent(id)}`);
  const isUnknown = user.error?.code === "not_found";
  return (
    <>
      <Panel title={id} busy={user.isLoading} actions={<Copy text={id} what="the user’s id" />}>
        {isUnknown ? (
          <Empty>
            <p>
              <strong>No event of this user is stored.</strong>
            </p>
            <p>
              {user.error!.message} Ids are told apart by every letter. What was rejected or ignored is under{" "}
              <a href={linkTo("diagnostics", route.params)}>Diagnostics</a>.
            </p>
          </Empty>
        ) : (
          <Answer of={user} rows={3}>
            {(data) => (
              <dl class="tiles">
                <Tile name="Events" value={format.count(data.events)} />
                <Tile name="Sessions" value={format.count(data.sessions)} />
                <Tile
                  name="First seen"
                  value={format.day(data.firstSeenAt, zone)}
                  note={format.ago(data.firstSeenAt)}
                />
                <Tile name="Last seen" value={format.day(data.lastSeenAt, zone)} note={format.ago(data.lastSeenAt)} />
              </dl>
            )}
          </Answer>
        )}
      </Panel>
      <div class="columns">
        {user.data && (
          <Panel title="What they do">
            <Bars
              label="Event types by events"
              bars={user.data.eventTypes.map((row) => ({
                value: row.value,
                size: row.events,
                text: format.count(row.events),
                note: format.counted(row.sessions, "session"),
              }))}
            />
          </Panel>
        )}
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
                  <dd>{data.decidedAt ? format.moment(data.decidedAt, zone) : "–"}</dd>
                </dl>
              )
            }
          </Answer>
        </Panel>
        <Rights
          id={id}
          isAdmin={isAdmin}
          onErased={() => {
            user.reload();
            consent.reload();
          }}
        />
      </div>
      {user.data && (
        <Panel title="Latest events">
          <EventList events={user.data.recent} route={route} zone={zone} label="The user’s latest events" withoutUser />
        </Panel>
      )}
    </>
  );
}

function Rights({ id, isAdmin, onErased }: { id: string; isAdmin: boolean; onErased: () => void }) {
  const [isAsked, setAsked] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState<string | null>(null);
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const path = `/v1/subjects/${encodeURIComponent(id)}`;
  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(null);
    setSaid(null);
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
      setSaid(`Saved ${link.download}, with ${format.counted(whole.events.length, "event")}.`);
    });
  const erase = () =>
    attempt(async () => {
      setAsked(false);
      setReceipt(await request<Receipt>(path, { method: "DELETE" }));
      onErased();
    });
  return (
    <Panel title="Their rights" busy={isBusy}>
      {!isAdmin && <p class="note">Export and erasure need the admin key: leave, and enter it.</p>}
      <div class="row">
        <button type="button" disabled={!isAdmin || isBusy} onClick={save}>
          Export all
        </button>
        <button type="button" class="danger" disabled={!isAdmin || isBusy} onClick={() => setAsked(true)}>
          Erase…
        </button>
      </div>
      {said && <p role="status">{said}</p>}
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
      {isAsked && (
        <Confirm title="Erase this user?" action="Erase" word={id} onConfirm={erase} onCancel={() => setAsked(false)}>
          <p>
            Every event, session, decision and rejection of theirs is removed and stays out when it is sent again. This
            cannot be undone.
          </p>
        </Confirm>
      )}
    </Panel>
  );
}
