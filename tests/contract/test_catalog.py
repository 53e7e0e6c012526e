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

IN_WORDS_ONLY = frozenset(
    {"before", "default", "json_text", "max_items", "maximum", "meanings", "minimum", "nonzero", "only_with"}
    | {"open_enum", "pattern", "required_unless", "returned_if", "utc", "write_only"}
)
"""Attributes of a field that the structure of the vendor's contract never states."""

SAYS_NOTHING = frozenset(
    {"a", "an", "and", "are", "at", "by", "field", "for", "in", "is", "it", "its", "of", "on", "or", "that", "the"}
    | {"this", "to", "value", "with"}
)


def walk(fields: tuple[catalog.Field, ...]) -> Iterator[catalog.Field]:
    for each in fields:
        yield each
        yield from walk(each.fields)
        if each.items:
            yield from walk((each.items,))


def with_siblings(fields: tuple[catalog.Field, ...]) -> Iterator[tuple[catalog.Field, dict[str, catalog.Field]]]:
    """Yield each named field beside the fields of the same object, by name."""
    siblings = {each.name: each for each in fields}
    for each in fields:
        yield each, siblings
        inner = each.items if each.items is not None else each
        yield from with_siblings(inner.fields)


def every_field() -> Iterator[catalog.Field]:
    for record in CATALOG.records.values():
        yield from walk(tuple(record.fields.values()))
    for operation in CATALOG.operations.values():
        if operation.body:
            yield from walk(operation.body.fields)


def reasons_of(operation: catalog.Operation) -> Iterator[str]:
    yield from operation.because.values()
    for parameter in operation.parameters:
        yield from parameter.because.values()
    for part in (operation.response, operation.body):
        if part and part.because:
            yield part.because


def test_holds_the_whole_contract() -> None:
    first = [each for each in CATALOG.operations.values() if each.because.get("id") != "newer-contract"]
    methods = Counter(each.method for each in first)
    assert len(first) == 327
    assert methods == {"GET": 164, "POST": 57, "PATCH": 45, "PUT": 42, "DELETE": 19}
    assert len({each.resource for each in first}) == 88
    assert len({each.path for each in first}) == 168
    assert len(CATALOG.service.scopes) == 22


def test_holds_what_a_newer_edition_of_the_contract_adds() -> None:
    newer = {name for name, each in CATALOG.operations.items() if each.because.get("id") == "newer-contract"}
    assert newer == {
        "message_threads_list",
        "message_threads_partial_update",
        "message_threads_read",
        "recurring_appointment_instances_list",
    }
    newer_records = {"Availability", "MessageThread"}
    assert len(CATALOG.records.keys() - newer_records) == 77
    newer_fields = {("UserProfile", "staff")}
    of_first = [
        (name, each)
        for name, record in CATALOG.records.items()
        for each in record.fields
        if name not in newer_records and (name, each) not in newer_fields
    ]
    assert len(of_first) == 961
    assert CATALOG.operation("message_threads_partial_update").response.shape == "record"
    assert CATALOG.record("MessageThread").fields["updated_at"].utc
    assert CATALOG.operation("recurring_appointment_instances_list").parameter("base_recurring_appointment").required
    assert CATALOG.operation("availability").parameter("exam_room").type == "integer"


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
    assert set(reasons_of(operation)) <= set(CATALOG.reasons)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_writes_have_a_body_and_reads_have_none(operation: catalog.Operation) -> None:
    assert (operation.body is not None) == (operation.method in ("POST", "PUT", "PATCH"))
    if operation.kind in ("create", "update", "replace"):
        assert CATALOG.body_fields(operation), "a record that can be written has fields to write"


def test_bodies_that_the_contract_leaves_out_are_marked() -> None:
    writes = [each for each in CATALOG.operations.values() if each.body]
    assert len(writes) == 145
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
        assert set(resource.requires_one_of) | set(resource.may_require_one_of) <= filters
        if resource.incremental:
            assert resource.incremental.filter in filters
            assert {resource.incremental.cursor_field, resource.incremental.created_field} <= fields | {None}
            assert {"incremental.lookback", "incremental.tracks_updates"} <= set(resource.because)
    if resource.bulk:
        assert CATALOG.operation(resource.bulk.start).kind == "bulk_start"
        result = CATALOG.operation(resource.bulk.result)
        assert "uuid" in {each.name for each in result.parameters}
        assert resource.bulk.failed_states


