/** A page that shows the state of its events. Open it with `?url=http://127.0.0.1:3000&key=mw_…`. */
import { AnalyticsProvider, useAnalytics } from "muster-react";
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";

const CONSENT_VERSION = "2026-05";

function Consent() {
  const { consent, setConsent } = useAnalytics();
  if (consent) return null;
  return (
    <section className="consent">
      <p>May this page count what you click on?</p>
      <button type="button" onClick={() => setConsent("granted", CONSENT_VERSION)}>
        Yes
      </button>
      <button type="button" onClick={() => setConsent("denied", CONSENT_VERSION)}>
        No
      </button>
    </section>
  );
}

function Buttons() {
  const { trackEvent, trackPage, identify, reset } = useAnalytics();
  useEffect(() => {
    void trackPage();
  }, [trackPage]);
  return (
    <p>
      <button type="button" onClick={() => trackEvent("plan_chosen", "pricing", { plan: "pilot" })}>
        Choose a plan
      </button>
      <button type="button" onClick={() => identify("ada")}>
        Log in as ada
      </button>
      <button type="button" onClick={() => reset()}>
        Log out
      </button>
    </p>
  );
}

const list = (counts: Record<string, number> = {}) =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ") || "none";

function ClientStatus() {
  const { status, enabled, sessionId, userId, queued } = useAnalytics();
  return (
    <dl>
      <dt>Enabled</dt>
      <dd>{enabled ? "yes" : `no: ${status?.reason ?? "not started"}`}</dd>
      <dt>Session</dt>
      <dd>{sessionId ?? "none"}</dd>
      <dt>User</dt>
      <dd>{userId ?? "anonymous"}</dd>
      <dt>Held for consent</dt>
      <dd>{status?.held ?? 0}</dd>
      <dt>Queued on this device</dt>
      <dd>{queued}</dd>
      <dt>Sent</dt>
      <dd>{list(status?.sent)}</dd>
      <dt>Rejected</dt>
      <dd>{list(status?.rejected)}</dd>
      <dt>Last error</dt>
      <dd>{status?.lastError ? `${status.lastError.code} ${status.lastError.message}` : "none"}</dd>
    </dl>
  );
}

const parameters = new URLSearchParams(location.search);
createRoot(document.getElementById("app")!).render(
  <StrictMode>
    <AnalyticsProvider
      url={parameters.get("url") ?? "http://127.0.0.1:3000"}
      writeKey={parameters.get("key") ?? "mw_…"}
      consent="required"
    >
      <h1>Muster in React</h1>
      <Consent />
      <Buttons />
      <ClientStatus />
    </AnalyticsProvider>
  </StrictMode>,
);
