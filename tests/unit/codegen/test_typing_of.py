"""Fields and parameters as annotations."""

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.catalog import Field, Parameter
from airflow_provider_drchrono.codegen.typing_of import TypedDictPlan, annotation_of, typed_dicts_of

LONG_ENUMERATION = tuple(f"code {number}" for number in range(26))


def typed(*fields: Field, required: tuple[str, ...] = ()) -> list[TypedDictPlan]:
    return list(typed_dicts_of(catalog.load(), "PatientData", "About.", fields, required))


@pytest.mark.parametrize(
    ("field", "annotation"),
    [
        pytest.param(Field("x", "string"), "Text", id="text"),
        pytest.param(Field("x", "integer"), "Whole", id="integer"),
        pytest.param(Field("x", "boolean"), "Flag", id="boolean"),
        pytest.param(Field("x", "number", "decimal"), "Number", id="decimal"),
        pytest.param(Field("x", "string", "decimal"), "Number", id="decimal-as-text"),
        pytest.param(Field("x", "string", "date"), "Date", id="date"),
        pytest.param(Field("x", "string", "date-time"), "Moment", id="timestamp"),
        pytest.param(Field("x", "string", "file"), "File", id="file"),
        pytest.param(Field("x", "any"), "Any", id="anything"),
        pytest.param(Field("x", "object"), "Mapping[str, Any] | str | XComArg", id="object-without-keys"),
        pytest.param(Field("x", "string", enum=("A", "")), "Literal['A', ''] | Text", id="short-enumeration"),
        pytest.param(Field("x", "string", enum=LONG_ENUMERATION), "Text", id="long-enumeration"),
        pytest.param(
            Field("x", "array", items=Field("", "integer")), "Sequence[Whole] | str | XComArg", id="list-of-integers"
        ),
    ],
)
def test_a_required_field(field: Field, annotation: str) -> None:
    (plan,) = typed(field, required=("x",))

    assert [(each.annotation, each.required) for each in plan.fields] == [(annotation, True)]


def test_an_optional_field_may_be_emptied() -> None:
    (plan,) = typed(Field("x", "string"))

    assert plan.fields[0].annotation == "Text | None"


def test_an_object_has_a_type_of_its_own_without_its_read_only_keys() -> None:
    inner = (Field("name", "string"), Field("id", "integer", read_only=True))

    nested, outer = typed(Field("primary_insurance", "object", fields=inner))

    assert nested.name == "PatientPrimaryInsurance"
    assert [each.name for each in nested.fields] == ["name"]
    assert nested.depth > outer.depth
    assert outer.fields[0].annotation == "PatientPrimaryInsurance | str | XComArg | None"


def test_an_object_with_nothing_to_write_may_hold_anything() -> None:
    (plan,) = typed(Field("signee", "object", fields=(Field("by", "string", read_only=True),)), required=("signee",))

    assert plan.fields[0].annotation == "Mapping[str, Any] | str | XComArg"


def test_a_list_of_records_that_hold_records() -> None:
    schedule = catalog.load().record("WorkSchedule").fields["work_days"]

    names = [each.name for each in typed(schedule)]

    assert names == ["PatientWorkDaysWorkHours", "PatientWorkDays", "PatientData"]


@pytest.mark.parametrize(
    ("parameter", "annotation"),
    [
        pytest.param(Parameter("since", "query", "string", "filter", "What it selects."), "Date", id="since"),
        pytest.param(
            Parameter("updated_since", "query", "string", "filter", "What it selects."), "Date", id="another-since"
        ),
        pytest.param(Parameter("posted_date", "query", "string", "filter", "What it selects."), "Date", id="date"),
        pytest.param(Parameter("date_range", "query", "string", "filter", "What it selects."), "Text", id="range"),
        pytest.param(Parameter("doctor", "query", "integer", "filter", "What it selects."), "Whole", id="id"),
        pytest.param(
            Parameter("week_days", "query", "array", "filter", "What it selects.", items="integer"),
            "Sequence[Whole] | str | XComArg",
            id="list",
        ),
    ],
)
def test_parameters(parameter: Parameter, annotation: str) -> None:
    assert annotation_of(parameter) == annotation


def test_required_filters_are_required_in_their_type() -> None:
    filters = (
        Parameter("payer_type", "query", "string", "filter", "What it selects.", required=True),
        Parameter("term", "query", "string", "filter", "What it selects."),
    )

    plan = TypedDictPlan.of_filters("InsuranceFilters", "About.", filters)

    assert [(each.annotation, each.required) for each in plan.fields] == [("Text", True), ("Text | None", False)]
