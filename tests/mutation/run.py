"""Puts small faults into a module, one at a time, and asks whether the nearest tests notice: ``make mutation``.

Usage: ``run.py client.retry [--sample 40] [--seed 1]``. It works on a copy, prints each fault that nobody noticed, and
fails where fewer than nine in ten were noticed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_provider_drchrono"
BIN = Path(sys.executable).parent
WANTED = 0.9
LONGEST_BASELINE = 240.0
MOST_MEMORY = 4 * 2**30
"""Bytes; a loop that a fault makes endless must not take the machine's."""

UNIT = "tests/unit"
CLIENT, INCREMENTAL, OPERATORS = f"{UNIT}/client", f"{UNIT}/incremental", f"{UNIT}/operators/base"
NEAREST = {
    "client.bounds": f"{CLIENT}/test_bounds.py {CLIENT}/test_settings.py",
    "client.filters": f"{CLIENT}/test_filters.py",
    "client.paging": f"{CLIENT}/test_paging.py {CLIENT}/test_synchronous.py {CLIENT}/test_request_links.py",
    "client.quota.pace": f"{CLIENT}/quota",
    "client.quota.state": f"{CLIENT}/quota",
    "client.request_runner": f"{CLIENT}/test_request_runner.py {CLIENT}/test_request_links.py {CLIENT}/quota",
    "client.retry": f"{CLIENT}/test_retry.py {CLIENT}/test_bulk_lists.py {CLIENT}/test_request_runner.py",
    "client.token_endpoint": f"{CLIENT}/test_auth.py {CLIENT}/test_authorization.py",
    "hooks.many_hosts": f"{UNIT}/hooks/test_many_hosts.py",
    "incremental.clocks": f"{INCREMENTAL}/test_clocks.py",
    "incremental.cursor": f"{INCREMENTAL}/test_cursor.py {INCREMENTAL}/test_detection.py",
    "incremental.detection": f"{INCREMENTAL}/test_detection.py {INCREMENTAL}/test_cursor.py",
    "incremental.suspicion": f"{INCREMENTAL}/test_suspicion.py",
    "incremental.window": f"{INCREMENTAL}/test_window.py",
    "operators.base.creates": f"{OPERATORS}/test_creates.py {OPERATORS}/test_lost_creates.py",
    "operators.base.field_rules": f"{OPERATORS}/test_field_rules.py",
    "operators.base.validation": f"{OPERATORS}/test_validation.py {OPERATORS}/test_field_rules.py",
    "state.lease": f"{UNIT}/state/test_lease.py {UNIT}/state/test_waiting_for_the_lease.py",
    "transfers.bulk_reading": f"{UNIT}/transfers/test_bulk_reading.py tests/airflow/test_warehouse_bulk.py",
    "transfers.extraction": f"{UNIT}/transfers/test_extraction.py",
    "transfers.staging": f"{UNIT}/transfers",
    "transfers.sync": "tests/airflow/test_warehouse_sync.py tests/airflow/test_suspicious_syncs.py "
    "tests/airflow/test_syncs_and_clocks.py",
    "warehouses.deletions": f"{UNIT}/warehouses/test_deletions.py {UNIT}/warehouses/test_sqlite.py",
}
"""The tests that are asked about each module that decides."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("module", choices=NEAREST)
    parser.add_argument("--sample", type=int, help="so many of the faults, by chance; all of them by default")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with tempfile.TemporaryDirectory(prefix="drchrono-mutation-") as folder:
        return run(Path(folder), given.module, given.sample, given.seed)


def run(folder: Path, module: str, sample: int | None, seed: int) -> int:
    for name in (PACKAGE, "tests", "example_dags", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    target = f"{PACKAGE}/{module.replace('.', '/')}.py"
    config, session = folder / "mutation.toml", folder / "session.sqlite"
    tests = f"{sys.executable} -m pytest -q -x {NEAREST[module]}"
    write = (
        f'[cosmic-ray]\nmodule-path = "{target}"\ntimeout = {{timeout}}\nexcluded-modules = []\n'
        f'test-command = "{tests}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    config.write_text(write.format(timeout=LONGEST_BASELINE))
    # By the hash of the source: by its time, a faulty module could pass for the whole one of the same second.
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", PACKAGE]
    subprocess.run(compiled, cwd=folder, check=True)
    cosmic_ray(folder, "init", config, session)
    leave_out(session, sample, seed)
    # A suite that fails by itself would notice everything.
    began = time.monotonic()
    cosmic_ray(folder, "baseline", config)
    # A fault that makes a loop endless is noticed by its time.
    config.write_text(write.format(timeout=10 + 3 * (time.monotonic() - began)))
    cosmic_ray(folder, "exec", config, session)
    return report(session, module, seed)


def cosmic_ray(folder: Path, *arguments: object) -> None:
    command = [BIN / "cosmic-ray", *map(str, arguments)]
    # Else the copy's modules would be read from bytecode that is as old as the fault, to the second.
    subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, check=True)


def leave_out(session: Path, sample: int | None, seed: int) -> None:
    """Leave out what can hardly change a result, and all but a sample of the rest."""
    with use_db(session) as work:
        items = list(work.work_items)
        idle = [each for each in items if any(map(is_idle, each.mutations))]
        able = [each for each in items if each not in idle]
        chosen = random.Random(seed).sample(able, min(sample or len(able), len(able)))
        kept = {each.job_id for each in chosen}
        for each in items:
            if each.job_id not in kept:
                work.set_result(each.job_id, WorkResult(WorkerOutcome.SKIPPED))


def is_idle(fault: MutationSpec) -> bool:
    """Tell whether it nearly always is in an annotation, which nobody evaluates, or in what changes no result."""
    line = (ROOT / fault.module_path).read_text(encoding="utf-8").splitlines()[fault.start_pos[0] - 1]
    return "BitOr" in fault.operator_name or line.startswith(("@dataclass", "@lru_cache", "if TYPE_CHECKING"))


def report(session: Path, module: str, seed: int) -> int:
    with use_db(session) as work:
        # Another outcome is a fault that was left out, or that the tool could not make.
        results = [result for _, result in work.results if result.worker_outcome is WorkerOutcome.NORMAL]
    unnoticed = [each for each in results if each.test_outcome is TestOutcome.SURVIVED]
    for each in unnoticed:
        print(f"\nNobody noticed:\n{each.diff}")
    share = 1 - len(unnoticed) / len(results)
    print(
        f"\n{module}: {len(results) - len(unnoticed)} of {len(results)} faults were noticed ({share:.0%}), seed {seed}"
    )
    return int(share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
