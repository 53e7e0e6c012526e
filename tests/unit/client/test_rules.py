"""Which of the API's reasons are rules that can be shown, and which may repeat data."""

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_drchrono.client import BadRequestError, DrChronoClient
from airflow_provider_drchrono.client.rules import shown_rule, shown_rules
from tests.unit.client.servers import Reply, ScriptedApi

NAMES = ("since", "doctor", "date_range", "clinical_note_template")


@pytest.mark.parametrize(
    "text",
    [
        "Either since, date or date_range parameter must be specified",
        "One of these parameters is required: since, occurred_since, date, date_range",
        "You must provide 'doctor' or `since`.",
        "clinical_note_template is required",
        "Please specify a date range.",
        "This query parameter is required.",
    ],
)
def test_a_rule_is_shown(text: str) -> None:
    assert shown_rule(text, NAMES) == text.rstrip(".")


def test_a_rule_is_shown_in_one_line() -> None:
    assert shown_rule("  since\nis   required. ", NAMES) == "since is required"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Jane Doe must be specified", id="a name"),
        pytest.param("since 2026-01-01 must be specified", id="a date"),
        pytest.param("patient 4711 is required", id="an id"),
        pytest.param("'jane@example.com' is required in doctor", id="an address"),
        pytest.param("please provide An for patient", id="a short name"),
        pytest.param("since is not of the range", id="no rule"),
        pytest.param("shoe_size is required", id="a name that is no parameter"),
        pytest.param("since must be specified " * 20, id="too long"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_may_hold_data_is_not_shown(text: str) -> None:
    assert shown_rule(text, NAMES) is None


def test_the_rules_of_fields_come_with_their_names() -> None:
    errors = {
        "since": ["This parameter is required.", "Jane is required"],
        "detail": ["since is required"],
        "0.a b": ["since is required"],
    }

    assert shown_rules(errors, NAMES) == ["since: This parameter is required", "since is required"]


def refused(connect: Callable[..., DrChronoClient], api: ScriptedApi, body: Any, **filters: Any) -> BadRequestError:
    api.script.append(Reply(400, body))
    with pytest.raises(BadRequestError) as raised:
        list(connect().list("lab_orders", filters))
    return raised.value


def test_the_error_of_a_list_says_the_rule_and_what_to_do(
    connect: Callable[..., DrChronoClient], api: ScriptedApi
) -> None:
    error = refused(connect, api, {"detail": "Either since or doctor parameter must be specified"})

    assert str(error) == (
        "lab_orders_list: the API refused the request (400): Either since or doctor parameter must be specified; give "
        "it in filters, or in extra_filters where the provider does not know it"
    )
    assert error.rules == ("Either since or doctor parameter must be specified",)


def test_the_error_keeps_to_itself_what_may_be_data(connect: Callable[..., DrChronoClient], api: ScriptedApi) -> None:
    error = refused(connect, api, {"doctor": ["Dr. Hibbert (4711) is no doctor of yours"]}, doctor=4711)

    assert "Hibbert" not in str(error)
    assert "4711" not in str(error)
    assert "the values of doctor (400); its reasons are in the error's field_errors" in str(error)
    assert error.rules == ()
