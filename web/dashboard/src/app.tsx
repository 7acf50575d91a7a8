import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { key, kindOf } from "./api";
import * as format from "./format";
import { type Loaded, useApi, useOnline } from "./hooks";
import { KeyEntry } from "./key-entry";
import { linkTo, type Route, useRoute } from "./route";
import type { Diagnostics } from "./types";
import { DiagnosticsView } from "./views/diagnostics";
import { FunnelView } from "./views/funnel";
import { LiveView } from "./views/live";
import { Overview } from "./views/overview";
import { PilotView } from "./views/pilot";
import { RetentionView } from "./views/retention";
import { SessionsView } from "./views/sessions";
import { UsersView } from "./views/users";

export interface ViewProps {
  route: Route;
  isAdmin: boolean;
  health: Loaded<Diagnostics>;
}

const VIEWS: Record<string, { name: string; view: ComponentType<ViewProps> }> = {
  overview: { name: "Overview", view: Overview },
  live: { name: "Live", view: LiveView },
  funnel: { name: "Funnel", view: FunnelView },
  retention: { name: "Retention", view: RetentionView },
  sessions: { name: "Sessions", view: SessionsView },
  users: { name: "Users", view: UsersView },
  pilot: { name: "Pilot", view: PilotView },
  diagnostics: { name: "Diagnostics", view: DiagnosticsView },
};
const HEALTH_EVERY_MS = 60_000;

export function App() {
  const [given, setGiven] = useState(key.get);
  const [refusal, setRefusal] = useState<string | null>(null);
  const leave = (why: string | null) => {
    key.forget();
    setRefusal(why);
    setGiven(null);
  };
  useEffect(() => {
    const refused = (event: Event) => leave((event as CustomEvent<string>).detail);
    addEventListener("keyrefused", refused);
    return () => removeEventListener("keyrefused", refused);
  }, []);
  if (given === null) {
    return (
      <KeyEntry
        refusal={refusal}
        onKey={(text) => {
          key.set(text);
          setGiven(text);
        }}
      />
    );
  }
  return <Project isAdmin={kindOf(given) === "admin"} onLeave={() => leave(null)} />;
}

function Project(props: { isAdmin: boolean; onLeave: () => void }) {
  const route = useRoute();
  const isOnline = useOnline();
  const health = useApi<Diagnostics>("/v1/diagnostics", { everyMs: HEALTH_EVERY_MS });
  const project = health.data?.project;
  const main = useRef<HTMLElement>(null);
  const { name, view: View } = VIEWS[route.view] ?? VIEWS.overview!;
  const place = `${route.view}/${route.of ?? ""}`;
  const before = useRef(place);
  useEffect(() => {
    document.title = [route.of ?? name, project?.name, "Muster"].filter(Boolean).join(" · ");
    // A screen reader starts at the top of a new view.
    if (before.current !== place) main.current?.focus();
    before.current = place;
  }, [place, name, route.of, project?.name]);
  return (
    <div class="frame">
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the view
      </button>
      <header class="top">
        <a class="brand" href={linkTo("overview", route.params)}>
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M7 23V10l9 8 9-8v13" />
          </svg>
          Muster
        </a>
        {project && <span class="project">{project.name}</span>}
        <HealthLight health={health} route={route} />
        <span class="grow" />
        <span class="kind" title="The kind of your key">
          {props.isAdmin ? "admin key" : "read key"}
        </span>
        <button type="button" class="quiet" onClick={props.onLeave}>
          Change key
        </button>
      </header>
      <nav aria-label="Views">
        <ul>
          {Object.entries(VIEWS).map(([id, each]) => (
            <li key={id}>
              <a href={linkTo(id, route.params)} aria-current={each.view === View ? "page" : undefined}>
                {each.name}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <main ref={main} tabIndex={-1} id="main">
        {!isOnline && (
          <p class="banner" role="status">
            This device is offline. The data below may be out of date. It reloads when the network is back.
          </p>
        )}
        <h1 class={route.of === null ? "" : "hidden"}>{name}</h1>
        <View key={place} route={route} isAdmin={props.isAdmin} health={health} />
      </main>
    </div>
  );
}

const STATUSES = { ok: "Healthy", degraded: "Degraded", failing: "Failing" };

function HealthLight(props: { health: Loaded<Diagnostics>; route: Route }) {
  const { data, error } = props.health;
  const count = (status: string) => data?.checks.filter((check) => check.status === status).length ?? 0;
  const state = error ? "failing" : (data?.status ?? "unknown");
  const problems =
    data?.status === "failing" ? format.counted(count("fail"), "failure") : format.counted(count("warn"), "warning");
  const text = error
    ? "Unreachable"
    : data === null
      ? "Checking…"
      : data.status === "ok"
        ? STATUSES.ok
        : `${STATUSES[data.status]}: ${problems}`;
  return (
    <a class={`light ${state}`} href={linkTo("diagnostics", props.route.params)} aria-label={`Health: ${text}`}>
      <i aria-hidden="true" />
      <span>{text}</span>
    </a>
  );
}
