/** `/muster.js`: defines `muster` on the page, and runs the calls of the page's snippet or script tag. */
import { type Call, flush, identify, init, page, replay, reset, setConsent, status, track } from "./index";
import type { Options } from "./types";

const scope = globalThis as { muster?: { q?: Call[] } };
const calls = scope.muster ? scope.muster.q : [];
const script = document.currentScript as HTMLScriptElement;

// No queue means that the script has already run: a page can include it twice.
if (calls) {
  scope.muster = { init, track, page, identify, setConsent, flush, reset, status } as object;
  // For pages with a policy that forbids inline scripts: <script src="https://…/muster.js" data-key="mw_…">.
  const { key, ...settings } = script?.dataset ?? {};
  if (key) {
    init({ url: new URL(script.src).origin, key, ...settings } as Options);
    void page();
  }
  replay(calls);
}
