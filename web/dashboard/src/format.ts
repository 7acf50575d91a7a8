// Formats numbers and times in the reader's language and in the chosen time zone.

const LANGUAGE = navigator.language;
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(LANGUAGE, {
  style: "percent",
  maximumFractionDigits: 1,
  signDisplay: "exceptZero",
});
const plural = new Intl.PluralRules("en");

export const count = (value: number): string => whole.format(value);
export const decimal = (value: number): string => fine.format(value);
export const compact = (value: number): string => short.format(value);
const rough = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 0 });
export const rounded = (value: number): string => rough.format(value);
export const percent = (value: number): string => share.format(value);

export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${plural.select(value) === "one" ? one : many}`;
}

/** The change from one number to another as a percentage. Null if the first is 0. */
export function changed(from: number, to: number): string | null {
  return from === 0 ? null : signed.format((to - from) / from);
}

const units = new Map<string, Intl.NumberFormat>();
function unit(value: number, name: string, digits = 0): string {
  const id = `${name}${digits}`;
  if (!units.has(id)) {
    units.set(
      id,
      new Intl.NumberFormat(LANGUAGE, {
        style: "unit",
        unit: name,
        unitDisplay: "narrow",
        maximumFractionDigits: digits,
      }),
    );
  }
  return units.get(id)!.format(value);
}

/** A duration in its two largest units. */
export function duration(seconds: number): string {
  if (seconds < 60) return unit(seconds, "second", seconds < 10 ? 1 : 0);
  const total = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(total / 86_400), "day"],
    [Math.floor(total / 3600) % 24, "hour"],
    [Math.floor(total / 60) % 60, "minute"],
    [total % 60, "second"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, name]) => unit(value, name))
    .join(" ");
}

const formats = new Map<string, Intl.DateTimeFormat>();
export function dated(when: string | number, zone: string, options: Intl.DateTimeFormatOptions): string {
  const id = zone + JSON.stringify(options);
  if (!formats.has(id)) formats.set(id, new Intl.DateTimeFormat(LANGUAGE, { ...options, timeZone: zone }));
  return formats.get(id)!.format(new Date(when));
}

export const moment = (when: string | number, zone: string): string =>
  dated(when, zone, { dateStyle: "medium", timeStyle: "medium" });
export const day = (when: string | number, zone: string): string => dated(when, zone, { dateStyle: "medium" });
export const clock = (when: string | number, zone: string): string => dated(when, zone, { timeStyle: "medium" });

const BUCKET: Record<string, Intl.DateTimeFormatOptions> = {
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "short", day: "numeric", month: "short" },
  week: { day: "numeric", month: "short", year: "numeric" },
  month: { month: "long", year: "numeric" },
};
export function bucket(when: string | number, granularity: string, zone: string): string {
  const text = dated(when, zone, BUCKET[granularity] ?? BUCKET.day!);
  return granularity === "week" ? `Week of ${text}` : text;
}

const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"],
  [3600, "minute"],
  [86_400, "hour"],
  [86_400 * 30, "day"],
  [86_400 * 365, "month"],
];
export function ago(when: string, now = Date.now()): string {
  const seconds = (new Date(when).getTime() - now) / 1000;
  let size = 1;
  for (const [below, name] of STEPS) {
    if (Math.abs(seconds) < below) return relative.format(Math.round(seconds / size), name);
    size = below;
  }
  return relative.format(Math.round(seconds / (86_400 * 365)), "year");
}

export const shortId = (id: string): string => (id.length > 13 ? `${id.slice(0, 8)}…` : id);
