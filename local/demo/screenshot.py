"""`make screenshot`: takes docs/dashboard.png of the dashboard with demo data."""

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from local.cli.run import PARAMETERS, environment_of, prepare
from local.demo.fill import fill
from local.gateway.logs import FunctionLogs
from local.gateway.server import local_api
from local.paths import PROJECT
from local.postgres import start_postgres

FILE = PROJECT / "docs" / "dashboard.png"
MAX_BYTES = 200_000
CHROMIUM = "/usr/bin/chromium"


def main() -> int:
    """Run the command. Return 1 if the screenshot is too large for a README."""
    with tempfile.TemporaryDirectory(prefix="muster-screenshot-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's user must reach its data
        log = folder / "functions.log"
        with start_postgres(folder / "postgres", durable=False) as postgres:
            keys = prepare(postgres.url, {}, log)
            environment = environment_of(postgres.url)
            with local_api(environment=environment, parameters=PARAMETERS, logs=FunctionLogs(file=log)) as api:
                fill(api.url, keys)
                _take(api.url, keys["read"])
    size = FILE.stat().st_size
    print(f"{FILE.relative_to(PROJECT)}: {size:,} bytes")
    return 0 if size < MAX_BYTES else 1


def _take(url: str, key: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 860}, locale="en-GB", timezone_id="Europe/Berlin")
        page.add_init_script(f"sessionStorage.setItem('muster.key', {json.dumps(key)})")
        page.goto(f"{url}/#/overview?timeframe=month")
        page.get_by_role("heading", name="Data", exact=True).wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=FILE)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
