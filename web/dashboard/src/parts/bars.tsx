export interface Bar {
  value: string | null;
  label?: string;
  size: number;
  text: string;
  note?: string;
  isChosen?: boolean;
  href?: string;
}

/** Values with bars by size. Choosing one filters by it. */
export function Bars(props: { label: string; bars: Bar[]; onChoose?: (value: string) => void }) {
  const most = Math.max(1, ...props.bars.map((bar) => bar.size));
  return (
    <ul class="bars" aria-label={props.label}>
      {props.bars.map((bar) => {
        const name = bar.label ?? bar.value ?? "(none)";
        const inside = (
          <>
            <i style={{ width: `${(100 * bar.size) / most}%` }} />
            <span class={bar.value === null ? "name muted" : "name"}>{name}</span>
            {bar.note && <span class="of">{bar.note}</span>}
            <b>{bar.text}</b>
          </>
        );
        const { onChoose } = props;
        return (
          <li key={name}>
            {bar.href ? (
              <a class="bar" href={bar.href}>
                {inside}
              </a>
            ) : onChoose && bar.value !== null ? (
              <button
                type="button"
                class="bar"
                aria-pressed={bar.isChosen ?? false}
                title={`Filter by ${name}`}
                onClick={() => onChoose(bar.value!)}
              >
                {inside}
              </button>
            ) : (
              <span class="bar">{inside}</span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
