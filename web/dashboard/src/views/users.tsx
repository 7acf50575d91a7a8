import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { useApi } from "../hooks";
import { Answer, Empty } from "../parts/answer";
import { Bars } from "../parts/bars";
import { Explained } from "../parts/explained";
import { Panel } from "../parts/panel";
import { Search } from "../parts/search";
import { isRangeOrFilter, linkTo, query, type Route, zoneOf } from "../route";
import type { Metrics } from "../types";
import { UserView } from "./user";

export function UsersView({ route, isAdmin }: ViewProps) {
  return (
    <>
      <Search
        label="User id"
        placeholder="User id, as the app sends it"
        action="Open"
        value={route.of ?? ""}
        onSearch={(typed) => {
          location.hash = linkTo("users", route.params, typed);
        }}
        maxLength={200}
      />
      {route.of === null ? (
        <MostActive route={route} />
      ) : (
        <UserView key={route.of} id={route.of} route={route} isAdmin={isAdmin} />
      )}
    </>
  );
}

function MostActive({ route }: { route: Route }) {
  const zone = zoneOf(route.params);
  const metrics = useApi<Metrics>(
    `/v1/metrics?${query(route.params, isRangeOrFilter, { breakdown: "userId", limit: "100" })}`,
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
                  <Empty>No event in this range has a user. Apps send userId once a user has signed in.</Empty>
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
                  {data.totals.users > rows.length &&
                    `, of which the ${format.count(rows.length)} most active are shown`}
                  .{unknown && ` ${format.counted(unknown.events, "event")} without a user.`}
                </p>
              </>
            );
          }}
        </Answer>
      </Panel>
    </>
  );
}
