"""``airflow drchrono conformance``."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_drchrono.cli.conformance import state_path
from airflow_provider_drchrono.client import MemoryTokenStore
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.unit.cli.test_index import run


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=10, quota_per_hour=None, quota_per_second=None, bulk_polls=0) as running:
        yield running


@pytest.fixture(autouse=True)
def connection(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.faults.clear()
    sandbox.journal.clear()
    connection = json.loads(sandbox.connection_json())
    connection["extra"]["refresh_token"] = sandbox.new_refresh_token()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", json.dumps(connection))
    monkeypatch.setattr(DrChronoHook, "token_store", MemoryTokenStore())
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_prints_a_report_and_says_on_the_other_stream_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("conformance", "practice", "--save", str(tmp_path / "report"))

    printed = capsys.readouterr()
    assert printed.out.startswith("# Conformance report\n")
    assert "At most 59 calls, which only read" in printed.err
    assert "1 of " in printed.err
    assert (tmp_path / "report" / "conformance.md").read_text() == printed.out
    assert json.loads((tmp_path / "report" / "conformance.json").read_text())["complete"] is True


def test_prints_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    run("conformance", "practice", "-o", "json")

    told = json.loads(capsys.readouterr().out)
    assert told["at_vendor"] is False
    assert 30 < told["calls"] < 60
    assert {"question", "result", "believed", "observed", "subject", "facts"} == set(told["findings"][0])


def test_goes_on_where_it_stopped_and_begins_again_when_told_to(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.faults.add(Fault(kind="throttle", operation="appointments_list", skip=1, seconds=1800))
    with pytest.raises(SystemExit, match="run the same command again to go on"):
        run("conformance", "practice")
    assert stat.S_IMODE(state_path("practice").stat().st_mode) == 0o600
    before = len(sandbox.journal.calls(resource="users"))

    run("conformance", "practice", "-o", "json")
    told = json.loads(capsys.readouterr().out)
    assert told["complete"] is True
    assert len(sandbox.journal.calls(resource="users")) == before

    sandbox.journal.clear()
    run("conformance", "practice", "--fresh", "-o", "json")
    assert sandbox.journal.calls(resource="users")


def test_the_state_may_be_kept_elsewhere(tmp_path: Path) -> None:
    run("conformance", "practice", "--state", str(tmp_path / "elsewhere.json"))

    assert (tmp_path / "elsewhere.json").is_file()
    assert not state_path("practice").exists()


def test_connections_that_look_alike_have_states_of_their_own() -> None:
    assert state_path("a/b") != state_path("a_b")
    assert state_path("../../x").parent == state_path("x").parent


def test_a_connection_that_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", '{"conn_type": "drchrono"}')

    with pytest.raises(SystemExit, match="The connection practice cannot be used"):
        run("conformance", "practice")
