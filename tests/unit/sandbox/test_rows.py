"""Every row of every list, as it goes over the wire, against the catalogue: no field too many, too few or odd."""

import httpx
import pytest

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.inputs import call_for
from tests.unit.sandbox.shapes import departures

LISTS = [each for each in load().operations.values() if each.response.shape == "page"]
BULK = [each for each in load().operations.values() if each.kind == "bulk_start"]


@pytest.mark.parametrize("verbose", [False, True], ids=["plain", "verbose"])
@pytest.mark.parametrize("operation", LISTS, ids=lambda each: each.id)
def test_rows_of_a_list(sandbox: Sandbox, api: httpx.Client, operation: Operation, verbose: bool) -> None:
    call = call_for(sandbox, operation)
    query = call.query | ({"verbose": "true"} if verbose else {})
    query |= {"show_archived": "true"} if operation.takes("show_archived") else {}
    page = api.get(operation.path, params=query).json()
    rows = page[operation.response.rows]
    while page["next"]:
        page = api.get(page["next"]).json()
        rows += page[operation.response.rows]

    assert rows
    assert problems(operation, rows, verbose) == []


@pytest.mark.parametrize("verbose", ["false", "true"])
@pytest.mark.parametrize("operation", BULK, ids=lambda each: each.id)
def test_rows_of_a_background_list(sandbox: Sandbox, api: httpx.Client, operation: Operation, verbose: str) -> None:
    call = call_for(sandbox, operation)
    ticket = api.post(operation.path, params=call.query | {"verbose": verbose}).json()["uuid"]
    rows = api.get(operation.path, params={"uuid": ticket}).json()["results"]
    result = load().operation(next(each.bulk.result for each in load().resources.values()
                                   if each.bulk and each.bulk.start == operation.id))  # fmt: skip

    assert rows
    assert problems(result, rows, verbose == "true") == []


def problems(operation: Operation, rows: list[dict[str, object]], verbose: bool) -> list[str]:
    return sorted({line for row in rows for line in departures(operation.response.record or "", row, verbose=verbose)})
