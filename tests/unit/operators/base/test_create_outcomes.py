"""Every way in which a create can be broken off, and what the next tries of the task make of it.

In no case is a record of somebody else returned as the one that was created, are two records made of one, or does a
task succeed without a record.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from pydantic import SecretStr

from airflow_provider_drchrono.client import DrChronoError, ServerError
from airflow_provider_drchrono.operators.medications import DrChronoCreateMedicationOperator
from airflow_provider_drchrono.state.names import SENT_MARKER_KEY
from tests.support.running import MemoryStore, context_of, execute

ENDS: Mapping[str, tuple[bool, ...]] = {
    "killed before the send": (True,),
    "killed after the send": (True, False),
    "killed after the answer": (True,),
    "503": (True, False),
    "none": (True,),
}
"""How the first try ends, and whether the first create that arrives is carried out."""

OTHERS = ("none", "one older", "several older", "a younger one by another", "an older one and a younger one")
POLICIES = ("create", "skip", "update", "fail")
FORMS = ("plain", "mapped", "list of records")
NAMES = ("Aspirin", "Codeine", "Ibuprofen")


class KilledError(BaseException):
    """Stands for the end of the process, which no handler sees."""


@dataclass
class Practice:
    """A practice with medications, and what happens to the first create that arrives."""

    carried_out: bool = True
    end: str = "none"
    younger: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    server_time: datetime = datetime(2026, 1, 31, 8, tzinfo=UTC)

    def add(self, record: Mapping[str, Any]) -> dict[str, Any]:
        self.rows.append({"notes": "", **record, "id": len(self.rows) + 1})
        return self.rows[-1]

    def add_by_another(self, name: str) -> None:
        self.add({"doctor": 1, "patient": 2, "name": name, "notes": "by another"})

    def list(self, _: str, filters: Mapping[str, Any], *, verbose: bool) -> Iterator[dict[str, Any]]:
        return iter([dict(each) for each in self.rows if each["patient"] == filters["patient"]])

    def call(self, operation_id: str, **arguments: Any) -> Any:
        if operation_id == "medications_read":
            return dict(self.rows[arguments["path"]["id"] - 1])
        if operation_id == "medications_partial_update":
            self.rows[arguments["path"]["id"] - 1] |= arguments["body"]
            return None
        assert operation_id == "medications_create"
        end, self.end = self.end, "none"
        if end == "killed before the send":
            self._others_come()
            raise KilledError
        carried_out, self.carried_out = self.carried_out, True
        answer = self._carry_out(arguments["body"]) if carried_out else None
        self._others_come()
        if end.startswith("killed"):
            raise KilledError
        if end == "503":
            raise ServerError("medications_create: the API answered 503", status=503, transient=False)
        return answer

    def _carry_out(self, body: Any) -> Any:
        made = [self.add(each) for each in (body if isinstance(body, list) else [body])]
        self.own += [each["id"] for each in made]
        return made if isinstance(body, list) else made[0]

    def _others_come(self) -> None:
        for name in self.younger:
            self.add_by_another(name)
        self.younger = ()


def run(practice: Practice, data: Any, if_exists: Any, store: MemoryStore, map_index: int) -> Any:
    operator = DrChronoCreateMedicationOperator(
        task_id="create", data=data, if_exists=if_exists, match_on=["patient", "name"]
    )
    settings = SimpleNamespace(client_secret=SecretStr("secret"), timezone=None)
    operator.hook = SimpleNamespace(get_conn=lambda: practice, close=lambda: None, settings=settings)  # type: ignore[assignment]
    context = context_of(store)
    context["ti"].map_index = map_index
    return execute(operator, context)


def outcome(practice: Practice, data: Any, if_exists: Any, map_index: int) -> tuple[Any, bool]:
    """Return the result of a task with three tries, or None where it failed, and whether a person was asked."""
    store = MemoryStore()
    for _ in range(3):
        try:
            result = run(practice, data, if_exists, store, map_index)
        except KilledError:
            continue
        except AirflowFailException:
            return None, True
        except DrChronoError as error:
            if error.transient:
                continue
            raise
        assert SENT_MARKER_KEY not in store.values
        return result, False
    raise AssertionError("three tries did not come to an end")


CASES = [
    (end, carried_out, others, if_exists)
    for (end, fates), others, if_exists in product(ENDS.items(), OTHERS, POLICIES)
    for carried_out in fates
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("end", "carried_out", "others", "if_exists"), CASES)
def test_a_create_that_was_broken_off_comes_to_the_right_end(
    end: str, carried_out: bool, others: str, if_exists: str, form: str
) -> None:
    names = NAMES if form == "list of records" else NAMES[:1]
    data: Any = [{"doctor": 1, "patient": 2, "name": name, "notes": "by the task"} for name in names]
    practice = Practice(carried_out, end)
    older = {"one older": 1, "several older": 3, "an older one and a younger one": 1}.get(others, 0)
    for _ in range(older):
        practice.add_by_another(names[0])
    if "younger" in others:
        practice.younger = names[:1]
    before = [dict(each) for each in practice.rows]

    result, asked = outcome(
        practice, data if form == "list of records" else data[0], if_exists, 0 if form == "mapped" else -1
    )

    returned = result if isinstance(result, list) else [result] if result else []
    own = [each["name"] for each in practice.rows if each["id"] in practice.own]
    assert len(own) == len(set(own)), "two of ours"
    assert asked or [each["name"] for each in returned] == list(names), "success without a record"
    if if_exists in ("create", "fail"):
        assert {each["id"] for each in returned} <= set(practice.own), "a record of somebody else"
        assert practice.rows[: len(before)] == before
    if if_exists == "create" and "younger" not in others:
        assert not asked, "nothing was in doubt"
    if if_exists == "fail" and older:
        assert asked
        assert not own
    if if_exists == "update" and not asked:
        assert all(each["notes"] == "by the task" for each in returned)
