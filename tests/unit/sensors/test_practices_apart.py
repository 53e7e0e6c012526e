"""Two connections of one application, each to a practice of its own: what one has read says nothing of the other."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.client import MemoryTokenStore
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.cursor import CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from tests.support.running import unlimited
from tests.unit.sensors.test_sensors import calls, poke

NAME = CursorName("a_dag", "changes")


@pytest.fixture
def grants(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of the grants that connections have."""
    found = {"north": "grant-north", "south": "grant-south"}
    monkeypatch.setattr(DrChronoHook, "grant_id", property(lambda hook: found[hook.drchrono_conn_id]))
    return found


@pytest.fixture
def two(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore, grants: dict[str, str]
) -> Iterator[tuple[Sandbox, Sandbox]]:
    """Two practices, ``north`` and ``south``, that authorized one application."""
    tokens: defaultdict[str, MemoryTokenStore] = defaultdict(MemoryTokenStore)
    monkeypatch.setattr(DrChronoHook, "token_store", property(lambda hook: tokens[hook.settings.base_url]))
    options: dict[str, Any] = {"quota_per_hour": None, "quota_per_second": None}
    with Sandbox(seed=1, patients=2, **options) as north, Sandbox(seed=2, patients=3, **options) as south:
        monkeypatch.setenv("AIRFLOW_CONN_NORTH", unlimited(north))
        monkeypatch.setenv("AIRFLOW_CONN_SOUTH", unlimited(south))
        monkeypatch.setattr(DrChronoHook, "practice_key", property(practice_of(north)))
        yield north, south


def practice_of(north: Sandbox) -> Callable[[DrChronoHook], str]:
    """The sandboxes call their practices alike."""

    def practice_key(hook: DrChronoHook) -> str:
        assert hook.get_conn().current_user()["practice_group"] == 1
        return f"practice_group:{1 if hook.settings.base_url == north.url else 2}"

    return practice_key


def test_a_cursor_is_not_taken_for_that_of_another_practice(
    two: tuple[Sandbox, Sandbox], store: MemoryCursorStore
) -> None:
    assert len(poke(Patients, start="beginning", drchrono_conn_id="north")) == 2
    kept = store.texts[NAME]

    with pytest.raises(AirflowFailException, match="of another practice, which was read with the connection north"):
        poke(Patients, "run-2", start="beginning", drchrono_conn_id="south")

    assert store.texts[NAME] == kept
    assert poke(Patients, "run-2", drchrono_conn_id="north") is None


def test_a_practice_that_authorizes_again_keeps_its_cursor(
    two: tuple[Sandbox, Sandbox], grants: dict[str, str], store: MemoryCursorStore
) -> None:
    north, _ = two
    assert poke(Patients, drchrono_conn_id="north") is None
    for number in range(2):
        grants["north"] = f"another grant {number}"
        north.practice.create("patients", {"last_name": "Late"})
        assert len(poke(Patients, f"run-{number}", drchrono_conn_id="north")) == 1
    source = read_cursor(store.texts[NAME]).source
    assert source is not None
    assert (source.grant, source.practice) == ("another grant 1", "practice_group:1")


def test_the_practice_is_asked_for_once_after_each_authorization(
    two: tuple[Sandbox, Sandbox], grants: dict[str, str]
) -> None:
    north, _ = two
    assert poke(Patients, drchrono_conn_id="north") is None
    assert calls(north) == ["patients_list"]
    grants["north"] = "another grant"

    for number in range(3):
        assert poke(Patients, f"run-{number}", drchrono_conn_id="north") is None

    # The API redirects this call.
    assert calls(north).count("users_read") == 2


def test_a_connection_that_leads_to_another_practice_now_is_noticed(
    two: tuple[Sandbox, Sandbox], grants: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, south = two
    assert poke(Patients, drchrono_conn_id="north") is None
    grants["north"] = "another grant"
    assert poke(Patients, "run-1", drchrono_conn_id="north") is None

    monkeypatch.setenv("AIRFLOW_CONN_NORTH", unlimited(south))
    grants["north"] = "the south's grant"
    with pytest.raises(AirflowFailException, match="north leads to practice_group:2"):
        poke(Patients, "run-2", drchrono_conn_id="north")


def test_a_connection_with_a_new_name_keeps_its_cursor(
    two: tuple[Sandbox, Sandbox], grants: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    north, _ = two
    assert poke(Patients, drchrono_conn_id="north") is None
    monkeypatch.setenv("AIRFLOW_CONN_RENAMED", unlimited(north))
    grants["renamed"] = "grant-north"
    north.practice.create("patients", {"last_name": "Late"})

    assert len(poke(Patients, "run-2", drchrono_conn_id="renamed")) == 1
