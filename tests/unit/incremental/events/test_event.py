"""What an event looks like outside, and what is no event."""

import json
from typing import Any

import pytest

from airflow_provider_drchrono.incremental.events.event import ChangeEvent

EVENT = ChangeEvent(
    asset="drchrono_default/patients:any",
    resource="patients",
    since="2026-07-01T12:00:00",
    until="2026-07-01T16:02:00+00:00",
    count=2,
    ids=(7, "2026-01-31_4711"),
)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(EVENT, id="a window"),
        pytest.param(ChangeEvent("a", "audit_log", None, "2026-07-01T16:02:00Z", 0, ()), id="everything, no ids"),
    ],
)
def test_what_travels_as_json_is_read_again(event: ChangeEvent) -> None:
    assert ChangeEvent.read(json.loads(json.dumps(event.payload()))) == event


def test_the_payload_is_in_order() -> None:
    assert list(EVENT.payload()) == ["version", "asset", "resource", "since", "until", "count", "ids"]


def test_what_a_later_release_adds_is_no_hindrance() -> None:
    assert ChangeEvent.read({**EVENT.payload(), "more": 1}) == EVENT


def test_the_payload_of_another_release_is_refused_and_says_so() -> None:
    with pytest.raises(ValueError, match="a change event in version '2', and this release reads version 1"):
        ChangeEvent.read({**EVENT.payload(), "version": 2})


@pytest.mark.parametrize("payload", [None, "text", 3, [EVENT]], ids=["nothing", "text", "number", "list"])
def test_what_is_no_object_is_no_event(payload: object) -> None:
    with pytest.raises(ValueError, match=r"no change event: .* in place of an object"):
        ChangeEvent.read(payload)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("asset", "", id="no name"),
        pytest.param("resource", None, id="no resource"),
        pytest.param("since", "Canary", id="no time"),
        pytest.param("since", "2026-07-01T12:00:00Z", id="a zone where there is none"),
        pytest.param("until", None, id="no instant"),
        pytest.param("until", "2026-07-01T12:00:00", id="an instant without a zone"),
        pytest.param("count", True, id="no number"),
        pytest.param("count", -1, id="less than nothing"),
        pytest.param("ids", "123", id="ids in one text"),
        pytest.param("ids", [{"id": 1}], id="records in place of ids"),
        pytest.param("ids", [True], id="truth in place of ids"),
    ],
)
def test_a_field_that_does_not_fit_is_named_without_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^no change event: nothing that fits under {name}$"):
        ChangeEvent.read({**EVENT.payload(), name: value})


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="under since, until, count, ids"):
        ChangeEvent.read({"asset": "a", "resource": "patients", "last_name": "Canary"})
