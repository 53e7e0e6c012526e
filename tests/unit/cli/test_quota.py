"""``airflow drchrono quota``."""

import json
import socket
from datetime import UTC, datetime, timedelta
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


@pytest.mark.parametrize("words", [[], ["drchrono_default"], ["show"], ["show", "drchrono_default"]])
def test_show_may_be_left_out(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run("quota", *words)

    assert "drchrono_default may make 500 more of its 500." in capsys.readouterr().out


@pytest.mark.parametrize("words", [["reset"], ["reset", "drchrono_default"]])
def test_what_was_believed_is_forgotten_for_all_connections_of_the_application(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spend("share", 3)
    quota = DrChronoHook("share").quota
    assert quota
    quota.acquire("refused")
    a_day_ahead = datetime.now(UTC) + timedelta(days=1)
    quota.settle("refused", server_time=a_day_ahead, refused_for=86_400.0)
    assert 3500 < quota.acquire("later") <= 3600

    run("quota", *words)

    printed = capsys.readouterr().out
    assert "Forgotten: that the application has made " in printed
    assert "and that DrChrono takes no more until " in printed
    assert quota.acquire("later") == 0
    status = quota.status()
    assert (status.used, status.refused_until) == (1, None)
    assert abs((status.resets_at - datetime.now(UTC)).total_seconds()) <= 3600


def test_another_action_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"no action 'rest'; there is show and reset"):
        run("quota", "rest", "drchrono_default")


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
