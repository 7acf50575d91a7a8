// The frames of a view's content.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import * as format from "../format";

export function Panel(props: {
  title: string;
  children: ComponentChildren;
  actions?: ComponentChildren;
  note?: ComponentChildren;
  busy?: boolean;
  class?: string;
}) {
  const id = useId();
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={id} aria-busy={props.busy ?? false}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.note && <p class="note">{props.note}</p>}
      {props.children}
    </section>
  );
}

export function Tile(props: {
  name: string;
  value: string;
  from?: number;
  to?: number;
  isWorseUp?: boolean;
  note?: string;
}) {
  const { from, to } = props;
  const change = from === undefined || to === undefined ? null : format.changed(from, to);
  const direction =
    from === undefined || to === undefined || from === to
      ? "same"
      : to > from !== (props.isWorseUp ?? false)
        ? "better"
        : "worse";
  return (
    <div class="tile">
      <dt>{props.name}</dt>
      <dd>
        <b>{props.value}</b>
        {change !== null && (
          <span class={`change ${direction}`}>
            {change}
            <span class="hidden"> compared with the previous range</span>
          </span>
        )}
        {change === null && (props.note || (from === 0 && to ? "no earlier data" : "")) && (
          <span class="change same">{props.note ?? "no earlier data"}</span>
        )}
      </dd>
    </div>
  );
}
