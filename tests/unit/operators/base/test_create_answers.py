"""What a create was answered with: the records, or what exists is said."""

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.client import UnexpectedAnswerError
from airflow_provider_drchrono.operators.base.create_answers import created_records
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.running import MemoryStore
from tests.unit.operators.base.test_creates import medication, posts

A, B = {"id": 1, "name": "a", "tags": [{"x": 1}]}, {"id": "2", "name": "b"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param([A, B], [A, B], id="list"),
        pytest.param({"results": [A, B], "count": 2}, [A, B], id="envelope"),
        pytest.param(A, [A], id="one object"),
        pytest.param([A], [A], id="one in a list"),
        pytest.param({"data": A}, [A], id="one in an envelope"),
    ],
)
def test_records_are_returned_where_the_answer_can_be_understood(answer: Any, expected: list[Any]) -> None:
    assert created_records("medications_create", answer, len(expected)) == expected


@pytest.mark.parametrize(
    ("answer", "sent", "told"),
    [
        pytest.param([A], 2, r"for 2 records, but 1 came back \(id 1\)", id="shorter"),
        pytest.param([A, B], 1, r"for 1 record, but 2 came back \(id 1, 2\)", id="longer"),
        pytest.param(A, 3, r"for 3 records, but 1 came back \(id 1\)", id="one object for several"),
        pytest.param({"results": [A]}, 2, r"1 came back \(id 1\)", id="short envelope"),
        pytest.param({"results": [A], "errors": [B]}, 2, "but 0 came back;", id="two lists"),
        pytest.param([A, {"name": "Canarybird"}], 2, r"1 came back \(id 1\)", id="no id"),
        pytest.param([A, None, "Canarybird"], 3, r"1 came back \(id 1\)", id="nonsense in a list"),
        pytest.param({"detail": "Canarybird"}, 1, "but 0 came back;", id="no record"),
        pytest.param({}, 1, "but 0 came back;", id="empty"),
        pytest.param([], 1, "but 0 came back;", id="empty list"),
        pytest.param(None, 1, "but 0 came back;", id="nothing"),
        pytest.param("Canarybird", 1, "but 0 came back;", id="text"),
        pytest.param([{"id": each} for each in range(30)], 31, r"30 came back \(id 0, .*, 19 and 10 more\)", id="many"),
    ],
)
def test_what_exists_is_said_where_it_cannot(answer: Any, sent: int, told: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match=told) as raised:
        created_records("medications_create", answer, sent)
    assert "Canarybird" not in str(raised.value)


def test_a_list_of_which_the_answer_shows_a_part_is_looked_for_by_a_retry(
    sandbox: Sandbox, drug: dict[str, Any]
) -> None:
    store = MemoryStore()
    several = [drug | {"name": name} for name in ("Ibuprofen", "Codeine")]
    fault = {"kind": "status", "operation": "medications_create", "status": 201, "body": [{"id": 7}], "after": True}
    sandbox.faults.add(Fault.read(fault))
    with pytest.raises(UnexpectedAnswerError, match=r"1 came back \(id 7\).*A retry of this task looks for it") as lost:
        medication(several, store, match_on=["patient", "name"])
    assert lost.value.transient

    made = medication(several, store, match_on=["patient", "name"])

    assert made == sandbox.practice.records("medications")[-2:]
    assert posts(sandbox) == 1

    sandbox.faults.add(Fault.read(fault))
    with pytest.raises(AirflowFailException, match=r"2 records, but 1 came back \(id 7\).*look in DrChrono"):
        medication(several, store)
    assert store.values == {}
