"""``airflow drchrono cursor`` as Airflow's own parser calls it; what it does to cursors is tested with a database."""

import pytest

from airflow_provider_drchrono.cli.cursor import _described, _described_deliveries
from tests.unit.cli.test_index import run


@pytest.mark.parametrize("action", ["set", "reset"])
def test_a_cursor_has_to_be_named(action: str) -> None:
    with pytest.raises(SystemExit, match=f"cursor {action} needs the ids of a DAG and of its sensor, or --asset NAME"):
        run("cursor", action, "a_dag")


@pytest.mark.parametrize("to", [(), ("--to", "yesterday")], ids=["no time", "a word"])
def test_a_cursor_is_set_to_a_time(to: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="--to must be a date or a time"):
        run("cursor", "set", "a_dag", "changes", *to)


@pytest.mark.parametrize("action", ["show", "set", "reset"])
def test_an_asset_belongs_to_no_dag(action: str) -> None:
    with pytest.raises(SystemExit, match="Give a DAG with its task, or --asset, not both"):
        run("cursor", action, "a_dag", "--asset", "patients")


def test_an_asset_is_set_to_a_time() -> None:
    with pytest.raises(SystemExit, match="--to must be a date or a time"):
        run("cursor", "set", "--asset", "patients", "--to", "yesterday")


def test_an_unknown_action_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("cursor", "delete", "a_dag", "changes")

    assert "invalid choice: 'delete'" in capsys.readouterr().err


def test_a_spoilt_cursor_is_shown_with_what_is_wrong() -> None:
    assert _described("{")["problem"] == "1 characters of text that is not JSON"


def test_spoilt_deliveries_are_shown_with_what_is_wrong() -> None:
    (row,) = _described_deliveries("{")

    assert row["problem"] == "1 characters of text that is not JSON"
