"""A month of trouble for each trigger: every change is given to a run, and none to two.

``DRCHRONO_SEEDS=100`` simulates more months; a month that fails is repeated by the seed that its failure names.
"""

import os
import random
from datetime import datetime
from importlib import import_module

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.codegen.sensors import plan_sensors
from airflow_provider_drchrono.sensors.base import ChangesSensor
from tests.unit.changes.simulation import Month, utc

FALL = utc(2026, 10, 18, 12)
SPRING = utc(2026, 2, 24, 12)
MODES = ("poke", "reschedule", "deferrable")
SEEDS = [int(os.environ["DRCHRONO_SEED"])] if "DRCHRONO_SEED" in os.environ else None


def sensors() -> list[type[ChangesSensor]]:
    return [
        getattr(import_module(f"airflow_provider_drchrono.sensors.{domain.name}"), each.class_name)
        for domain in plan_sensors(load())
        for each in domain.sensors
    ]


def seeds(kind: type[ChangesSensor], mode: str) -> list[int]:
    """Return seeds that differ from one run of the tests to the next."""
    return SEEDS or [random.randrange(10**6) for _ in range(int(os.environ.get("DRCHRONO_SEEDS", "1")))]


def simulate(kind: type[ChangesSensor], mode: str, seed: int, start: datetime, change: str, runs: int) -> Month:
    print(f"Repeat it with DRCHRONO_SEED={seed}")
    with pytest.MonkeyPatch.context() as patch:
        month = Month(patch, kind, mode, seed, start, change)
        month.run(runs)
    return month


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", sensors(), ids=lambda kind: kind.resource)
def test_every_change_is_given_once(kind: type[ChangesSensor], mode: str) -> None:
    for seed in seeds(kind, mode):
        month = simulate(kind, mode, seed, FALL if seed % 3 else SPRING, "any", runs=40)

        assert len(month.latest) > 20, "too little happened to prove anything"
        assert month.missing() == {}, f"lost with DRCHRONO_SEED={seed}"
        assert month.repeated() == {}, f"given twice with DRCHRONO_SEED={seed}"


@pytest.mark.parametrize("change", ["created", "updated"])
@pytest.mark.parametrize("kind", [each for each in sensors() if len(each.changes) > 1], ids=lambda kind: kind.resource)
def test_creations_and_updates_are_told_apart(kind: type[ChangesSensor], change: str) -> None:
    for seed in seeds(kind, change):
        month = simulate(kind, "poke", seed, FALL if seed % 3 else SPRING, change, runs=30)

        assert month.missing() == {}, f"lost with DRCHRONO_SEED={seed}"
        assert month.repeated() == {}, f"given twice with DRCHRONO_SEED={seed}"
