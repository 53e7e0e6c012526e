"""``airflow drchrono conformance``: asks the service what the catalogue infers, and prints a report to be posted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from argparse import Namespace
from pathlib import Path

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.conformance.findings import Report
from airflow_provider_drchrono.conformance.run import all_questions, all_steps, run
from airflow_provider_drchrono.conformance.session import MOST_CALLS
from airflow_provider_drchrono.conformance.step import Step
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

MARKDOWN = "conformance.md"
JSON = "conformance.json"

KEPT = "\nWhat was found is kept: run the same command again to go on"


def conformance(args: Namespace) -> None:
    """Ask what has not been asked yet, and print the report.

    :param args: ``conn_id``, ``output`` (``markdown`` or ``json``), ``save`` (a folder for both), ``state`` and
        ``fresh``.
    """
    path = Path(args.state).expanduser() if args.state else state_path(args.conn_id)
    if args.fresh:
        path.unlink(missing_ok=True)
    _say(f"At most {MOST_CALLS} calls, which only read; bulk lists are started by POST, which creates no record.")
    hook = DrChronoHook(args.conn_id)
    try:
        report = run(
            hook.settings, token_store=hook.token_store, quota=hook.quota, state_path=path, progress=_say_progress
        )
    except DrChronoError as error:
        raise SystemExit(f"{error}{KEPT if path.exists() else ''}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"\nStopped.{KEPT}") from None
    in_json = json.dumps(report.in_json(), indent=2) + "\n"
    in_markdown = report.in_markdown(all_questions())
    if args.save:
        _save(Path(args.save).expanduser(), in_markdown, in_json)
    print(in_json if args.output == "json" else in_markdown, end="")
    _say(_advice(report, path))


def state_path(conn_id: str) -> Path:
    """Return where the state of a connection's run is kept if nobody says where."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", conn_id)[:60]
    unique = hashlib.sha256(conn_id.encode()).hexdigest()[:8]
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return home / "drchrono" / "conformance" / f"{plain}-{unique}.json"


def _say_progress(step: Step, calls: int) -> None:
    steps = all_steps()
    number = next(index for index, each in enumerate(steps, 1) if each.id == step.id)
    _say(f"{number} of {len(steps)}: {step.id} ({calls} calls so far)")


def _say(line: str) -> None:
    # Beside the report, which may be piped into a file.
    print(line, file=sys.stderr)


def _save(folder: Path, in_markdown: str, in_json: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKDOWN).write_text(in_markdown, encoding="utf-8")
        (folder / JSON).write_text(in_json, encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"The report cannot be written to {folder}: {error.strerror}") from None


def _advice(report: Report, path: Path) -> str:
    kept = f"The findings are kept in {path}; --fresh asks everything again."
    return f"{kept} Hand the facts of the report to the connection as its facts." if report.facts else kept
