// The range, its granularity and time zone, and the filters. All of them are in the URL.
import { useId, useMemo, useState } from "preact/hooks";
import { change, FIELDS, isFilter, ownZone, type Route, toggleFilter, zoneOf } from "./route";

const TIMEFRAMES = [
  ["hour", "Last hour"],
  ["day", "Last 24 hours"],
  ["week", "Last 7 days"],
  ["month", "Last 30 days"],
  ["quarter", "Last 90 days"],
  ["year", "Last year"],
  ["all", "All time"],
] as const;
const GRANULARITIES = ["minute", "hour", "day", "week", "month"];

export const NAMES: Record<string, string> = {
  eventType: "Event type",
  area: "Area",
  userId: "User",
  participantType: "Participant type",
};
export const nameOf = (field: string): string => NAMES[field] ?? field;

export function Filters(props: {
  route: Route;
  withGranularity?: boolean;
  withoutFilters?: boolean;
  timeframe?: string;
}) {
  const { route } = props;
  const { params } = route;
  const chosen = params.has("start") ? "custom" : (params.get("timeframe") ?? props.timeframe ?? "week");
  const zone = zoneOf(params);
  const zones = useMemo(() => [...new Set([ownZone(), "UTC", ...Intl.supportedValuesOf("timeZone")])], []);
  const filters = [...params].filter(([name]) => isFilter(name));
  return (
    <fieldset class="filters" aria-label="Range and filters">
      <label>
        <span>Range</span>
        <select
          value={chosen}
          onChange={(event) => {
            const { value } = event.currentTarget;
            if (value === "custom") changeDays(route, dayAfter(todayIn(zone), -6), todayIn(zone));
            else change(route, { timeframe: value, start: null, end: null, granularity: null });
          }}
        >
          {TIMEFRAMES.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
          <option value="custom">From … to …</option>
        </select>
      </label>
      {chosen === "custom" && <CustomRange route={route} />}
      {props.withGranularity && (
        <label>
          <span>By</span>
          <select
            value={params.get("granularity") ?? ""}
            onChange={(event) => change(route, { granularity: event.currentTarget.value || null })}
          >
            <option value="">auto</option>
            {GRANULARITIES.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      )}
      <label>
        <span>Time zone</span>
        <select class="zone" value={zone} onChange={(event) => change(route, { timezone: event.currentTarget.value })}>
          {!zones.includes(zone) && <option>{zone}</option>}
          {zones.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      </label>
      {!props.withoutFilters && <AddFilter route={route} />}
      {!props.withoutFilters && filters.length > 0 && (
        <ul class="chips" aria-label="Filters">
          {filters.map(([name, value]) => (
            <li key={`${name}=${value}`}>
              <button
                type="button"
                class="chip"
                onClick={() => toggleFilter(route, name, value)}
                aria-label={`Remove the filter ${nameOf(name)}: ${value}`}
              >
                {nameOf(name)}: <b>{value}</b> <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
          <li>
            <button
              type="button"
              class="quiet"
              onClick={() => change(route, Object.fromEntries(filters.map(([name]) => [name, null])))}
            >
              Clear
            </button>
          </li>
        </ul>
      )}
    </fieldset>
  );
}

/** Sets a range of whole days. `last` is included, so the API's end is the day after it. */
function changeDays(route: Route, first: string, last: string): void {
  if (first && last && first <= last)
    change(route, { timeframe: null, granularity: null, start: first, end: dayAfter(last, 1) });
}

function CustomRange({ route }: { route: Route }) {
  const { params } = route;
  const first = params.get("start")?.slice(0, 10) ?? "";
  const last = params.has("end") ? dayAfter(params.get("end")!.slice(0, 10), -1) : todayIn(zoneOf(params));
  return (
    <>
      <label>
        <span>From</span>
        <input
          type="date"
          value={first}
          max={last}
          onChange={(event) => changeDays(route, event.currentTarget.value, last)}
        />
      </label>
      <label>
        <span>To</span>
        <input
          type="date"
          value={last}
          min={first}
          onChange={(event) => changeDays(route, first, event.currentTarget.value)}
        />
      </label>
    </>
  );
}

/** Today's date in a time zone, in the API's format. */
const todayIn = (zone: string): string => new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(new Date());

function dayAfter(day: string, days: number): string {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

function AddFilter(props: { route: Route }) {
  const [isOpen, setOpen] = useState(false);
  const [field, setField] = useState("eventType");
  const [dataKey, setDataKey] = useState("");
  const [value, setValue] = useState("");
  const id = useId();
  if (!isOpen) {
    return (
      <button type="button" class="quiet add" onClick={() => setOpen(true)}>
        + Filter
      </button>
    );
  }
  const name = field === "data" ? `data.${dataKey.trim()}` : field;
  return (
    <form
      class="row"
      aria-label="Add a filter"
      onSubmit={(event) => {
        event.preventDefault();
        if (!value || name === "data.") return;
        if (!props.route.params.getAll(name).includes(value)) toggleFilter(props.route, name, value);
        setValue("");
        setOpen(false);
      }}
    >
      <label>
        <span>Filter</span>
        <select value={field} onChange={(event) => setField(event.currentTarget.value)}>
          {FIELDS.map((each) => (
            <option key={each} value={each}>
              {nameOf(each)}
            </option>
          ))}
          <option value="data">A data key</option>
        </select>
      </label>
      {field === "data" && (
        <label>
          <span>Key</span>
          <input value={dataKey} onInput={(event) => setDataKey(event.currentTarget.value)} size={10} required />
        </label>
      )}
      <label for={id}>
        <span>Is</span>
        <input id={id} value={value} onInput={(event) => setValue(event.currentTarget.value)} size={14} required />
      </label>
      <button type="submit">Add</button>
      <button type="button" class="quiet" onClick={() => setOpen(false)}>
        Cancel
      </button>
    </form>
  );
}
