"""The example that tells of changed appointments, against a Slack and a mail server that fail once, and again."""

import json
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.example_dags import example_dag
from tests.support.far_server import Slack
from tests.support.mailbox import Mailbox
from tests.support.running import unlimited

pytest.importorskip("airflow.providers.slack")
pytest.importorskip("airflow.providers.smtp")

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_appointment_changes")
VISITS = drchrono_asset("appointments", watch_fields=["scheduled_time", "status"])
SURNAME = "Canary-Zq7-Surname"

RunDag = Callable[..., Any]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, airflow_db: Path) -> Iterator[Sandbox]:
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


def connect(patch: pytest.MonkeyPatch, slack: Slack, mailbox: Mailbox) -> None:
    connections: dict[str, Any] = {
        "SLACK_API_DEFAULT": {
            "conn_type": "slack",
            "password": slack.token,
            "extra": {"base_url": f"{slack.url}/api/"},
        },
        "SMTP_DEFAULT": {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": mailbox.port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "retry_limit": 1},
        },
    }
    for name, connection in connections.items():
        patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    text: str = body.get_content()
    return text.strip()


def booked(sandbox: Sandbox, hour: int) -> dict[str, Any]:
    model = next(each for each in sandbox.practice.records("appointments") if each["patient"])
    sandbox.practice.change("patients", model["patient"], {"first_name": "Ada", "last_name": SURNAME})
    visit = {name: model[name] for name in ("doctor", "office", "exam_room", "patient", "duration")}
    return sandbox.practice.create("appointments", visit | {"scheduled_time": f"2031-03-04T{hour:02}:00:00"})


def test_each_change_is_told_once_and_for_what_it_is(
    sandbox: Sandbox, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Slack(500) as slack, Mailbox(refusals=1) as mailbox:
        connect(monkeypatch, slack, mailbox)
        assert make_event(VariableCursorStore(), VISITS) is None
        assert run_dag(EXAMPLE).state == "success"
        assert (slack.messages, mailbox.mails) == ([], [])

        visits = [booked(sandbox, hour) for hour in range(8, 13)]
        assert make_event(VariableCursorStore(), VISITS) is not None
        first = run_dag(EXAMPLE)
        assert first.state == "success"
        assert first.get_task_instance("to_slack").try_number == 2
        assert mailbox.refusals == 0
        (message,), (mail,) = slack.messages, mailbox.mails
        expected = [f"Appointment {each['id']} booked: {each['scheduled_time']}" for each in visits]
        assert sorted(message["text"].splitlines()) == expected
        assert message["channel"] == "#front-desk"
        assert mail["To"] == "front-desk@example.com"
        assert sorted(text_of(mail).split("<br>")) == expected

        assert run_dag(EXAMPLE).state == "success"
        assert (len(slack.messages), len(mailbox.mails)) == (1, 1)

        changes: list[dict[str, Any]] = [
            {"scheduled_time": "2031-03-05T08:00:00"},
            {"status": "Cancelled"},
            {"status": "Arrived"},
            {"status": "Confirmed"},
            {"notes": "Brings a chart"},
        ]
        for visit, change in zip(visits, changes, strict=True):
            sandbox.practice.change("appointments", visit["id"], change)
        assert make_event(VariableCursorStore(), VISITS) is not None
        assert run_dag(EXAMPLE).state == "success"
        told = sorted(slack.messages[1]["text"].splitlines())
        assert [line.partition(":")[0] for line in told] == [
            f"Appointment {visit['id']} {what}"
            for visit, what in zip(visits[:3], ("rescheduled", "cancelled", "arrived"), strict=True)
        ]
        assert len(mailbox.mails) == 2
        assert SURNAME not in "".join([each["text"] for each in slack.messages] + list(map(text_of, mailbox.mails)))


def test_names_are_told_to_those_who_ask_for_them_and_not_to_airflow(
    sandbox: Sandbox, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Slack() as slack, Mailbox() as mailbox:
        connect(monkeypatch, slack, mailbox)
        assert make_event(VariableCursorStore(), VISITS) is None
        assert run_dag(EXAMPLE).state == "success"
        visit = booked(sandbox, 8)
        assert make_event(VariableCursorStore(), VISITS) is not None
        run = run_dag(EXAMPLE, run_conf={"patient_names": True, "channel": "#private"})
    assert run.state == "success"
    (message,) = slack.messages
    assert message["text"] == f"Appointment {visit['id']} of Ada {SURNAME} booked: 2031-03-04T08:00:00"
    assert message["channel"] == "#private"
    assert SURNAME in text_of(mailbox.mails[0])
    given = run.get_task_instance("changed").xcom_pull(task_ids="changed")
    assert SURNAME not in str(given)
    log = "".join(capfd.readouterr())
    assert "Task instance state updated" in log
    assert SURNAME not in log
