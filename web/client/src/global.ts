/** `/muster.js`: puts `muster` on the page, and does what its snippet or its script tag asked for. */
import { type Call, flush, identify, init, page, replay, reset, setConsent, status, track } from "./index";
import type { Options } from "./types";

const scope = globalThis as { muster?: { q?: Call[] } };
const calls = scope.muster ? scope.muster.q : [];
const script = document.currentScript as HTMLScriptElement;

// Without a queue it is there already: a page may hold the script twice.
if (calls) {
  scope.muster = { init, track, page, identify, setConsent, flush, reset, status } as object;
  // For pages whose policy forbids scripts of their own: <script src="https://…/muster.js" data-key="mw_…">.
  const { key, ...settings } = script?.dataset ?? {};
  if (key) {
    init({ url: new URL(script.src).origin, key, ...settings } as Options);
    void page();
  }
  replay(calls);
}
