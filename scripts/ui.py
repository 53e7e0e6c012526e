"""``make ui``: Airflow in the browser, with the example DAGs, their connections and the sandbox behind them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from playground import BIN, ROOT, Playground


def main() -> None:
    """Start the sandbox and ``airflow standalone``; both end with Ctrl-C."""
    port = os.environ.get("UI_PORT", "8080")
    patients = os.environ.get("DEMO_PATIENTS", "2000")
    play = Playground(ROOT / ".demo" / "ui")
    play.prepare()
    with play.sandbox("--patients", patients, "--quota-per-hour", "off", "--quota-per-second", "off"):
        wanted = play.folder / "connections.json"
        wanted.touch(mode=0o600)
        wanted.write_text(json.dumps(play.connections))
        # In Airflow's database rather than in the environment, so that the UI lists them.
        play.connections = {}
        play.airflow("connections", "import", "--overwrite", str(wanted), log="connections.log")
        wanted.unlink()
        print(f"The sandbox is at {play.sandbox_url}.")
        print(f"Airflow will be at http://localhost:{port}; no password is asked.")
        print("Trigger the DAG drchrono_to_warehouse and look at what its tasks return.")
        print("Ctrl-C ends both.", flush=True)
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


if __name__ == "__main__":
    main()
