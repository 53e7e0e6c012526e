import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from airflow_provider_drchrono.catalog import Parameter, load
from airflow_provider_drchrono.client import InvalidArgumentError
from airflow_provider_drchrono.client.files import Multipart
from airflow_provider_drchrono.client.request import Request, build_request

CATALOG = load()
BASE = "https://app.drchrono.com"
CANARY = "Quintessa Canarybird"


def build(operation_id: str, **arguments: Any) -> Request:
    return build_request(CATALOG, BASE, CATALOG.operation(operation_id), **arguments)


def query(operation_id: str, **values: Any) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(build(operation_id, query=values).url).query, keep_blank_values=True))


def any_value(parameter: Parameter) -> int | str:
    if parameter.enum:
        return parameter.enum[0]
    by_format = {"M/D/YYYY": "1/31/2026", "date": "2026-01-31", "integer": "7"}
    return 7 if parameter.type == "integer" else by_format.get(parameter.format or "", "x")


def minimal_arguments() -> Iterator[Any]:
    for operation in CATALOG.operations.values():
        path = {each.name: 42 for each in operation.parameters if each.place == "path"}
        needed = [each for each in operation.parameters if each.place == "query" and each.required]
        values: dict[str, Any] = {each.name: any_value(each) for each in needed}
        if operation.kind in ("list", "bulk_start") and CATALOG.resource(operation.resource).requires_one_of:
            values["since"] = "2026-01-01"
        encoding = operation.body.encoding if operation.body else "none"
        body = None if encoding == "none" else {"note": "x"}
        yield pytest.param(operation.id, path, values, body, id=operation.id)


@pytest.mark.parametrize(("operation_id", "path", "values", "body"), list(minimal_arguments()))
def test_every_operation_can_be_asked_for(
    operation_id: str, path: dict[str, Any], values: dict[str, Any], body: Any
) -> None:
    operation = CATALOG.operation(operation_id)
    request = build(operation_id, path=path, query=values, body=body)
    parts = urlsplit(request.url)
    assert request.method == operation.method
    assert parts.path == operation.path.replace("{id}", "42")
    assert "{" not in parts.path
    assert dict(parse_qsl(parts.query)) == {name: str(value) for name, value in values.items()}
    if operation.body and operation.body.multipart_only:
        assert isinstance(request.body, Multipart)
    else:
        assert request.body == (None if body is None else b'{"note": "x"}')


@pytest.mark.parametrize(
    ("given", "segment"),
    [
        pytest.param(42, "42", id="number"),
        pytest.param("42", "42", id="text"),
        pytest.param(" 42 ", "42", id="pasted"),
        pytest.param("2026-01-31_77", "2026-01-31_77", id="occurrence-of-a-series"),
        pytest.param("current", "current", id="word"),
        pytest.param("a b%41", "a%20b%2541", id="quoted"),
    ],
)
def test_ids_become_one_segment_of_the_path(given: Any, segment: str) -> None:
    assert build("appointments_read", path={"id": given}).url == f"{BASE}/api/appointments/{segment}"


@pytest.mark.parametrize(
    "given",
    ["", "  ", ".", "..", "../users/1", "a/b", "a\\b", "1?x=1", "1#x", "1\n2", "\x00", None, True, 1.5, b"1", ["1"]],
    ids=repr,
)
def test_what_is_no_id_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="appointments_read") as caught:
        build("appointments_read", path={"id": given})
    assert caught.value.operation_id == "appointments_read"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param(date(2026, 1, 31), "2026-01-31", id="date"),
        pytest.param(datetime(2026, 1, 31, 8, 5), "2026-01-31T08:05:00", id="time"),
        pytest.param(datetime(2026, 1, 31, 8, 5, 1, 250), "2026-01-31T08:05:01.000250", id="microseconds"),
        pytest.param("2026-01-31", "2026-01-31", id="text"),
        pytest.param("2026-01-31 08:05", "2026-01-31T08:05:00", id="text-with-space"),
    ],
)
def test_filters_are_written_as_the_api_reads_them(given: Any, sent: str) -> None:
    assert query("patients_list", since=given) == {"since": sent}


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        pytest.param("last_name", "a&b=c d+é", "a&b=c d+é", id="quoted"),
        pytest.param("last_name", Decimal("1.50"), "1.50", id="decimal"),
        pytest.param("last_name", 1.5, "1.5", id="float"),
        pytest.param("verbose", True, "true", id="true"),
        pytest.param("verbose", "no", "false", id="no"),
        pytest.param("doctor", " 42 ", "42", id="pasted"),
    ],
)
def test_values_are_quoted_and_coerced(name: str, given: Any, sent: str) -> None:
    assert query("patients_list", **{name: given}) == {name: sent}


