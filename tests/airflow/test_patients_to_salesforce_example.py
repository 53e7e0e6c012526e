"""The example that keeps contacts in Salesforce, against one that is not available for the second batch, and again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.certificates import self_signed
from tests.support.events import make_event
from tests.support.example_dags import SURNAME, example_dag, register
from tests.support.far_server import Salesforce
from tests.support.running import unlimited

pytest.importorskip("airflow.providers.salesforce")

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_patients_to_salesforce")
PATIENTS = drchrono_asset("patients")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    return self_signed(tmp_path, Salesforce.host)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, certificate: tuple[str, str]) -> Callable[[Sandbox, Salesforce], None]:
    """Connects both; Salesforce by its own name, through a proxy that answers for it."""

    def run(sandbox: Sandbox, salesforce: Salesforce) -> None:
        extra = {
            "consumer_key": salesforce.key,
            "consumer_secret": salesforce.secret,
            "domain": salesforce.host.removesuffix(".salesforce.com"),
            "proxies": {"https": salesforce.url},
        }
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        connection = json.dumps({"conn_type": "salesforce", "extra": extra})
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", connection)

    return run


def test_each_patient_is_one_contact(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    certificate: tuple[str, str],
    connect: Callable[[Sandbox, Salesforce], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    unlimited_calls: dict[str, Any] = {"quota_per_hour": None, "quota_per_second": None}
    with Sandbox(patients=3, **unlimited_calls) as sandbox, Salesforce(503, certificate=certificate) as salesforce:
        connect(sandbox, salesforce)
        assert make_event(VariableCursorStore(), PATIENTS) is None
        assert run_dag(EXAMPLE).state == "success"
        assert salesforce.requests == []

        new = register(sandbox, 250)
        nameless = register(sandbox, 1, last_name="")[0]
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        sandbox.practice.table("patients").remove(new.pop())
        run = run_dag(EXAMPLE)
        assert run.state == "success"
        assert run.get_task_instance("to_salesforce").try_number == 2
        assert sorted(salesforce.created, key=int) == [str(each) for each in sorted([*new, nameless])]
        assert salesforce.batches == 3, "two, and the one that was refused"
        assert salesforce.contacts[str(new[0])]["LastName"] == SURNAME
        assert salesforce.contacts[str(nameless)]["LastName"] == "?"

        assert run_dag(EXAMPLE).state == "success"
        assert salesforce.batches == 3

        sandbox.practice.change("patients", new[0], {"city": "Elsewhere"})
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        assert run_dag(EXAMPLE).state == "success"
        assert len(salesforce.requests[-1].body["records"]) == 1
        assert salesforce.contacts[str(new[0])]["MailingCity"] == "Elsewhere"
        assert len(salesforce.created) == len(new) + 1
    log = "".join(capfd.readouterr())
    assert "Salesforce answered 503" in log
    assert SURNAME not in log


def test_what_salesforce_refuses_is_said_without_a_name(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    certificate: tuple[str, str],
    connect: Callable[[Sandbox, Salesforce], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Salesforce, "fields", Salesforce.fields - {"MailingState"})
    with Sandbox(patients=1) as sandbox, Salesforce(certificate=certificate) as salesforce:
        connect(sandbox, salesforce)
        assert make_event(VariableCursorStore(), PATIENTS) is None
        assert run_dag(EXAMPLE).state == "success"
        register(sandbox, 2)
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        assert run_dag(EXAMPLE).state == "failed"
    log = "".join(capfd.readouterr())
    assert "Salesforce refused contacts of 2 patients: INVALID_FIELD" in log
    assert SURNAME not in log
