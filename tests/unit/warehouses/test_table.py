"""Tables come from the catalogue and can be told before any record was read."""

import pytest

from airflow_provider_drchrono.catalog import Field, load
from airflow_provider_drchrono.warehouses.table import METADATA, Column, ColumnType, kind_of, table_for

SYNCABLE = [
    resource for resource in load().resources.values() if resource.list_operation and resource.record and resource.key
]


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        pytest.param(Field("x", "string"), "text", id="text"),
        pytest.param(Field("x", "string", format="date"), "date", id="date"),
        pytest.param(Field("x", "string", format="date-time"), "timestamp", id="timestamp"),
        pytest.param(Field("x", "string", format="time"), "time", id="time of day"),
        pytest.param(Field("x", "string", format="decimal"), "decimal", id="decimal as text"),
        pytest.param(Field("x", "string", format="base64"), "text", id="picture"),
        pytest.param(Field("x", "string", format="file"), "text", id="file"),
        pytest.param(Field("x", "number", format="decimal"), "decimal", id="decimal as number"),
        pytest.param(Field("x", "integer"), "integer", id="integer"),
        pytest.param(Field("x", "boolean"), "boolean", id="boolean"),
        pytest.param(Field("x", "array"), "json", id="array"),
        pytest.param(Field("x", "object"), "json", id="object"),
        pytest.param(Field("x", "any"), "json", id="anything"),
    ],
)
def test_kind_of_a_field(field: Field, kind: ColumnType) -> None:
    assert kind_of(field) == kind


@pytest.mark.parametrize("resource", [pytest.param(each, id=each.name) for each in SYNCABLE])
def test_every_list_of_records_with_a_key_has_a_table(resource) -> None:  # type: ignore[no-untyped-def]
    table = table_for(load(), resource, name=resource.name, schema=None, verbose=False)
    names = [column.name for column in table.all_columns]

    assert len(names) == len(set(names))
    assert len(table.columns) > 1
    assert [column.name for column in table.columns if column.required] == list(table.key)
    assert table.changed is None or table.changed in names


@pytest.mark.parametrize("resource", [pytest.param(each, id=each.name) for each in SYNCABLE])
def test_a_reference_has_the_type_of_the_id_it_refers_to(resource) -> None:  # type: ignore[no-untyped-def]
    table = table_for(load(), resource, name=resource.name, schema=None, verbose=True)
    fields = load().record(resource.record).fields

    for column in table.columns:
        if column.kind != "json" and (other := fields[column.name].refers_to) is not None:
            target = load().resource(other)
            (key,) = target.key
            assert column.kind == kind_of(load().record(target.record or "").fields[key]), column.name


@pytest.mark.parametrize(
    ("resource", "column"),
    [
        # Days of a recurring visit have ids such as 2026-01-31_123.
        pytest.param("line_items", Column("appointment", "text"), id="a-charge-and-its-visit"),
        pytest.param("procedures", Column("appointment", "text"), id="a-procedure-and-its-visit"),
        pytest.param("line_items", Column("doctor", "integer"), id="a-charge-and-its-doctor"),
        pytest.param("tasks", Column("created_by", "text"), id="a-task-and-its-user"),
        pytest.param("appointments", Column("reminder_profile", "integer"), id="a-visit-and-its-reminders"),
    ],
)
def test_tables_can_be_joined_by_a_reference(resource: str, column: Column) -> None:
    table = table_for(load(), load().resource(resource), name=resource, schema=None, verbose=True)

    assert column in [Column(each.name, each.kind) for each in table.columns]


def test_a_patients_table() -> None:
    table = table_for(load(), load().resource("patients"), name="people", schema="practice", verbose=False)

    assert table.label == "practice.people"
    assert table.key == ("id",)
    assert table.changed == "updated_at"
    assert {
        Column("id", "integer", required=True),
        Column("first_name", "text"),
        Column("date_of_birth", "date"),
        Column("copay", "decimal"),
        Column("offices", "json"),
        Column("disable_sms_messages", "boolean"),
        Column("updated_at", "timestamp"),
    } <= set(table.columns)
    assert table.all_columns == table.columns + METADATA


def test_verbose_fields_are_columns_of_verbose_syncs_only() -> None:
    def columns(verbose: bool) -> set[str]:
        table = table_for(load(), load().resource("patients"), name="patients", schema=None, verbose=verbose)
        return {column.name for column in table.columns}

    assert columns(True) - columns(False) == set(load().record("Patient").verbose_fields)
