"""The filters of the sandbox's lists: each has an effect, or it is known why not."""

from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.filters import WIDENING, read_filters
from airflow_provider_drchrono.sandbox.wire import Refusal

WITHOUT_EFFECT = {
    # The contract says of neither what it compares.
    ("appointment_templates", "available"),
    ("user_groups", "doctor"),
}
VALUES = {"integer": "1", "boolean": "true", "number": "1", "array": "1"}


def value_of(parameter: Any) -> str:
    if parameter.enum:
        return str(next(filter(None, parameter.enum)))
    if parameter.name.endswith("_range"):
        return "2026-01-01/2026-01-02"
    if (parameter.type == "string" and (parameter.format or "").startswith("date")) or "date" in parameter.name:
        return "2026-01-01"
    return VALUES.get(parameter.type, "2026-01-01")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox(patients=3)


def test_each_filter_of_each_list_has_an_effect(sandbox: Sandbox) -> None:
    without = set()
    for resource in load().resources.values():
        operation = resource.list_operation
        if operation is None or resource.record is None:
            continue
        needed = {each.name: value_of(each) for each in operation.filters if each.required}
        needed |= dict.fromkeys(resource.requires_one_of[:1], "2026-01-01")
        for parameter in operation.filters:
            found = read_filters(sandbox.practice, resource, operation, needed | {parameter.name: value_of(parameter)})
            if parameter.name not in WIDENING and (found.notes or found.keep is None):
                without.add((resource.name, parameter.name))
    assert without == WITHOUT_EFFECT


@pytest.mark.parametrize("name", ["archived", "starred"])
def test_message_threads_by_a_switch(sandbox: Sandbox, name: str) -> None:
    resource = load().resource("message_threads")
    assert resource.list_operation is not None

    def listed(text: str) -> list[bool]:
        keep = read_filters(sandbox.practice, resource, resource.list_operation, {name: text}).keep  # type: ignore[arg-type]
        return [each for each in (True, False, None) if keep is None or keep({name: each})]  # type: ignore[misc]

    assert listed("true") == listed("1") == [True]
    assert listed("false") == listed("0") == [False, None]
    assert listed("") == [True, False, None]
    with pytest.raises(Refusal) as refused:
        listed("perhaps")
    assert refused.value.response.status == 400
