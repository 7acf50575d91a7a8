"""`make picture`: docs/dashboard.png, the demo's study as a browser shows it."""

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from local.demo.fill import fill
from local.demo.run import running
from local.paths import PROJECT
from local.ports import free_port

FILE = PROJECT / "docs" / "dashboard.png"
MAX_BYTES = 200_000
CHROMIUM = "/usr/bin/chromium"


def main() -> int:
    """The command line; 1 when the picture is too large for a README."""
    with (
        tempfile.TemporaryDirectory(prefix="muster-picture-") as folder,
        running(free_port(), Path(folder), fresh=False) as (_, state),
    ):
        fill(state["url"], state["keys"])
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(
                viewport={"width": 1200, "height": 860}, locale="en-GB", timezone_id="Europe/Berlin"
            )
            page.add_init_script(f"sessionStorage.setItem('muster.key', {json.dumps(state['keys']['read'])})")
            page.goto(f"{state['url']}/#/overview?timeframe=month")
            page.get_by_role("heading", name="Data", exact=True).wait_for()
            page.wait_for_load_state("networkidle")
            page.screenshot(path=FILE)
            browser.close()
    size = FILE.stat().st_size
    print(f"{FILE.relative_to(PROJECT)}: {size:,} bytes")
    return 0 if size < MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