def test_an_empty_filter_is_refused_as_it_would_select_everything() -> None:
    with pytest.raises(InvalidArgumentError, match=r"filters\['last_name'\] is empty"):
        build("patients_list", query={"last_name": ""})


def test_ids_that_are_numbers_must_be_numbers() -> None:
    assert build("sublabs_read", path={"id": "7"}).url == f"{BASE}/api/sublabs/7"
    with pytest.raises(InvalidArgumentError, match="id must be a whole number"):
        build("sublabs_read", path={"id": "seven"})


def test_none_leaves_a_filter_out_and_lists_are_joined() -> None:
    assert query("patients_list", since=None, doctor=7) == {"doctor": "7"}
    assert query("appointment_templates_list", week_days=[0, 2, 4]) == {"week_days": "0,2,4"}
    assert query("appointment_templates_list", week_days=(d for d in (1, 3))) == {"week_days": "1,3"}


@pytest.mark.parametrize(
    "since",
    [
        "2026-01-31T08:00:00Z",
        "2026-01-31T08:00:00z",
        "2026-01-31 08:00+00:00",
        "2026-01-31T08:00:00.123456-0500",
        datetime(2026, 1, 31, 8, tzinfo=UTC),
        datetime(2026, 1, 31, 8, tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=str,
)
def test_since_with_a_zone_is_refused_with_the_remedy(since: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"practice's wall clock.*without one, as in 2026-01-31T08:00:00"):
        build("patients_list", query={"since": since})


@pytest.mark.parametrize("name", ["updated_since", "received_since"])
def test_other_filters_of_time_refuse_zones_too(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        build("messages_list", query={name: "2026-01-31T08:00:00Z"})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("2026-01-01/2026-07-09", id="text"),
        pytest.param((date(2026, 1, 1), date(2026, 7, 9)), id="dates"),
        pytest.param(["2026-01-01", "2026-07-09"], id="list-of-text"),
        pytest.param((datetime(2026, 1, 1, 8), datetime(2026, 7, 9, 9)), id="times"),
    ],
)
def test_a_date_range_of_190_days_is_the_longest(given: Any) -> None:
    assert query("appointments_list", date_range=given) == {"date_range": "2026-01-01/2026-07-09"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param("2026-01-01/2026-07-10", "more than 190 days.*empty list; ask for shorter ranges", id="too-long"),
        pytest.param("2026-02-01/2026-01-01", "ends before it begins", id="backwards"),
        pytest.param("2026-01-01", "two dates", id="one-date"),
        pytest.param("2026-01-01/2026-02-30", "two dates", id="no-such-day"),
        pytest.param("2026-01-01/2026-01-02/2026-01-03", "two dates", id="three-dates"),
        pytest.param(7, "two dates", id="number"),
        pytest.param({"a": 1}, "two dates", id="mapping"),
    ],
)
def test_date_ranges_that_the_api_would_misread_are_refused(given: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        build("appointments_list", query={"date_range": given})


@pytest.mark.parametrize(
    ("operation_id", "arguments", "says"),
    [
        pytest.param("patients_list", {"query": {"dcotor": 1}}, "'dcotor' .did you mean 'doctor'", id="query"),
        pytest.param("patients_read", {"path": {"idd": 1}}, "'idd' .did you mean 'id'", id="path"),
        pytest.param("patients_read", {}, "patients_read needs id", id="path-missing"),
        pytest.param("insurances_list", {}, "insurances_list needs payer_type", id="required-filter"),
        pytest.param(
            "appointments_list", {"query": {"doctor": 1}}, "since, occurred_since, date, date_range", id="one-of"
        ),
        pytest.param("audit_log_list", {}, "since, date, date_range", id="one-of-audit"),
        pytest.param("appointments_list_create", {}, "at least one of", id="one-of-bulk"),
        pytest.param("patients_list", {"query": {"doctor": "seven"}}, "must be a whole number", id="no-number"),
        pytest.param("patients_list", {"query": {"doctor": True}}, r"doctor'\] must be a whole number", id="bool"),
        pytest.param("patients_list", {"query": {"doctor": [1, 2]}}, "a whole number, not a list", id="several"),
        pytest.param("patients_list", {"query": {"email": object()}}, "must be text, not a object", id="object"),
        pytest.param("patients_list_create", {"query": {"page_size": 1001}}, "between 1 and 1000", id="page-size"),
        pytest.param("patients_list", {"body": {"a": 1}}, "takes no body", id="body-on-get"),
        pytest.param("patients_create", {}, "patients_create needs a body", id="body-missing"),
        pytest.param("documents_create", {}, "needs a body or files", id="body-or-files"),
        pytest.param("patients_create", {"body": []}, "at least one record", id="empty-list"),
        pytest.param("patients_create", {"body": "text"}, "record or a list", id="text-as-body"),
        pytest.param("patients_create", {"body": [{"a": 1}, 2]}, "record or a list", id="number-in-list"),
        pytest.param(
            "patients_partial_update", {"path": {"id": 1}, "body": [{"a": 1}]}, "only creating", id="list-on-patch"
        ),
        pytest.param(
            "patients_create", {"body": {"a": 1}, "files": {"photo": b"x"}}, "takes no files", id="files-on-json"
        ),
        pytest.param(
            "documents_create", {"files": {"dokument": b"x"}}, "'dokument' .did you mean 'document'", id="file-field"
        ),
        pytest.param(
            "documents_create", {"body": [{"a": 1}], "files": {"document": b"x"}}, "together with files",
            id="list-with-files",
        ),
        pytest.param(
            "documents_create", {"body": {"tags": ["a"]}, "files": {"document": b"x"}}, "tags is a nested value",
            id="nesting-with-files",
        ),
        pytest.param(
            "signed_consent_forms_create",
            {"query": {"patient": 1, "appointment": 2, "consent_form": 3, "signature_file": "x"}},
            "signature_file is a file; give it in files",
            id="file-as-query",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(operation_id: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        build(operation_id, **arguments)
    assert operation_id in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("operation_id", "arguments"),
    [
        pytest.param("patients_list", {"query": {"doctor": CANARY}}, id="number"),
        pytest.param("patients_list", {"query": {"date_of_birth": {CANARY: 1}}}, id="mapping"),
        pytest.param("appointments_list", {"query": {"date_range": CANARY}}, id="range"),
        pytest.param("patients_list", {"query": {"since": f"{CANARY} 10:00Z"}}, id="since"),
        pytest.param("patients_read", {"path": {"id": f"{CANARY}/1"}}, id="id"),
        pytest.param("patients_create", {"body": {"first_name": {CANARY}}}, id="set"),
        pytest.param("patients_create", {"body": {"first_name": CANARY, "x": float("nan")}}, id="nan"),
        pytest.param("patients_create", {"body": {"first_name": f"{CANARY}\ud800"}}, id="surrogate"),
        pytest.param("patients_create", {"body": {(CANARY,): 1}}, id="key"),
        pytest.param("documents_create", {"files": {"document": f"/nowhere/{CANARY}.pdf"}}, id="path"),
    ],
)
def test_refusals_repeat_no_values(operation_id: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        build(operation_id, **arguments)
    assert CANARY not in repr(caught.value)
    assert not caught.value.__context__ or CANARY not in repr(caught.value.__context__)


def test_a_request_shows_neither_address_nor_body() -> None:
    request = build("patients_create", query={"first_name": CANARY}, body={"first_name": CANARY})
    assert "Canarybird" not in repr(request)


def test_bodies_are_json_with_dates_decimals_and_ids_as_text() -> None:
    body = {
        "day": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 8),
        "price": Decimal("12.50"),
        "uuid": UUID(int=1),
        "name": "Zoë",
        "nested": {"list": [1, None, True]},
    }
    sent = build("patients_create", body=body).body
    assert isinstance(sent, bytes)
    assert json.loads(sent) == {
        "day": "2026-01-31",
        "at": "2026-01-31T08:00:00",
        "price": "12.50",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "name": "Zoë",
        "nested": {"list": [1, None, True]},
    }


def test_a_list_of_records_is_sent_as_one_body() -> None:
    assert build("patients_create", body=[{"a": 1}, {"a": 2}]).body == b'[{"a": 1}, {"a": 2}]'


def test_times_with_a_zone_are_refused_in_bodies() -> None:
    with pytest.raises(InvalidArgumentError, match="time zone"):
        build("appointments_create", body={"scheduled_time": datetime(2026, 1, 31, tzinfo=UTC)})


def test_files_make_the_body_multipart() -> None:
    body = {"description": "x", "archived": True, "date": date(2026, 1, 31), "patient": 7, "notes": None}
    request = build("documents_create", body=body, files={"document": ("scan.pdf", BytesIO(b"%PDF"))})
    assert isinstance(request.body, Multipart)
    sent = b"".join(request.body.chunks()).decode()
    for name, value in {
        "description": "x", "archived": "true", "date": "2026-01-31", "patient": "7", "notes": "",
    }.items():  # fmt: skip
        assert f'name="{name}"\r\n\r\n{value}\r\n' in sent


def test_what_is_read_from_a_form_is_a_form_without_files_too() -> None:
    request = build("documents_partial_update", path={"id": 1}, body={"archived": True})
    assert isinstance(request.body, Multipart)
    assert 'name="archived"\r\n\r\ntrue\r\n' in b"".join(request.body.chunks()).decode()

    with pytest.raises(InvalidArgumentError, match="documents_create takes one record at a time"):
        build("documents_create", body=[{"description": "x"}])


def test_a_create_whose_query_says_everything_sends_an_empty_form() -> None:
    request = build("signed_consent_forms_create", query={"patient": 1, "appointment": 2, "consent_form": 3})
    assert isinstance(request.body, Multipart)
    sent = b"".join(request.body.chunks())
    assert sent == f"--{request.body.boundary}--\r\n".encode()
    assert request.body.length == len(sent)


@pytest.mark.parametrize(
    ("operation_id", "repeatable"),
    [
        pytest.param("patients_list", True, id="list"),
        pytest.param("patients_update", True, id="put"),
        pytest.param("patients_partial_update", True, id="patch"),
        pytest.param("patients_delete", True, id="delete"),
        pytest.param("patients_create", False, id="post"),
        pytest.param("medications_append_to_pharmacy_note", False, id="patch-that-appends"),
        pytest.param("patients_onpatient_access_delete", True, id="action-that-deletes"),
        pytest.param("patients_list_create", True, id="start-of-a-bulk-list"),
    ],
)
def test_what_may_arrive_twice(operation_id: str, repeatable: bool) -> None:
    request = Request(CATALOG.operation(operation_id), BASE)
    assert request.repeatable is repeatable
