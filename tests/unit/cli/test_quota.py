"""``airflow drchrono quota``."""

import json
import socket
from pathlib import Path

import pytest

from airflow_provider_drchrono.hooks import connection as quota
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from tests.unit.cli.test_index import run


@pytest.fixture(autouse=True)
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    quota.quota_store_of.cache_clear()
    for name, extra in {
        "DRCHRONO_DEFAULT": {},
        "SHARE": {"quota_per_hour": 20},
        "UNLIMITED": {"quota_per_hour": 0, "quota_per_second": 0},
    }.items():
        values = {"conn_type": "drchrono", "login": "id", "password": "secret", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(values))


def spend(conn_id: str, calls: int) -> None:
    quota = DrChronoHook(conn_id).quota
    assert quota
    for each in range(calls):
        assert quota.acquire(f"{conn_id}-{each}") == 0


def test_says_what_is_used_and_left_and_by_whom(capsys: pytest.CaptureFixture[str]) -> None:
    spend("share", 3)
    spend("drchrono_default", 4)

    run("quota", "share", "-o", "plain")

    printed = capsys.readouterr().out
    assert "The application has made 7 calls in this clock hour. share may make 17 more of its 20." in printed
    assert "The next hour begins at " in printed
    _, heading, *rows = printed.splitlines()
    assert heading.split() == ["connection", "host", "calls"]
    host = socket.gethostname()
    assert [row.split() for row in rows] == [["drchrono_default", host, "4"], ["share", host, "3"]]


def test_takes_the_default_connection_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    spend("drchrono_default", 2)

    run("quota", "-o", "json")

    told = json.loads(capsys.readouterr().out)
    assert told["connection"] == "drchrono_default"
    assert (told["used"], told["limit"], told["left"], told["refused_until"]) == (2, 500, 498, None)
    assert [(row["connection"], row["calls"]) for row in told["by"]] == [("drchrono_default", 2)]


def test_says_when_drchrono_takes_no_calls(capsys: pytest.CaptureFixture[str]) -> None:
    quota = DrChronoHook("share").quota
    assert quota
    quota.acquire("refused")
    quota.settle("refused", refused_for=100.0)

    run("quota", "share")

    assert "DrChrono takes no more until " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("conn_id", "message"),
    [
        pytest.param("unlimited", "The connection unlimited has no limit", id="no-limit"),
        pytest.param("nowhere", "nowhere", id="unknown-connection"),
    ],
)
def test_says_why_there_is_nothing_to_show(conn_id: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run("quota", conn_id)
