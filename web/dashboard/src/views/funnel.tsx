import { useMemo, useState } from "preact/hooks";
import type { ViewProps } from "../app";
import { Filters } from "../filters";
import * as format from "../format";
import { useApi } from "../hooks";
import { Answer } from "../parts/answer";
import { Bars } from "../parts/bars";
import { Choice } from "../parts/controls";
import { Explained } from "../parts/explained";
import { Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { change, isRange, query, type Route, zoneOf } from "../route";
import type { Funnel, Metrics } from "../types";

const MAX_STEPS = 10;
const WINDOWS = [
  ["PT10M", "10 minutes"],
  ["PT1H", "1 hour"],
  ["P1D", "1 day"],
  ["P7D", "7 days"],
  ["P30D", "30 days"],
] as const;
const BY = [
  ["user", "Users"],
  ["session", "Sessions"],
] as const;

/** A step in the URL: the event type, or "type @ area". */
const SEPARATOR = " @ ";
function stepOf(text: string): { eventType: string; area?: string } {
  const at = text.lastIndexOf(SEPARATOR);
  return at < 0 ? { eventType: text } : { eventType: text.slice(0, at), area: text.slice(at + SEPARATOR.length) };
}

export function FunnelView({ route }: ViewProps) {
  const { params } = route;
  const steps = params.getAll("step");
  const by = params.get("count") === "session" ? "session" : "user";
  const window = params.get("window") ?? "PT1H";
  const range = Object.fromEntries(new URLSearchParams(query(params, isRange)));
  const body = steps.length < 2 ? null : { steps: steps.map(stepOf), by, window, ...range };
  const funnel = useApi<Funnel>(body && "/v1/metrics/funnel", { body });
  const types = useApi<Metrics>(`/v1/metrics?${query(params, isRange, { breakdown: "eventType", limit: "200" })}`);
  const areas = useApi<Metrics>(`/v1/metrics?${query(params, isRange, { breakdown: "area", limit: "200" })}`);
  const names = useMemo(() => valuesOf(types.data), [types.data]);
  return (
    <>
      <Filters route={route} withoutFilters />
      <Panel
        title="Steps"
        note="The steps must happen in this order, within the given time after the first step."
        actions={
          <Choice
            label="Count"
            value={by}
            options={BY}
            onChoose={(value) => change(route, { count: value === "user" ? null : value })}
          />
        }
      >
        <Steps route={route} steps={steps} types={names} areas={valuesOf(areas.data)} />
        <label class="inline">
          <span>Within</span>
          <select value={window} onChange={(event) => change(route, { window: event.currentTarget.value })}>
            {!WINDOWS.some(([value]) => value === window) && <option>{window}</option>}
            {WINDOWS.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </label>
      </Panel>
      <Panel title="Funnel" busy={funnel.isLoading}>
        {body === null ? (
          types.data && types.data.totals.events === 0 ? (
            <Explained explain={types.data.explain} isEmpty route={route} zone={zoneOf(params)} />
          ) : (
            <Suggest route={route} types={names} />
          )
        ) : (
          <Answer of={funnel}>{(data) => <Result funnel={data} by={by} explain={types.data} route={route} />}</Answer>
        )}
      </Panel>
    </>
  );
}

const valuesOf = (metrics: Metrics | null): string[] =>
  metrics?.breakdown.flatMap(({ value }) => (value === null ? [] : [value])) ?? [];

function Steps(props: { route: Route; steps: string[]; types: string[]; areas: string[] }) {
  const { route, steps } = props;
  const [type, setType] = useState("");
  const [area, setArea] = useState("");
  const put = (all: string[]) => change(route, { step: all });
  const move = (from: number, to: number) => {
    const all = [...steps];
    all.splice(to, 0, ...all.splice(from, 1));
    put(all);
  };
  return (
    <>
      {steps.length > 0 && (
        <ol class="steps" aria-label="Steps">
          {steps.map((text, index) => {
            const step = stepOf(text);
            const place = `step ${index + 1}, ${text}`;
            return (
              <li key={index}>
                <span class="nth">{index + 1}</span>
                <b>{step.eventType}</b>
                {step.area !== undefined && <span class="muted">in {step.area}</span>}
                <span class="grow" />
                <button
                  type="button"
                  class="quiet"
                  disabled={index === 0}
                  aria-label={`Move up: ${place}`}
                  onClick={() => move(index, index - 1)}
                >
                  ↑
                </button>
                <button
                  type="button"
                  class="quiet"
                  disabled={index === steps.length - 1}
                  aria-label={`Move down: ${place}`}
                  onClick={() => move(index, index + 1)}
                >
                  ↓
                </button>
                <button
                  type="button"
                  class="quiet"
                  aria-label={`Remove ${place}`}
                  onClick={() => put(steps.filter((_, each) => each !== index))}
                >
                  ×
                </button>
              </li>
            );
          })}
        </ol>
      )}
      {steps.length < MAX_STEPS && (
        <form
          class="row"
          aria-label="Add a step"
          onSubmit={(event) => {
            event.preventDefault();
            put([...steps, area ? `${type}${SEPARATOR}${area}` : type]);
            setType("");
            setArea("");
          }}
        >
          <label>
            <span>Event type</span>
            <input
              list="types"
              value={type}
              onInput={(event) => setType(event.currentTarget.value)}
              required
              maxLength={100}
            />
          </label>
          <label>
            <span>Area (any)</span>
            <input list="areas" value={area} onInput={(event) => setArea(event.currentTarget.value)} maxLength={100} />
          </label>
          <button type="submit">Add step</button>
          <datalist id="types">
            {props.types.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
          <datalist id="areas">
            {props.areas.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </form>
      )}
    </>
  );
}

function Suggest({ route, types }: { route: Route; types: string[] }) {
  const first = types.slice(0, 3);
  return (
    <div class="empty">
      <p>Add at least two steps.</p>
      {first.length > 1 && (
        <button type="button" onClick={() => change(route, { step: first })}>
          Try {first.join(" → ")}
        </button>
      )}
    </div>
  );
}

function Result(props: { funnel: Funnel; by: "user" | "session"; explain: Metrics | null; route: Route }) {
  const { steps } = props.funnel;
  const first = steps[0]!;
  const last = steps[steps.length - 1]!;
  const who = props.by;
  const nameOf = (index: number) =>
    `${index + 1}. ${steps[index]!.eventType}${steps[index]!.area === null ? "" : ` in ${steps[index]!.area}`}`;
  return (
    <>
      <p class="verdict well">
        <strong>{format.percent(last.fromStart)}</strong> of {format.counted(first.count, who)} completed the funnel:{" "}
        {format.count(last.count)}.
      </p>
      <Bars
        label="Funnel"
        bars={steps.map((step, index) => ({
          value: String(index),
          label: nameOf(index),
          size: step.count,
          text: `${format.percent(step.fromStart)} · ${format.count(step.count)}`,
        }))}
      />
      <Table
        caption="The funnel's steps"
        rows={steps.map((step, index) => ({ ...step, index }))}
        keyOf={(step) => step.index}
        columns={[
          { title: "Step", cell: (step) => nameOf(step.index) },
          { title: who === "user" ? "Users" : "Sessions", isNumber: true, cell: (step) => format.count(step.count) },
          {
            title: "Of the previous step",
            isNumber: true,
            cell: (step) => (step.index === 0 ? "–" : format.percent(step.fromPrevious)),
          },
          { title: "Of the first step", isNumber: true, cell: (step) => format.percent(step.fromStart) },
          {
            title: "Median time",
            isNumber: true,
            cell: (step) => (step.medianSeconds === null ? "–" : format.duration(step.medianSeconds)),
          },
        ]}
      />
      {first.count === 0 && props.explain && (
        <>
          <p>
            No {who} took the first step in this range.
            {who === "user" && " Events without a user id count only for sessions."}
          </p>
          <Explained
            explain={props.explain.explain}
            isEmpty={props.explain.totals.events === 0}
            route={props.route}
            zone={zoneOf(props.route.params)}
          />
        </>
      )}
    </>
  );
}
