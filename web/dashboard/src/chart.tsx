// A series over time, as a chart and as a table.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import * as format from "./format";
import { useMedia } from "./hooks";
import { Table } from "./parts/table";
import type { Bucket, Range } from "./types";

export type Measure = "events" | "users" | "sessions";

const AXIS: Record<string, Intl.DateTimeFormatOptions> = {
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  week: { day: "numeric", month: "short" },
  month: { month: "short", year: "2-digit" },
};
const HEIGHT = 240;

export function Chart(props: { series: Bucket[]; measure: Measure; range: Range; asOf: string }) {
  const { series, measure, range } = props;
  const holder = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const [isTable, setTable] = useState(false);
  const isDark = useMedia("(prefers-color-scheme: dark)");
  const isNarrow = useMedia("(max-width: 600px)");

  useEffect(() => {
    const element = holder.current;
    if (!element || series.length === 0) return;
    const style = getComputedStyle(element);
    const [accent, wash, line, muted] = ["--accent", "--wash", "--line", "--muted"].map((name) =>
      style.getPropertyValue(name).trim(),
    );
    const times = series.map((each) => new Date(each.bucket).getTime() / 1000);
    const values = series.map((each) => each[measure]);
    // The last bucket is incomplete, so the line to it is dashed.
    const isOpen = series.length > 1 && new Date(props.asOf) < new Date(range.end);
    const last = values.length - 1;
    const whole = isOpen ? values.map((value, index) => (index === last ? null : value)) : values;
    const rest = isOpen ? values.map((value, index) => (index >= last - 1 ? value : null)) : values.map(() => null);
    const font = `11px ${style.fontFamily}`;
    const axis = { stroke: muted!, font, ticks: { show: false }, grid: { stroke: line!, width: 1 } };
    const points = { show: series.length <= 45, size: 4, fill: accent! };
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), range.timezone),
        legend: { show: false },
        padding: [8, 8, 0, 0],
        cursor: { y: false, points: { size: 7, fill: accent! }, drag: { x: false, y: false } },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.08, 1)] } },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 30,
            space: isNarrow ? 70 : 90,
            values: (_, splits) =>
              splits.map((each) => format.dated(each * 1000, range.timezone, AXIS[range.granularity]!)),
          },
          {
            ...axis,
            size: 46,
            incrs: [
              1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6,
              1e7,
            ],
            values: (_, splits) => splits.map(format.compact),
          },
        ],
        series: [
          {},
          { stroke: accent!, width: 2, fill: wash!, points },
          { stroke: accent!, width: 2, dash: [4, 4], points },
        ],
        hooks: { setCursor: [(drawn) => setAt(drawn.cursor.idx ?? null)] },
      },
      [times, whole, rest] as uPlot.AlignedData,
      element,
    );
    const sizes = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      plot.destroy();
    };
  }, [series, measure, range.timezone, range.granularity, isDark, isNarrow]);

  const most = series.reduce((best, each) => (each[measure] > best[measure] ? each : best), series[0]!);
  const pointed = at === null ? null : series[at];
  return (
    <figure class="chart">
      <figcaption>
        <span aria-hidden="true">
          {pointed ? (
            <>
              <b>{format.count(pointed[measure])}</b> {measure} ·{" "}
              {format.bucket(pointed.bucket, range.granularity, range.timezone)}
            </>
          ) : (
            <>
              highest: <b>{format.count(most[measure])}</b> ·{" "}
              {format.bucket(most.bucket, range.granularity, range.timezone)}
            </>
          )}
        </span>
        <button type="button" class="quiet" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
          Table
        </button>
      </figcaption>
      <div
        ref={holder}
        class="plot"
        role="img"
        aria-label={`${measure} by ${range.granularity}: ${series.length} values, at most ${format.count(most[measure])} (${format.bucket(most.bucket, range.granularity, range.timezone)}). The table shows all of them.`}
      />
      <div class={isTable ? "below" : "hidden"}>
        <Table
          caption={`Events, users and sessions by ${range.granularity}`}
          rows={series}
          keyOf={(each) => each.bucket}
          columns={[
            {
              title: range.granularity[0]!.toUpperCase() + range.granularity.slice(1),
              cell: (each) => format.bucket(each.bucket, range.granularity, range.timezone),
            },
            { title: "Events", isNumber: true, cell: (each) => format.count(each.events) },
            { title: "Users", isNumber: true, cell: (each) => format.count(each.users) },
            { title: "Sessions", isNumber: true, cell: (each) => format.count(each.sessions) },
          ]}
        />
      </div>
    </figure>
  );
}
