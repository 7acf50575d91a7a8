import * as format from "../format";
import { useApi } from "../hooks";
import { Answer, Empty } from "../parts/answer";
import { Bars } from "../parts/bars";
import { Copy } from "../parts/controls";
import { EventList } from "../parts/events";
import { Panel, Tile } from "../parts/panel";
import { linkTo, type Route, zoneOf } from "../route";
import type { Consent, UserSummary } from "../types";
import { UserConsent } from "./user-consent";
import { UserRights } from "./user-rights";

/** One user: activity, consent and privacy. */
export function UserView({ id, route, isAdmin }: { id: string; route: Route; isAdmin: boolean }) {
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
              {user.error!.message} User ids are case-sensitive. Rejected and ignored events are under{" "}
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
          <Panel title="Activity">
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
        <UserConsent id={id} isAdmin={isAdmin} params={route.params} consent={consent} />
        <UserRights
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
