"""What the state of a quota decides, by numbers: places of a second, and how long a refusal lasts."""

import json

import pytest

from airflow_provider_drchrono.client.quota.state import HOUR, Call, Limits, QuotaState

NOW = 1_767_225_600.0 + 1800.0
ME = ("a connection", "a host")


@pytest.mark.parametrize("in_hand", range(4))
@pytest.mark.parametrize("waiting", range(5))
def test_a_place_that_is_free_is_for_who_asked_first(in_hand: int, waiting: int) -> None:
    state = QuotaState(hour=int(NOW // HOUR))
    state.calls = {f"in hand {number}": Call(NOW - 0.5, whose=ME) for number in range(in_hand)}
    state.queue = {f"before {number}": (NOW - 5.0, NOW) for number in range(waiting)}
    state.queue["after"] = (NOW + 1.0, NOW + 1.0)

    wait = state.admit("mine", ME, Limits(None, None, per_second=4), NOW)

    assert (wait == 0) is (in_hand + waiting < 4)
    assert ("mine" in state.calls) is (wait == 0)
    assert ("mine" in state.queue) is (wait > 0)


@pytest.mark.parametrize(
    ("back", "refused"), [(0.0, True), (0.9, True), (1.1, False)], ids=["as it was", "hardly", "more than a second"]
)
def test_a_refusal_of_an_hour_outlasts_a_clock_that_is_set_a_little(back: float, refused: bool) -> None:
    state = QuotaState(hour=int(NOW // HOUR))
    state.settle("a call", NOW, refused_for=HOUR)

    wait = state.admit("another", ME, Limits(None, None, None), NOW - back)

    assert wait == pytest.approx(HOUR + back if refused else 0.0)


def test_everything_survives_as_json() -> None:
    state = QuotaState(
        hour=490_896,
        used={"a connection": {"a host": 3, "another host": 4}},
        calls={"answered": Call(NOW, NOW + 1.5, ME), "in hand": Call(NOW + 2.5)},
        queue={"waiting": (NOW + 3.5, NOW + 4.5)},
        refused_until=NOW + 5.5,
        clock_offset=(-0.25, 0.75),
        polls=[("a connection", NOW + 6.5, 30.0)],
        clock_doubt=(59.5, 60.5),
    )

    assert QuotaState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    assert QuotaState.from_dict(json.loads(json.dumps(QuotaState().to_dict()))) == QuotaState()
