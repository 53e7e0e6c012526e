"""Filters that the catalogue does not know: what sensors and list operators make of them."""

import time
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.masking import MaskedValue
from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.operators.appointments import DrChronoListAppointmentsOperator
from airflow_provider_drchrono.operators.labs import DrChronoListLabOrdersOperator
from airflow_provider_drchrono.operators.patients import DrChronoListPatientsOperator
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from tests.support.answering import answering, refusing
from tests.support.running import context_of, execute

KINDS = (DrChronoListPatientsOperator, DrChronoNewOrUpdatedPatientsSensor)


def asked(sandbox: Sandbox, operation_id: str = "patients_list") -> list[dict[str, str]]:
    return [each.query for each in sandbox.journal.calls(operation_id=operation_id)]


def test_a_list_operator_sends_them_beside_its_filters(sandbox: Sandbox) -> None:
    execute(DrChronoListPatientsOperator(task_id="list", filters={"doctor": 1}, extra_filters={"shoe_size": [42, 43]}))

    assert (asked(sandbox)[0]["doctor"], asked(sandbox)[0]["shoe_size"]) == ("1", "42,43")


def test_text_that_a_template_rendered_is_read(sandbox: Sandbox) -> None:
    operator = DrChronoListPatientsOperator(task_id="list", extra_filters="{{ params.extra }}")
    operator.extra_filters = "{'shoe_size': 43}"

    execute(operator)

    assert asked(sandbox)[0]["shoe_size"] == "43"


def test_one_of_them_may_be_what_the_list_insists_on(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one of since"):
        DrChronoListAppointmentsOperator(task_id="list", filters={})
    operator = DrChronoListAppointmentsOperator(
        task_id="list", filters={}, extra_filters={"changed_after": "2026-01-01"}
    )

    with pytest.raises(AirflowFailException):
        execute(operator)
    assert asked(sandbox, "appointments_list")[0]["changed_after"] == "2026-01-01"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"doctor": 1}, "doctor is a filter that is known: give it in filters"),
        ({"page_size": 1}, "which belongs to the paging"),
        ({"a b": 1}, "a name that no query parameter has"),
        (3, "extra_filters must be a mapping"),
    ],
)
def test_names_that_cannot_be_right_are_refused_when_the_dag_is_parsed(kind: Any, extra: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        kind(task_id="task", extra_filters=extra)


@pytest.mark.parametrize("kind", KINDS)
def test_their_values_are_masked_where_airflow_stores_them(kind: Any, sandbox: Sandbox) -> None:
    operator = kind(task_id="task", extra_filters={"nickname": "Jane"})
    operator.render_template_fields({})

    assert isinstance(operator.extra_filters, MaskedValue)
    assert operator.extra_filters.serialize() == {"nickname": "***"}


def test_a_sensor_polls_with_them(sandbox: Sandbox) -> None:
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="sensor", mode="poke", extra_filters={"shoe_size": 43})

    sensor.poke(context_of())

    assert asked(sandbox)[0]["shoe_size"] == "43"


def test_a_deferred_sensor_polls_on_a_worker_and_stores_none_of_them(
    sandbox: Sandbox, store: MemoryCursorStore
) -> None:
    sensor = DrChronoNewOrUpdatedPatientsSensor(
        task_id="sensor", deferrable=True, poke_interval=600, extra_filters={"nickname": "Jane"}
    )

    with pytest.raises(TaskDeferred) as deferred:
        execute(sensor)
    payload = deferred.value.trigger.serialize()[1]

    assert payload["poll"] is False
    assert payload["not_before"] - time.time() == pytest.approx(600, abs=20)
    assert "Jane" not in repr(payload)
    assert "Jane" not in repr(store.__dict__)


def test_other_extra_filters_are_another_selection(
    sandbox: Sandbox, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    def poke(**arguments: Any) -> None:
        DrChronoNewOrUpdatedPatientsSensor(task_id="sensor", mode="poke", **arguments).poke(context_of())

    poke()
    poke()
    assert "the filters are not those of the last run" not in caplog.text
    poke(extra_filters={"shoe_size": 43})
    assert "the filters are not those of the last run" in caplog.text


def test_the_error_of_a_list_that_demands_a_filter_says_the_rule_and_the_argument(sandbox: Sandbox) -> None:
    rule = "Either since or doctor parameter must be specified"
    refuses = refusing("/api/lab_orders", 400, {"detail": rule})
    with answering(sandbox, refuses), pytest.raises(AirflowFailException) as raised:
        execute(DrChronoListLabOrdersOperator(task_id="list"))

    assert str(raised.value) == (
        f"lab_orders_list: the API refused the request (400): {rule}; give it in filters, or in extra_filters where "
        "the provider does not know it"
    )
