"""Lineage where nobody listens: it costs a look, and nothing of OpenLineage is imported."""

import sys

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common import lineage


@pytest.mark.parametrize("missing", [None, ModuleNotFoundError], ids=["not installed", "no providers at all"])
def test_nothing_is_kept_where_the_provider_is_not_installed(
    mocker: MockerFixture, missing: type[Exception] | None
) -> None:
    mocker.patch.object(lineage, "find_spec", side_effect=missing, return_value=None)
    before = {each for each in sys.modules if each.startswith("openlineage")}
    task = lineage.ReportsLineage()
    task.drchrono_conn_id = "drchrono_default"

    task.note_read(load(), "patients_list", 12, verbose=False)

    assert not lineage.is_wanted()
    assert task._flow is None
    assert {each for each in sys.modules if each.startswith("openlineage")} == before


def test_a_failure_costs_the_lineage_and_not_the_task(mocker: MockerFixture, caplog: pytest.LogCaptureFixture) -> None:
    mocker.patch.object(lineage, "is_wanted", side_effect=RuntimeError("a value of a record"))
    task = lineage.ReportsLineage()
    task.drchrono_conn_id = "drchrono_default"

    task.note_read(load(), "patients_list", 12, verbose=False)

    assert task._flow is None
    assert [each.getMessage() for each in caplog.records] == [
        "What this task has read and written is not told to OpenLineage: RuntimeError"
    ]


def test_fields_tell_their_types_and_classes() -> None:
    found = {each.name: each for each in lineage.fields_of(load(), load().resource("patients"), verbose=False)}

    assert (found["date_of_birth"].kind, found["date_of_birth"].classes) == ("date", ("date",))
    assert "primary_insurance" not in found
