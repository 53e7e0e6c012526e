"""What is generated for an operation, before it is text."""

import dataclasses

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.plan import OperatorPlan, Plan, index_rows, plan


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(catalog.load())


@pytest.fixture(scope="module")
def by_operation(planned: Plan) -> dict[str, OperatorPlan]:
    return {each.operation.id: each for each in reversed(planned.operators)}


def test_every_operation_is_planned_once_but_for_a_list_that_fetches_a_bulk_list_too(planned: Plan) -> None:
    operation_ids = [*catalog.load().operations, "appointments_list_list"]
    assert sorted(each.operation.id for each in planned.operators) == sorted(operation_ids)
    twice = [each.class_name for each in planned.operators if each.operation.id == "appointments_list_list"]
    assert twice == ["DrChronoListAppointmentsListEntriesOperator", "DrChronoGetAppointmentsListOperator"]


def test_an_operation_that_changes_a_record_asks_for_no_field(by_operation: dict[str, OperatorPlan]) -> None:
    assert by_operation["patients_update"].required_fields == ("doctor", "gender")
    assert by_operation["patients_partial_update"].required_fields == ()


def test_filters_repeated_on_an_operation_of_one_record_are_left_out(
    by_operation: dict[str, OperatorPlan],
) -> None:
    create = by_operation["allergies_create"]

    assert [each.name for each in create.operation.parameters] == ["patient", "doctor"]
    assert create.filters == ()
    assert create.query_arguments == {}


@pytest.mark.parametrize(
    ("operation_id", "queries"),
    [
        ("patients_create", {"allow_duplicates": "allow_duplicates"}),
        ("line_items_create", {"use_fee_schedule_defaults": "use_fee_schedule_defaults"}),
        ("insurances_read", {"payer_type": "payer_type"}),
        ("yellow_notepad_create", {"appointment_id": "appointment_id", "template_id": "template_id"}),
        (
            "signed_consent_forms_create",
            {"patient_id": "patient", "appointment_id": "appointment", "consent_form_id": "consent_form"},
        ),
        ("signed_consent_forms_partial_update", {"signed_consent_form_id": "id", "patient_id": "patient"}),
    ],
)
def test_query_parameters_that_mean_something_are_arguments(
    by_operation: dict[str, OperatorPlan], operation_id: str, queries: dict[str, str]
) -> None:
    assert by_operation[operation_id].query_arguments == queries


def test_the_id_of_a_signed_consent_form_is_given_once(by_operation: dict[str, OperatorPlan]) -> None:
    fields = [each.name for each in by_operation["signed_consent_forms_partial_update"].data_fields]

    assert fields == ["appointment", "archived", "signature_file"]


def test_verbose_is_offered_only_where_the_api_takes_it(planned: Plan) -> None:
    for each in planned.operators:
        offered = any(argument.name == "verbose" for argument in each.arguments)
        assert offered == any(parameter.name == "verbose" for parameter in each.operation.parameters), each.class_name


def test_required_arguments_come_first_so_that_signatures_read_well(planned: Plan) -> None:
    for each in planned.operators:
        optional = [argument.default is not None for argument in each.arguments]
        assert optional == sorted(optional), each.class_name


def test_every_argument_of_the_request_is_stated_by_the_operator(planned: Plan) -> None:
    for each in planned.operators:
        given = {*each.path_arguments, *each.query_arguments} | (
            {"data", "filters", "uuid"} & {argument.name for argument in each.arguments}
        )
        assert given == {argument.name for argument in each.own}, each.class_name


def test_create_and_replace_share_the_type_of_their_data(planned: Plan) -> None:
    patients = next(each for each in planned.domains if each.name == "patients")
    (data,) = [each for each in patients.types if each.name == "PatientData"]
    (update,) = [each for each in patients.types if each.name == "PatientUpdate"]
    (fields,) = [each for each in patients.types if each.name == data.base]

    assert {each.name for each in data.fields if each.required} == {"doctor", "gender"}
    assert data.base == update.base == "PatientFields"
    assert not any(each.required for each in (*update.fields, *fields.fields))
    assert [each.name for each in data.fields] == [each.name for each in update.fields]
    assert "first_name" in {each.name for each in fields.fields}


