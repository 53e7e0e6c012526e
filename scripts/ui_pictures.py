"""Takes the pictures of the documentation from a running Airflow, so that they show what there is: ``make pictures``.

It starts ``make ui``'s Airflow and practice on free ports, lets the examples run, and drives a Chromium through the
pages. The practice is made up, so nothing in the pictures is anybody's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.browser import Browser, chromedriver, free_port  # noqa: E402 - the repository is no package

IMAGES = ROOT / "docs" / "images"
PATIENCE = 240.0
SYNC, WATCHER, GRAPH = "drchrono_to_warehouse", "drchrono_new_patients", "drchrono_lab_orders_to_tasks"


def main() -> int:
    """Take all pictures."""
    port = str(free_port())
    environment = os.environ | {"UI_PORT": port, "DEMO_PATIENTS": "60"}
    with (ROOT / ".demo" / "pictures.log").open("w") as log:
        airflow = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "ui.py")],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://localhost:{port}", timeout=30) as http, chromedriver() as launch:
            run_examples(http)
            take_all(launch(), http)
    finally:
        # As Ctrl-C does: Airflow's own processes end only if they are asked, too.
        os.killpg(airflow.pid, signal.SIGINT)
        airflow.wait(timeout=60)
    return 0


def run_examples(http: httpx.Client) -> None:
    """Run the sync once, and wait until the watcher has started a run of its own."""
    wait(lambda: http.get(f"/api/v2/dags/{WATCHER}").status_code == 200, "Airflow to know the examples")
    http.patch(f"/api/v2/dags/{SYNC}", json={"is_paused": False}).raise_for_status()
    http.post(f"/api/v2/dags/{SYNC}/dagRuns", json={"logical_date": None}).raise_for_status()
    for dag in (SYNC, WATCHER):
        wait(partial(has_succeeded, http, dag), f"a run of {dag}")


def has_succeeded(http: httpx.Client, dag: str) -> bool:
    """Tell whether a run of a DAG has."""
    return any(each["state"] == "success" for each in http.get(f"/api/v2/dags/{dag}/dagRuns").json()["dag_runs"])


def take_all(browser: Browser, http: httpx.Client) -> None:
    """Open each page and take its picture."""
    site = str(http.base_url).rstrip("/")
    browser.open(f"{site}/connections?search=drchrono_default")
    browser.click("[aria-label='Edit Connection']")
    browser.wait_for("Base URL")
    take(browser, "connection-form")
    browser.open(f"{site}/dags/{GRAPH}")
    browser.click("[aria-label^='Show Graph']")
    browser.wait_for("follow_ups")
    take(browser, "dag-graph")
    asset = next(
        each
        for each in http.get("/api/v2/assets").json()["assets"]
        if each["scheduled_dags"] and each["scheduled_dags"][0]["dag_id"] == WATCHER
    )
    browser.open(f"{site}/assets/{asset['id']}")
    browser.wait_for(WATCHER)
    take(browser, "asset-graph")


def take(browser: Browser, name: str) -> None:
    """Take a picture once the page stands still."""
    time.sleep(4)
    browser.screenshot(IMAGES / f"{name}.png", "light")
    print(f"docs/images/{name}.png", flush=True)


def wait(look: Callable[[], Any], what: str) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            if look():
                return
        except (httpx.TransportError, KeyError, ValueError):
            pass
        time.sleep(1)
    raise SystemExit(f"Waited {PATIENCE:.0f} s for {what}; .demo/pictures.log says what Airflow does")


if __name__ == "__main__":
    sys.exit(main())
