import { useEffect, useState } from "preact/hooks";

export function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChoose: (value: T) => void;
}) {
  return (
    <fieldset class="choice">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChoose(value)}>
          {text}
        </button>
      ))}
    </fieldset>
  );
}

export function Copy(props: { text: string; what?: string }) {
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [isDone]);
  const copy = () =>
    navigator.clipboard?.writeText(props.text).then(
      () => setDone(true),
      () => setDone(false),
    );
  return (
    <button type="button" class="quiet" onClick={copy} aria-label={`Copy ${props.what ?? "it"}`}>
      {isDone ? "Copied" : "Copy"}
    </button>
  );
}
