"""What must hold for every operation, record and trigger of the catalogue, whatever is corrected in its data."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib import resources

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.catalog.loader import apply_corrections

CATALOG = catalog.load()
DATA = resources.files("airflow_provider_drchrono.catalog") / "data"
OPERATIONS = [pytest.param(each, id=each.id) for each in CATALOG.operations.values()]
RESOURCES = [pytest.param(each, id=each.name) for each in CATALOG.resources.values()]
RECORDS = [pytest.param(each, id=each.name) for each in CATALOG.records.values()]


def walk(fields: tuple[catalog.Field, ...]) -> Iterator[catalog.Field]:
    for each in fields:
        yield each
        yield from walk(each.fields)
        if each.items:
            yield from walk((each.items,))


def every_field() -> Iterator[catalog.Field]:
    for record in CATALOG.records.values():
        yield from walk(tuple(record.fields.values()))
    for operation in CATALOG.operations.values():
        if operation.body:
            yield from walk(operation.body.fields)


def test_holds_the_whole_contract() -> None:
    methods = Counter(each.method for each in CATALOG.operations.values())
    assert len(CATALOG.operations) == 327
    assert methods == {"GET": 164, "POST": 57, "PATCH": 45, "PUT": 42, "DELETE": 19}
    assert len(CATALOG.records) == 77
    assert sum(len(record.fields) for record in CATALOG.records.values()) == 961
    assert len(CATALOG.resources) == 88
    assert len({each.path for each in CATALOG.operations.values()}) == 168
    assert len(CATALOG.service.scopes) == 22


def test_operation_ids_are_unique_across_resources() -> None:
    assert sum(len(each.operations) for each in CATALOG.resources.values()) == len(CATALOG.operations)


def test_method_and_path_name_one_operation() -> None:
    seen = Counter((each.method, each.path) for each in CATALOG.operations.values())
    assert [pair for pair, count in seen.items() if count > 1] == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_is_whole(operation: catalog.Operation) -> None:
    in_path = re.findall(r"{(\w+)}", operation.path)
    assert in_path == [each.name for each in operation.parameters if each.place == "path"]
    assert all(each.required for each in operation.parameters if each.place == "path")
    names = [(each.place, each.name) for each in operation.parameters]
    assert len(names) == len(set(names))
    assert operation.path.split("/")[2] == operation.resource
    assert operation.summary.endswith(".")
    assert set(operation.scopes) <= set(CATALOG.service.scopes)
    for name in (operation.response.record, operation.body.record if operation.body else None):
        assert name is None or name in CATALOG.records
    for because in (operation.response.because, operation.body.because if operation.body else None):
        assert because is None or because in CATALOG.reasons
    assert {each.because for each in operation.parameters if each.because} <= set(CATALOG.reasons)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_writes_have_a_body_and_reads_have_none(operation: catalog.Operation) -> None:
    assert (operation.body is not None) == (operation.method in ("POST", "PUT", "PATCH"))
    if operation.kind in ("create", "update", "replace"):
        assert CATALOG.body_fields(operation), "a record that can be written has fields to write"


def test_bodies_that_the_contract_leaves_out_are_marked() -> None:
    writes = [each for each in CATALOG.operations.values() if each.body]
    assert len(writes) == 144
    assert sum(1 for each in writes if each.body and each.body.because) == 134


@pytest.mark.parametrize("resource", RESOURCES)
def test_resource_is_whole(resource: catalog.Resource) -> None:
    record = CATALOG.record_of(resource.name)
    fields = set(record.fields) if record else set()
    assert set(resource.because.values()) <= set(CATALOG.reasons)
    assert set(resource.key) <= fields
    if not resource.key:
        assert not record or "id" not in fields
    listing = resource.list_operation
    assert (resource.paging is not None) == (listing is not None)
    if listing:
        filters = {each.name for each in listing.parameters if each.role == "filter"}
        assert set(resource.requires_one_of) <= filters
        if resource.incremental:
            assert resource.incremental.filter in filters
            assert {resource.incremental.cursor_field, resource.incremental.created_field} <= fields | {None}
            assert {"incremental.lookback", "incremental.tracks_updates"} <= set(resource.because)
    if resource.bulk:
        assert CATALOG.operation(resource.bulk.start).kind == "bulk_start"
        result = CATALOG.operation(resource.bulk.result)
        assert "uuid" in {each.name for each in result.parameters}


@pytest.mark.parametrize("resource", [each for each in RESOURCES if each.values[0].incremental])
def test_a_list_says_what_it_goes_by_and_how_far_back_to_look(resource: catalog.Resource) -> None:
    incremental = resource.incremental
    assert incremental is not None
    record = CATALOG.record_of(resource.name)
    assert record is not None
    for name in filter(None, (incremental.cursor_field, incremental.created_field)):
        assert record.fields[name].format == "date-time"
    if incremental.tracks_updates:
        assert incremental.cursor_field not in (None, incremental.created_field)
    # A list shows a change of an old record only if its time moves, so the others are looked at for longer.
    assert incremental.lookback == (86_400 if incremental.goes_by_creation else 120)
    assert incremental.goes_by_creation == (CATALOG.reasons["lookback-of-creations"] == _reason(resource, "lookback"))
    assert incremental.tracks_updates == (CATALOG.reasons["change-time-moves"] == _reason(resource, "tracks_updates"))


def _reason(resource: catalog.Resource, attribute: str) -> catalog.Reason:
    return CATALOG.reasons[resource.because[f"incremental.{attribute}"]]


def test_the_service_says_how_long_a_range_of_dates_may_be() -> None:
    assert CATALOG.service.longest_date_range == 190


@pytest.mark.parametrize("record", RECORDS)
def test_record_is_whole(record: catalog.Record) -> None:
    for each in walk(tuple(record.fields.values())):
        assert each.refers_to is None or each.refers_to in CATALOG.resources
        assert each.record is None or each.record in CATALOG.records
        assert set(each.because.values()) <= set(CATALOG.reasons)
        assert each.type != "array" or each.items is not None


def test_every_action_and_trigger_is_mapped() -> None:
    actions = [each.action for each in CATALOG.operations.values() if each.action]
    assert sorted(each.number for each in actions) == list(range(1, 175))
    assert len({each.title for each in actions}) == 174
    assert [each.number for each in CATALOG.triggers] == list(range(1, 24))
    for trigger in CATALOG.triggers:
        operation = CATALOG.operation(trigger.operation)
        assert operation.kind == "list"
        assert operation.resource == trigger.resource
        assert CATALOG.resource(trigger.resource).incremental


def test_eight_bulk_lists_are_paired() -> None:
    paired = {each.bulk.start for each in CATALOG.resources.values() if each.bulk}
    assert paired == {each.id for each in CATALOG.operations.values() if each.kind == "bulk_start"}
    assert len(paired) == 8


def test_every_reason_is_used() -> None:
    used: set[str] = set()
    for resource in CATALOG.resources.values():
        used |= set(resource.because.values())
        for operation in resource.operations.values():
            used |= {each.because for each in operation.parameters if each.because}
            used |= {each for each in (operation.response.because, operation.body and operation.body.because) if each}
    for field in every_field():
        used |= set(field.because.values())
    assert used == set(CATALOG.reasons)


def test_every_enumeration_is_used() -> None:
    texts = [path.read_text() for path in (DATA / "records").iterdir()]
    for name in json.loads((DATA / "enumerations.json").read_text()):
        assert any(f'"enumeration": "{name}"' in text for text in texts), name


def test_corrections_carry_a_source_and_a_reason() -> None:
    for correction in json.loads((DATA / "corrections.json").read_text()):
        assert correction["source"] in ("documented", "observed", "inferred", "decided")
        assert correction["why"].endswith(".")


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        pytest.param({"operation": "users_rename", "set": {"method": "PUT"}}, "does not hold", id="unknown-operation"),
        pytest.param({"operation": "users_list", "set": {"method": "GET"}}, "changes nothing", id="no-effect"),
    ],
)
def test_a_correction_that_has_no_effect_is_refused(correction: dict[str, object], message: str) -> None:
    raw = {"operations": [{"id": "users_list", "method": "GET"}]}
    with pytest.raises(LookupError, match=message):
        apply_corrections([correction], [raw], [])


@pytest.mark.parametrize(
    ("look_up", "name", "nearest"),
    [
        pytest.param(CATALOG.operation, "patient_list", "patients_list", id="operation"),
        pytest.param(CATALOG.resource, "patient", "patients", id="resource"),
        pytest.param(CATALOG.record, "Pateint", "Patient", id="record"),
        pytest.param(CATALOG.operation("patients_list").parameter, "docter", "doctor", id="parameter"),
    ],
)
def test_an_unknown_name_offers_the_nearest(look_up: object, name: str, nearest: str) -> None:
    assert callable(look_up)
    with pytest.raises(catalog.UnknownNameError, match=nearest):
        look_up(name)


def test_text_that_looks_like_time_is_typed() -> None:
    patient, line_item = CATALOG.record("Patient"), CATALOG.record("BillingLineItem")
    assert patient.fields["updated_at"].format == "date-time"
    assert patient.fields["date_of_birth"].format == "date"
    assert line_item.fields["balance_total"].format == "decimal"
    assert line_item.fields["doctor"].refers_to == "doctors"
