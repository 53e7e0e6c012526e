"""A read in bulk is killed again and again with a signal that nothing can catch: no page is paid for twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.transfers.staging import Plan, Staging
from airflow_provider_drchrono.transfers.staging_files import LocalFolder

pytestmark = pytest.mark.integration

PATIENTS, SIZE = 400, 10
PAGES = PATIENTS // SIZE
KILLS = 12
PATIENCE = 120

READER = """
import json, sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import ClientSettings, DrChronoClient, FileTokenStore
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.staging import Plan, Staging
from airflow_provider_drchrono.transfers.staging_files import LocalFolder

folder, size, plan, settings = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
bulk_reading.LONGEST_LOOK = 0.02
staging = Staging(LocalFolder(folder / "staging"), "reader")
assert staging.acquire()
checkpoint = staging.begin(Plan(**plan | {"timezones": tuple(plan["timezones"])}), timedelta(days=1))
options = ClientSettings(**settings, quota_per_hour=None, quota_per_second=None)
with DrChronoClient(options, token_store=FileTokenStore(folder / "token.json")) as client:
    bulk_reading.BulkReader(
        client, "patients", replace(load().resource("patients").bulk, size=size), {},
        verbose=False, staging=staging, calls_left=lambda: None,
    ).read(checkpoint)
"""


def test_a_read_that_is_killed_many_times_pays_for_no_page_twice(tmp_path: Path) -> None:
    bulk = load().resource("patients").bulk
    assert bulk is not None
    plan = {"watermark": None, "since": None, "start": None, "timezones": ["UTC"], "timezones_read_at": None}
    chance = random.Random(4)
    options = {"quota_per_hour": None, "quota_per_second": None, "bulk_polls": 0}
    with Sandbox(patients=PATIENTS, appointments_per_patient=0, **options) as sandbox:
        # So that signals meet the reader while it waits for an answer, and between two.
        sandbox.faults.add(Fault(kind="slow", operation=bulk.start, times=None, seconds=0.02))
        sandbox.faults.add(Fault(kind="slow", operation=bulk.result, times=None, seconds=0.02))
        settings = {
            "base_url": sandbox.url,
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
            "refresh_token": sandbox.refresh_token,
        }
        command = [sys.executable, "-c", READER, str(tmp_path), str(SIZE), json.dumps(plan), json.dumps(settings)]

        def asked(*operations: str) -> int:
            return sum(each.operation_id in operations for each in sandbox.journal)

        for kill in range(1, KILLS + 1):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            deadline = time.monotonic() + PATIENCE
            while asked(bulk.start, bulk.result) < kill * 2 * PAGES // (KILLS + 1):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(chance.random() * 0.04)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        subprocess.run(command, check=True, timeout=PATIENCE)

        assert asked(bulk.start) <= PAGES + KILLS
        assert asked(bulk.start, bulk.result) <= 2 * PAGES + KILLS
        staging = Staging(LocalFolder(tmp_path / "staging"), "reader")
        checkpoint = staging.begin(Plan(**plan | {"timezones": ("UTC",)}), timedelta(days=1))  # type: ignore[arg-type]
        ids = sorted(json.loads(line)["id"] for line, _ in staging.lines(checkpoint))
        assert checkpoint.complete
        assert ids == sorted(each["id"] for each in sandbox.practice.records("patients"))
