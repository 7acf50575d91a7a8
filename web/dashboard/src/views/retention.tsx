import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { useApi } from "../hooks";
import { Answer } from "../parts/answer";
import { Choice } from "../parts/controls";
import { Explained } from "../parts/explained";
import { Panel } from "../parts/panel";
import { change, isRange, query, zoneOf } from "../route";
import type { Metrics, Retention } from "../types";

const PERIODS = [
  ["day", "By day"],
  ["week", "By week"],
] as const;

export function RetentionView({ route }: ViewProps) {
  const { params } = route;
  const period = params.get("period") === "week" ? "week" : "day";
  // One week shows little, so the default range is longer and depends on the period.
  const timeframe = params.get("start") ? null : (params.get("timeframe") ?? (period === "day" ? "month" : "quarter"));
  const retention = useApi<Retention>(`/v1/metrics/retention?${query(params, isRange, { period, timeframe })}`);
  const metrics = useApi<Metrics>(`/v1/metrics?${query(params, isRange, { timeframe })}`);
  const zone = zoneOf(params);
  return (
    <>
      <Filters route={route} withoutFilters timeframe={timeframe ?? "month"} />
      <Panel
        title="Users who came back"
        busy={retention.isLoading}
        note={`Each row shows the users with their first event in that ${period}, and the share active in each later ${period}.`}
        actions={
          <Choice
            label="Period"
            value={period}
            options={PERIODS}
            onChoose={(value) => change(route, { period: value === "day" ? null : value })}
          />
        }
      >
        <Answer of={retention} rows={8}>
          {(data) =>
            data.cohorts.some((cohort) => cohort.users > 0) ? (
              <Grid retention={data} zone={zone} />
            ) : metrics.data ? (
              metrics.data.totals.events === 0 ? (
                <Explained explain={metrics.data.explain} isEmpty route={route} zone={zone} />
              ) : (
                <p class="empty">
                  This range has no new users. It has {format.counted(metrics.data.totals.events, "event")} of{" "}
                  {format.counted(metrics.data.totals.users, "identified user")}. Events without a user id are in no
                  cohort.
                </p>
              )
            ) : null
          }
        </Answer>
      </Panel>
    </>
  );
}

function Grid({ retention, zone }: { retention: Retention; zone: string }) {
  const cohorts = retention.cohorts.filter((cohort) => cohort.users > 0);
  const width = Math.max(...cohorts.map((cohort) => cohort.retained.length));
  const caption = `Users by the ${retention.period} of their first event, and the share active in each later ${retention.period}`;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling area must be reachable by keyboard
    <section class="scroll grid" tabIndex={0} aria-label={caption}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">First seen</th>
            <th scope="col" class="number">
              Users
            </th>
            {Array.from({ length: width }, (_, index) => (
              <th key={index} scope="col" class="number">
                <span class="hidden">{retention.period} </span>
                {index}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {cohorts.map((cohort) => (
            <tr key={cohort.start}>
              <th scope="row">{format.day(cohort.start, zone)}</th>
              <td class="number">{format.count(cohort.users)}</td>
              {cohort.retained.map((users, index) => {
                const share = users / cohort.users;
                return (
                  <td
                    key={index}
                    class={`number heat h${Math.ceil(share * 8)}`}
                    title={`${format.counted(users, "user")} of ${format.count(cohort.users)}`}
                  >
                    {format.rounded(share)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