@pytest.mark.parametrize("resource", [each for each in RESOURCES if each.values[0].deletions])
def test_a_list_says_how_it_tells_of_deletions(resource: catalog.Resource) -> None:
    deletions, record, listing = resource.deletions, CATALOG.record_of(resource.name), resource.list_operation
    assert deletions is not None
    assert record is not None
    assert listing is not None
    given = {name for name in ("flag", "shown_by", "log", "part_of") if getattr(deletions, name)}
    assert given == {key.partition(".")[2] for key in resource.because if key.startswith("deletions.")} != set()
    soft = {each.soft_delete for each in resource.operations.values()} - {None}
    assert soft <= {deletions.flag}
    if deletions.flag:
        assert record.fields[deletions.flag].type == "boolean"
    if deletions.shown_by:
        assert listing.parameter(deletions.shown_by).type == "boolean"
    if deletions.part_of:
        (key,) = resource.key
        assert record.fields[deletions.part_of].type == record.fields[key].type
    if deletions.log:
        log = CATALOG.resource(deletions.log)
        logged = CATALOG.record_of(log.name)
        assert logged is not None
        assert log.incremental is not None
        assert log.incremental.cursor_field is not None
        assert [each.name for each in logged.fields.values() if each.refers_to == resource.name]


def test_lists_whose_records_can_be_flagged_as_deleted_are_known() -> None:
    flags = {"archived", "deleted_flag"}
    found = {
        each.name
        for each in CATALOG.resources.values()
        if each.list_operation and each.record and flags & set(CATALOG.record(each.record).fields)
    }
    # A thread that is archived has left the inbox, and its messages are there.
    assert found - {"message_threads"} == {
        each.name for each in CATALOG.resources.values() if each.deletions and each.deletions.flag
    }


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


@pytest.mark.parametrize("record", RECORDS)
def test_record_is_whole(record: catalog.RecordSchema) -> None:
    for each in walk(tuple(record.fields.values())):
        assert each.refers_to is None or each.refers_to in CATALOG.resources
        assert each.record is None or each.record in CATALOG.records
        assert set(each.because.values()) <= set(CATALOG.reasons)
        assert each.type != "array" or each.items is not None


@pytest.mark.parametrize("record", RECORDS)
def test_each_field_says_in_one_line_what_it_means(record: catalog.RecordSchema) -> None:
    for field, _ in with_siblings(tuple(record.fields.values())):
        about = field.about
        assert 10 <= len(about) <= 110, (field.name, about)
        assert " ".join(about.split()) == about, f"{field.name}: one line, single spaces"
        assert about[0].isupper() or about[0].isdigit(), (field.name, about)
        assert not re.search(r"\. |[.;,]$", about), f"{field.name}: one sentence, without a full stop"
        named = set(re.findall(r"[a-z0-9]+", field.name.lower()))
        told = set(re.findall(r"[a-z0-9]+", about.lower())) - SAYS_NOTHING
        assert told - named, f"{field.name}: {about!r} tells nothing that the name does not"


@pytest.mark.parametrize("record", RECORDS)
def test_facts_of_a_field_agree(record: catalog.RecordSchema) -> None:
    for field, siblings in with_siblings(tuple(record.fields.values())):
        for other in (field.required_unless, field.only_with, field.before):
            assert other is None or (other in siblings and other != field.name), field.name
        if field.before:
            assert field.format in ("date", "date-time", "time"), field.name
            assert siblings[field.before].format == field.format, field.name
        assert not (field.write_only and field.read_only), field.name
        assert not (field.required and field.default is not None), field.name
    for field in walk(tuple(record.fields.values())):
        check_values(field)


def check_values(field: catalog.Field) -> None:
    """What a field says of its values fits its type and its enumeration."""
    bounded = field.minimum is not None or field.maximum is not None
    numeric = field.type in ("integer", "number") or field.format == "decimal"
    assert numeric or not (bounded or field.nonzero), field.name
    if field.minimum is not None and field.maximum is not None:
        assert field.minimum <= field.maximum, field.name
    assert not (bounded and field.enum), field.name
    assert field.enum or not (field.open_enum or field.meanings), field.name
    assert set(field.meanings) <= {str(each) for each in field.enum}, field.name
    assert all(each == each.strip() and each for each in field.meanings.values()), field.name
    plain = field.type == "string" and field.format is None
    assert plain or not (field.pattern or field.json_text), field.name
    assert not (field.pattern and field.enum), field.name
    assert field.type == "array" or field.max_items is None, field.name
    assert field.format == "date-time" or not field.utc, field.name
    if field.pattern:
        assert not re.fullmatch(field.pattern, "?"), f"the pattern of {field.name} takes anything"
    if field.default is not None:
        kinds = {"string": str, "integer": int, "number": str, "boolean": bool}
        assert type(field.default) is kinds[field.type], field.name
        assert not field.enum or field.default in field.enum, field.name


@pytest.mark.parametrize("record", RECORDS)
def test_facts_that_stand_only_in_words_have_a_reason(record: catalog.RecordSchema) -> None:
    plain = catalog.Field("", "any")
    for field in walk(tuple(record.fields.values())):
        facts = {name for name in IN_WORDS_ONLY if getattr(field, name) != getattr(plain, name)}
        assert facts <= set(field.because), f"{field.name} does not say where these come from: {facts}"
        for name in field.because:
            assert getattr(field, name) != getattr(plain, name), f"{field.name} gives a reason for no {name}"


