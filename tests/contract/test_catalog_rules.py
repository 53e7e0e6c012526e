"""What the vendor says in words of operations and parameters, as facts that agree with each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from importlib import resources
from typing import Any

import pytest

from airflow_provider_drchrono import catalog

CATALOG = catalog.load()
DATA = resources.files("airflow_provider_drchrono.catalog") / "data"
SHARED = json.loads((DATA / "parameters.json").read_text())
PARAMETERS = [(each, parameter) for each in CATALOG.operations.values() for parameter in each.parameters]
MEANT = [(each, parameter) for each, parameter in PARAMETERS if parameter.role in ("id", "filter", "option")]
DAY_SHEETS = [each for each in CATALOG.operations.values() if each.resource.startswith("day_sheet")]

SPELT = {
    "date": "YYYY-MM-DD",
    "date-range": "YYYY-MM-DD/YYYY-MM-DD",
    "M/D/YYYY": "M/D/YYYY",
    "comma-separated": "commas between",
}
"""How the line about a parameter names a format that must be spelt in one way."""


def operations_where(**facts: Any) -> set[str]:
    return {
        each.id
        for each in CATALOG.operations.values()
        if all(getattr(each, key) == value for key, value in facts.items())
    }


def raw_parameters() -> Iterator[dict[str, Any]]:
    for path in (DATA / "resources").iterdir():
        for operation in json.loads(path.read_text())["operations"]:
            yield from operation["parameters"]


def test_every_parameter_has_one_line_about_it() -> None:
    for operation, each in PARAMETERS:
        where = f"{operation.id}: {each.name}: {each.about}"
        assert 10 <= len(each.about) <= 110, where
        assert each.about.endswith("."), where
        assert each.about == " ".join(each.about.split()), where
        assert each.about[0].isupper() or each.about.startswith(("`", "true ")), where
        assert each.about.rstrip(".").casefold() != each.name.replace("_", " "), where


def test_what_is_asked_for_has_a_line_of_its_own() -> None:
    own = [each for each in raw_parameters() if each["role"] in ("id", "filter", "option")]
    assert len(own) == len(MEANT) == 585
    assert all(each["about"] not in SHARED.values() for each in own)


def test_every_shared_line_is_used() -> None:
    shared = {
        each["name"] if each["role"] == "page" else each["role"] for each in raw_parameters() if "about" not in each
    }
    assert shared == set(SHARED)


def test_a_switch_says_what_true_does() -> None:
    for operation, each in MEANT:
        assert (each.type == "boolean") == each.about.startswith("true "), f"{operation.id}: {each.name}"


def test_the_line_names_a_format_that_has_one_spelling() -> None:
    for operation, each in MEANT:
        if each.format in SPELT and (operation.id, each.name) != ("patients_list_create", "since"):
            assert SPELT[each.format] in each.about, f"{operation.id}: {each.name}"


def test_reasons_stand_beside_what_they_are_reasons_for() -> None:
    attributes = {each.name: each.default for each in fields(catalog.Parameter)}
    for operation, each in PARAMETERS:
        for name in each.because:
            where = f"{operation.id}: {each.name}: {name}"
            assert name in attributes, where
            assert getattr(each, name) not in (None, (), attributes[name]), where
    for operation in CATALOG.operations.values():
        for name in operation.because:
            fact: Any = operation
            for step in name.split("."):
                fact = getattr(fact, step)
            assert fact, f"{operation.id}: {name}"


@pytest.mark.parametrize("attribute", ["format", "enum", "keywords", "longest_days"])
def test_what_the_structure_does_not_state_has_a_reason(attribute: str) -> None:
    for operation, each in PARAMETERS:
        if getattr(each, attribute):
            assert attribute in each.because, f"{operation.id}: {each.name}"


def test_formats_narrow_text() -> None:
    for operation, each in PARAMETERS:
        where = f"{operation.id}: {each.name}"
        assert each.format is None or each.type == "string", where
        assert (each.format == "date-range") == (each.longest_days is not None), where
        assert each.minimum is None or each.maximum is None or each.minimum < each.maximum, where
        if each.enum:
            assert {type(value) for value in each.enum} == {int if each.type == "integer" else str}, where


def test_changes_are_asked_for_by_time() -> None:
    for resource in CATALOG.resources.values():
        if resource.incremental and resource.list_operation:
            assert resource.list_operation.parameter(resource.incremental.filter).format == "date-time", resource.name
        if resource.bulk:
            wanted = "date" if resource.name == "patients" else "date-time"
            assert CATALOG.operation(resource.bulk.start).parameter("since").format == wanted


def test_ids_name_what_they_are_ids_of() -> None:
    for operation, each in MEANT:
        where = f"{operation.id}: {each.name}"
        assert each.refers_to is None or each.refers_to in CATALOG.resources, where
        assert each.role != "id" or each.refers_to, where
        assert (each.refers_to is None) or "Id of " in each.about or "Payer id" in each.about, where
        record = CATALOG.record_of(operation.resource)
        field = record.fields.get(each.name) if record and each.role == "filter" else None
        if field and field.refers_to and each.name not in ("status", "order"):
            assert each.refers_to == field.refers_to, where


def test_an_appointment_may_be_one_day_of_a_recurring_visit() -> None:
    taken = {operation.resource for operation, each in MEANT if each.format == "appointment-id"}
    assert taken == {"appointments", "appointments_list", "clinical_notes", "telehealth_appointments"}
    assert all(each.refers_to == "appointments" for _, each in MEANT if each.format == "appointment-id")


def test_the_user_who_is_signed_in_has_a_word() -> None:
    assert {(operation.id, each.keywords) for operation, each in PARAMETERS if each.keywords} == {
        ("users_read", ("current",))
    }


def test_day_sheets_have_a_format_of_their_own() -> None:
    assert len(DAY_SHEETS) == 4
    american = {(operation.id, each.name) for operation, each in PARAMETERS if each.format == "M/D/YYYY"}
    assert american == {(each.id, name) for each in DAY_SHEETS for name in ("start_date", "end_date")}


@pytest.mark.parametrize(
    ("operation", "parameter", "values"),
    [
        ("daysheet_charges_list", "charges_date_type", ("scheduled_time",)),
        ("daysheet_charges_list", "report_type", ("reimbursement_analysis",)),
        ("daysheet_charges_list", "claim_type", ("institutional", "professional")),
        ("daysheet_credits_list", "credits_date_type", ("credit", "debit")),
        ("daysheet_totals_list", "credits_date_type", ("check",)),
        ("daysheet_totals_list", "cash_view_type", ("simple",)),
        ("insurances_list", "payer_type", ("emdeon", "gateway", "ihcfa")),
        ("insurances_read", "payer_type", ("emdeon", "gateway", "ihcfa")),
        ("fee_schedules_v2_list", "assignee_type", ("individual", "speciality")),
        ("audit_log_list", "action", ("Not specified", "Create", "Read", "Update", "Delete")),
        ("care_plans_list", "plan_type", (1, 2, 3, 4, 5, 6)),
        ("patients_list_create", "order_by", ("id", "updated_at")),
        ("appointments_list_create", "order_by", ("scheduled_time", "updated_at")),
    ],
)
def test_allowed_values(operation: str, parameter: str, values: tuple[str | int, ...]) -> None:
    assert CATALOG.operation(operation).parameter(parameter).enum == values


@pytest.mark.parametrize(
    ("operation", "parameter", "field"),
    [
        ("audit_log_list", "type", "type"),
        ("messages_list", "type", "type"),
        ("patients_list", "gender", "gender"),
        ("patients_list_create", "ethnicity", "ethnicity"),
        ("eligibility_checks_list_create", "service_types", "request_service_type"),
    ],
)
def test_a_filter_by_a_field_takes_the_values_of_the_field(operation: str, parameter: str, field: str) -> None:
    record = CATALOG.record_of(CATALOG.operation(operation).resource)
    assert record
    assert record.fields[field].enum
    assert CATALOG.operation(operation).parameter(parameter).enum == record.fields[field].enum


def test_an_appointment_has_no_closed_list_of_statuses() -> None:
    assert CATALOG.operation("appointments_list").parameter("status").enum == ()


def test_ranges_of_numbers() -> None:
    week_days = CATALOG.operation("appointment_templates_list").parameter("week_days")
    assert (week_days.minimum, week_days.maximum) == (0, 6)
    assert {each.longest_days for _, each in PARAMETERS} == {None, 190}


def test_the_most_is_asked_for() -> None:
    appointments = CATALOG.resource("appointments")
    assert appointments.paging == catalog.Paging("cursor", 250, verbose_size=25, reported_size=20)
    assert [appointments.paging.largest(verbose=each) for each in (False, True)] == [250, 25]
    assert [appointments.paging.expected(verbose=each) for each in (False, True)] == [20, 25]
    assert CATALOG.operation("appointments_list").parameter("page_size").maximum == 250
    assert CATALOG.resource("patients_summary").paging == catalog.Paging("cursor", 250, reported_size=50)
    sizes = {each.name: each.bulk.size for each in CATALOG.resources.values() if each.bulk}
    assert sizes.pop("clinical_note_field_values") == 20_000
    assert set(sizes.values()) == {1000}
    for resource in CATALOG.resources.values():
        if resource.bulk:
            maximum = CATALOG.operation(resource.bulk.start).parameter("page_size").maximum
            assert maximum in (None, resource.bulk.size), resource.name
            assert resource.bulk.lifetime == 3600


def test_what_a_conflict_means() -> None:
    found = {each.id: each.conflict for each in CATALOG.operations.values() if each.conflict}
    assert {name: conflict.meaning for name, conflict in found.items()} == {
        "appointments_create": "overlap",
        "appointments_update": "overlap",
        "appointments_partial_update": "overlap",
        "appointments_list_create": "overlap",
        "appointments_list_update": "overlap",
        "appointments_list_partial_update": "overlap",
        "patients_create": "duplicate",
        "yellow_notepad_create": "locked",
    }
    assert [name for name, conflict in found.items() if conflict.feature_flag] == ["patients_create"]
    remedies = {conflict.remedy for conflict in found.values()}
    assert remedies == {"allow_overlapping", "allow_duplicates", None}


@pytest.mark.parametrize("operation", [each for each in CATALOG.operations.values() if each.conflict])
def test_the_remedy_of_a_conflict_can_be_sent(operation: catalog.Operation) -> None:
    conflict = operation.conflict
    assert conflict is not None
    assert (conflict.remedy is None) == (conflict.place is None)
    if conflict.place == "body":
        assert conflict.remedy in {each.name for each in CATALOG.body_fields(operation) if each.type == "boolean"}
    if conflict.place == "query":
        assert operation.parameter(str(conflict.remedy)).type == "boolean"


def test_a_deletion_may_leave_the_record_there() -> None:
    found = {each.id: each.soft_delete for each in CATALOG.operations.values() if each.soft_delete}
    assert found["documents_delete"] == "archived"
    assert found["appointments_delete"] == found["appointments_list_delete"] == "deleted_flag"
    for name, flag in found.items():
        record = CATALOG.record_of(CATALOG.operation(name).resource)
        assert CATALOG.operation(name).kind == "delete"
        assert record
        assert record.fields[flag].type == "boolean"
        assert record.fields[flag].read_only


def test_lists_come_in_a_stated_order() -> None:
    assert CATALOG.operation("appointments_list").order == "scheduled_time"
    for resource in CATALOG.resources.values():
        if resource.bulk:
            start = CATALOG.operation(resource.bulk.start)
            assert start.order == start.parameter("order_by").enum[0], "what comes first is what comes unasked"


def test_marks_of_single_operations() -> None:
    assert operations_where(create_or_update=True) == {"yellow_notepad_create"}
    assert operations_where(beta=True) == {
        *(f"{whose}_work_schedule_{what}" for whose in ("doctor", "office") for what in ("list", "read")),
        *(f"message_threads_{what}" for what in ("list", "read", "partial_update")),
    }
    assert all("(beta)" in each.summary for each in CATALOG.operations.values() if each.beta)


def test_forms_and_documents() -> None:
    only_forms = {each.id for each in CATALOG.operations.values() if each.body and each.body.multipart_only}
    assert only_forms == {
        f"{resource}_{what}"
        for resource, verbs in (
            ("documents", ("create", "update", "partial_update")),
            ("signed_consent_forms", ("create", "partial_update")),
        )
        for what in verbs
    }
    for operation in CATALOG.operations.values():
        assert not (operation.body and operation.body.multipart_only) or operation.body.encoding == "multipart"
    xml = {each.id for each in CATALOG.operations.values() if each.response.media_type == "application/xml"}
    assert xml == {"patients_ccda", "patients_ccda_async", "patients_qrda1"}
    assert all(CATALOG.operation(name).response.shape == "any" for name in xml)


def test_a_write_may_be_answered_in_two_ways() -> None:
    found = {
        each.id: each.response.other_statuses for each in CATALOG.operations.values() if each.response.other_statuses
    }
    assert found == {"schedule_blocks_update": (204,), "schedule_blocks_partial_update": (204,)}


def test_whose_records_may_be_seen() -> None:
    assert [each.name for each in CATALOG.resources.values() if each.own_application_only] == ["amendments"]
    unknown = {each.name for each in CATALOG.resources.values() if each.practice_access is None}
    newer = {"message_threads", "recurring_appointment_instances"}
    sheets = {each.resource for each in DAY_SHEETS}
    assert unknown == {"availability", "fee_schedules_v2", "schedule_blocks", *newer, *sheets}
    switches = {name for each in CATALOG.resources.values() for name in each.practice_access or ()}
    assert len(switches) == 9
    assert all(name.startswith("share_") for name in switches)
    assert CATALOG.resource("patients").practice_access == ("share_patients",)
    assert CATALOG.resource("patient_vaccine_records").practice_access == ("share_inventory", "share_patients")
    assert CATALOG.resource("doctors").practice_access == ()


def test_some_lists_are_reported_to_want_a_filter() -> None:
    found = {each.name for each in CATALOG.resources.values() if each.may_require_one_of}
    assert found == {"clinical_notes", "lab_orders", "lab_results"}
    assert not any(CATALOG.resource(name).requires_one_of for name in found)
