"""A practice, and records that are not in it yet."""

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import connected_sandbox

GUARD = {"first_name": "Ana", "last_name": "Lopez", "date_of_birth": "1980-05-17", "gender": "Female"}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=3, appointments_per_patient=2) as running:
        yield running


@pytest.fixture
def ana(sandbox: Sandbox) -> dict[str, Any]:
    return GUARD | {"doctor": sandbox.practice.records("doctors")[0]["id"]}


@pytest.fixture
def drug(sandbox: Sandbox) -> dict[str, Any]:
    doctor, patient = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    return {"doctor": doctor, "patient": patient, "name": "Aspirin 100 mg"}