def test_no_field_of_a_record_stands_in_two_types(planned: Plan) -> None:
    for domain in planned.domains:
        shared = [each.fields for each in domain.types if each.depth or each.name.endswith("Fields")]
        assert len(shared) == len(set(shared)), domain.name


def test_a_type_stands_above_the_types_that_use_it(planned: Plan) -> None:
    for domain in planned.domains:
        names = [each.name for each in domain.types]
        for place, each in enumerate(domain.types):
            for field in each.fields:
                used = [name for name in names if name in field.annotation.replace("[", " ").replace("]", " ").split()]
                assert all(names.index(name) < place for name in used), (each.name, field.name)


def test_two_operators_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(naming.SPECIAL, "availability", "ListPatients")

    with pytest.raises(naming.NameClashError, match="DrChronoListPatientsOperator"):
        plan(catalog.load())


def test_an_operation_without_a_verb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(naming.SPECIAL, "availability")

    with pytest.raises(LookupError, match="availability is of kind report"):
        plan(catalog.load())


@pytest.fixture(scope="module")
def rows(planned: Plan) -> dict[str, dict]:
    return {each["operation_id"]: each for each in index_rows(planned)}


def test_an_index_row_names_everything_that_can_be_given(rows: dict[str, dict]) -> None:
    assert rows["documents_create"] == {
        "operation_id": "documents_create",
        "method": "POST",
        "path": "/api/documents",
        "operator": "airflow_provider_drchrono.operators.documents.DrChronoCreateDocumentOperator",
        "action": "Create Document",
        "category": "Documents & Consent Forms",
        "parameters": [
            {"argument": "data", "name": "date", "place": "body", "required": True},
            {"argument": "data", "name": "description", "place": "body", "required": True},
            {"argument": "data", "name": "doctor", "place": "body", "required": True},
            {"argument": "data", "name": "document", "place": "file", "required": True},
            {"argument": "data", "name": "metatags", "place": "body", "required": False},
            {"argument": "data", "name": "patient", "place": "body", "required": True},
        ],
    }


def test_an_id_in_the_path(rows: dict[str, dict]) -> None:
    first = rows["tasks_read"]["parameters"][0]

    assert first == {"argument": "drchrono_task_id", "name": "id", "place": "path", "required": True}


def test_the_uuid_of_a_background_list(rows: dict[str, dict]) -> None:
    assert rows["transactions_list_list"]["parameters"] == [
        {"argument": "uuid", "name": "uuid", "place": "query", "required": True}
    ]


def test_all_named_actions_are_there(rows: dict[str, dict]) -> None:
    assert sum(each["action"] is not None for each in rows.values()) == 174
    assert all(each["category"] for each in rows.values())


def test_each_parameter_is_an_argument_of_the_operator(
    rows: dict[str, dict], by_operation: dict[str, OperatorPlan]
) -> None:
    for operation_id, row in rows.items():
        arguments = {each.name for each in by_operation[operation_id].arguments}
        assert {each["argument"] for each in row["parameters"]} <= arguments, operation_id


def test_types_of_one_name_and_different_fields_are_refused() -> None:
    facts = catalog.load()
    notes = facts.resources["allergies"]
    clash = dataclasses.replace(notes, name="allergies_again", operations=dict(notes.operations))
    other = facts.operations["problems_create"]
    operations = {"problems_create": dataclasses.replace(other, resource="allergies_again")}
    resources = {**facts.resources, "allergies_again": dataclasses.replace(clash, operations=operations)}

    with pytest.raises(naming.NameClashError, match=r"AllergyData|DrChronoCreateAllergyOperator"):
        plan(dataclasses.replace(facts, resources=resources))