@pytest.mark.parametrize("record", RECORDS)
def test_a_field_that_comes_on_demand_names_the_demand(record: catalog.RecordSchema) -> None:
    parameters = {each.name for operation in CATALOG.operations.values() for each in operation.parameters}
    # The vendor's words name this parameter, and none of its operations has it.
    known = parameters | {"read", "feature", "show_inactive"}
    for field in walk(tuple(record.fields.values())):
        assert field.returned_if is None or field.returned_if in known, field.name


@pytest.mark.parametrize(
    ("record", "name", "fact", "value"),
    [
        pytest.param("Appointment", "patient", "required_unless", "appt_is_break", id="a-break-has-no-patient"),
        pytest.param("Appointment", "patient", "nullable", True, id="the-patient-of-a-break-is-null"),
        pytest.param("Appointment", "status", "open_enum", True, id="a-practice-has-statuses-of-its-own"),
        pytest.param("Appointment", "billing_status", "open_enum", True, id="and-billing-statuses"),
        pytest.param("AuditLog", "patient", "refers_to", None, id="the-audit-log-names-patients-in-words"),
        pytest.param("CashPayment", "amount", "nonzero", True, id="nobody-pays-nothing"),
        pytest.param("LabOrder", "status", "default", "N", id="an-order-begins-unsent"),
        pytest.param("Office", "end_time", "default", "24:00", id="an-office-closes-at-midnight"),
        pytest.param("Patient", "patient_photo_date", "only_with", "patient_photo", id="no-date-without-a-photo"),
        pytest.param("ScannedClinicalDocument", "metatags", "json_text", True, id="tags-are-json-in-text"),
        pytest.param("ScheduleBlock", "start_time", "before", "end_time", id="a-block-ends-after-it-starts"),
        pytest.param("TelemedicineAppointment", "created_at", "utc", True, id="telehealth-keeps-utc"),
        pytest.param("UserProfile", "staff", "refers_to", "staff", id="a-user-names-its-staff-entry"),
    ],
)
def test_rules_that_stand_only_in_words_are_facts(record: str, name: str, fact: str, value: object) -> None:
    assert getattr(CATALOG.record(record).fields[name], fact) == value


def test_patterns_take_what_the_vendor_shows() -> None:
    offset = CATALOG.record("TaskTemplate").fields["default_due_date_offset"].pattern
    assert offset is not None
    assert all(re.fullmatch(offset, each) for each in ("30", "05:30", "12:05:30", "3 12:05:30", "3 12:05:30.123456"))
    assert not any(re.fullmatch(offset, each) for each in ("3 days", "12:", "1:2:3:4", "30.1234567"))
    name = CATALOG.record("CustomPatientFieldType").fields["template_name"].pattern
    assert name is not None
    assert re.fullmatch(name, "shoe_size_2")
    assert not re.fullmatch(name, "shoe size")


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
            used |= set(reasons_of(operation))
    for field in every_field():
        used |= set(field.because.values())
    used |= set(json.loads((DATA / "service.json").read_text())["because"].values())
    assert used == set(CATALOG.reasons)


def test_a_named_update_changes_what_it_is_given_and_leaves_the_rest() -> None:
    updates = [each for each in CATALOG.operations.values() if each.action and each.action.title.startswith("Update ")]

    replacing = {each.id for each in updates if each.kind == "replace"}
    assert {each.kind for each in updates if each.id not in replacing} == {"update"}
    assert replacing == {
        "doctor_work_schedule_update",
        "office_work_schedule_update",
        "schedule_blocks_update",
    }, "of these the contract has no PATCH, or none that is named"


def test_every_enumeration_is_used() -> None:
    texts = [path.read_text() for path in (DATA / "records").iterdir()]
    for name in json.loads((DATA / "enumerations.json").read_text()):
        assert any(f'"enumeration": "{name}"' in text for text in texts), name


def test_meanings_kept_apart_belong_to_an_enumeration() -> None:
    enumerations = json.loads((DATA / "enumerations.json").read_text())
    for name, meanings in json.loads((DATA / "meanings.json").read_text()).items():
        assert set(meanings) <= {str(each) for each in enumerations[name]}, name
    payment = CATALOG.record("CashPayment").fields["payment_method"]
    assert payment.meanings["CHCK"] == "check"
    drug = CATALOG.record("BillingProfile").fields["cpt_codes"].items
    assert drug is not None
    units = {each.name: each for each in walk(drug.fields)}["units"]
    assert units.meanings["GR"] == "grams", "fields deep inside a record have meanings too"


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
