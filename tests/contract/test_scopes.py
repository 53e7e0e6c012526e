"""Errors, docstrings and pages of every operation name the scopes that suffice, and no other."""

import re
from pathlib import Path

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client import ClientSettings, PermissionDeniedError
from airflow_provider_drchrono.client.request import Request
from airflow_provider_drchrono.client.responses import failure_error
from airflow_provider_drchrono.client.transport import Reply
from airflow_provider_drchrono.codegen.docstrings import operator_docstring, sensor_docstring
from airflow_provider_drchrono.codegen.plan import OperatorPlan, plan
from airflow_provider_drchrono.codegen.sensors import plan_sensors

CATALOG = catalog.load()
OPERATIONS = list(CATALOG.operations.values())
PLAN = plan(CATALOG)
SENSORS = [sensor for domain in plan_sensors(CATALOG) for sensor in domain.sensors]
REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"
SETTINGS = ClientSettings(client_id="id", client_secret="secret")
SCOPE = re.compile(
    "|".join(rf"\b{re.escape(each)}\b" for each in sorted(CATALOG.service.scopes, key=len, reverse=True))
)


def named(text: str) -> list[str]:
    return sorted(SCOPE.findall(text))


def refused(operation: Operation, *granted: str) -> PermissionDeniedError:
    error = failure_error(Request(operation, "https://drchrono.test/"), Reply(403, {}, b""), SETTINGS, granted)
    assert isinstance(error, PermissionDeniedError)
    return error


def section(page: str, title: str) -> str:
    """What stands below a heading of a reference page."""
    return (REFERENCE / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_a_write_takes_a_scope_that_writes() -> None:
    wrong = [
        each.id
        for each in OPERATIONS
        if each.method != "GET"
        and any(scope.endswith(":write") for scope in each.named_scopes)
        and any(not scope.endswith(":write") for scope in each.scopes)
    ]
    assert wrong == []
    # Otherwise this file would prove nothing.
    assert sum(each.scopes != each.named_scopes for each in OPERATIONS) > 100


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_a_403_names_what_suffices(operation: Operation) -> None:
    error = refused(operation)

    assert named(str(error)) == sorted(operation.scopes)
    assert error.scopes == operation.scopes


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.scopes], ids=lambda each: each.id)
def test_a_403_to_a_token_without_the_scope_names_both(operation: Operation) -> None:
    granted = next(each for each in CATALOG.service.scopes if each not in operation.scopes)

    assert named(str(refused(operation, granted))) == sorted([*operation.scopes, granted])
    assert "DrChrono plan" not in str(refused(operation, granted))


@pytest.mark.parametrize("operator", PLAN.operators, ids=lambda each: each.class_name)
def test_docstrings_and_pages_of_operators(operator: OperatorPlan) -> None:
    scopes = sorted(operator.operation.scopes)
    page = f"operators/{next(each.name for each in PLAN.domains if operator in each.operators)}.md"

    assert named(operator_docstring(operator)) == scopes
    assert named(section(page, operator.class_name)) == scopes


def test_docstrings_and_pages_of_sensors() -> None:
    for sensor in SENSORS:
        assert named(sensor_docstring(sensor)) == sorted(sensor.operation.scopes)
        assert named(section("sensors.md", sensor.class_name)) == sorted(sensor.operation.scopes)
