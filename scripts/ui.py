"""``make ui``: Airflow in the browser, with the example DAGs, their connections and the sandbox behind them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
from itertools import count
from pathlib import Path

from playground import BIN, ROOT, WAREHOUSE_CONN_ID, Playground

CHANGES, EVERY = 12, 30.0
"""So many records are new or changed each so many seconds; six of a hundred are new patients."""

POLL_INTERVAL = 20
"""Seconds; nobody wants to wait for the six minutes of the example."""

WHAT_TO_CLICK = """
Airflow will be at {airflow}; no password is asked. Ctrl-C ends all of it.

  Dags > drchrono_to_warehouse > Trigger     syncs the practice; look at what its tasks return, then trigger it again:
                                             only what has changed meanwhile is read
  Dags > drchrono_new_patients               runs by itself: a new patient comes about once a minute, and is invited
  Dags > drchrono_approve_no_shows > Trigger waits for your yes under Required Actions
  Assets > .../patients                      what watches the list, and which DAG it starts
  Admin > Connections > drchrono_default     the form; its Test button says whose practice it is. That of
                                             {warehouse} cannot work on Airflow 3.3.1 and 3.3.2, which refuse
                                             saved connections without a port
  Admin > DrChrono authorization             where a connection is authorized

The practice is at {sandbox}. It changes by itself: {changes} records every {every:.0f} seconds.
"""


def main() -> None:
    """Start the sandbox and ``airflow standalone``; both end with Ctrl-C."""
    port = os.environ.get("UI_PORT", "8080")
    patients = os.environ.get("DEMO_PATIENTS", "2000")
    folder = ROOT / ".demo" / "ui"
    play = Playground(folder, dags=quick_examples(folder / "dags"))
    play.prepare()
    with play.sandbox("--patients", patients, "--quota-per-hour", "off", "--quota-per-second", "off"):
        wanted = play.folder / "connections.json"
        wanted.touch(mode=0o600)
        wanted.write_text(json.dumps(play.connections))
        # In Airflow's database rather than in the environment, so that the UI lists them.
        play.connections = {}
        play.airflow("connections", "import", "--overwrite", str(wanted), log="connections.log")
        wanted.unlink()
        said = WHAT_TO_CLICK.format(
            airflow=f"http://localhost:{port}",
            sandbox=play.sandbox_url,
            warehouse=WAREHOUSE_CONN_ID,
            changes=CHANGES,
            every=EVERY,
        )
        print(said, flush=True)
        threading.Thread(target=keep_busy, args=[play], daemon=True).start()
        environment = play.environment | {
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        }
        try:
            done = subprocess.run([BIN / "airflow", "standalone"], env=environment, check=False)
        except KeyboardInterrupt:
            return
        sys.exit(done.returncode)


def quick_examples(folder: Path) -> Path:
    """Copy the examples; the one that watches for new patients is on from the start, and polls more often."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "example_dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "drchrono_new_patients.py"
    source = path.read_text()
    for usual, here in (
        ('change="created")', f'change="created", poll_interval={POLL_INTERVAL})'),
        ('dag_id="drchrono_new_patients",', 'dag_id="drchrono_new_patients",\n    is_paused_upon_creation=False,'),
    ):
        if source.count(usual) != 1:
            raise SystemExit(f"{path.name} has changed: {usual!r} is not in it once; mend quick_examples in {__file__}")
        source = source.replace(usual, here)
    path.write_text(source)
    return folder


def keep_busy(play: Playground) -> None:
    """Let the practice work until the sandbox is gone."""
    for seed in count():
        time.sleep(EVERY)
        try:
            play.ask("POST", "churn", {"seed": seed, "changes": CHANGES})
        except (urllib.error.URLError, OSError):
            return


if __name__ == "__main__":
    main()
