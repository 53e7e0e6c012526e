"""What may be held: how it is asked for, what is refused, and what becomes of records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import Field, load
from airflow_provider_drchrono.catalog.privacy import element_of, privacy_leaves
from airflow_provider_drchrono.privacy import FieldPolicy, Masker, PolicyError

CATALOG = load()
KEY = "0f" * 32
LISTS = sorted(each.name for each in CATALOG.resources.values() if each.list_operation and each.record)


def policy(resource: str, **arguments: Any) -> FieldPolicy:
    found = FieldPolicy.of(CATALOG, CATALOG.resource(resource), **arguments)
    assert found is not None
    return found


def masker(resource: str, **arguments: Any) -> Masker:
    return policy(resource, **arguments).masker(KEY, today=date(2026, 11, 26))


def sample(fields: Iterable[Field], marks: Iterator[int]) -> dict[str, Any]:
    """Return a record in which each value is told from every other."""
    return {each.name: _value(each, marks) for each in fields}


def _value(field: Field, marks: Iterator[int]) -> Any:
    if field.items:
        return [_value(field.items, marks), _value(field.items, marks)]
    if field.fields:
        return sample(field.fields, marks)
    if field.record:
        return sample(CATALOG.record(field.record).fields.values(), marks)
    mark = next(marks)
    if field.type in ("object", "any"):
        return {"unstated": f"canary-{mark}"}
    if field.type in ("integer", "number"):
        return 700_000_000 + mark
    if field.type == "boolean":
        return True
    return f"canary-{mark}"


def values_at(record: Any, path: list[str]) -> list[Any]:
    if isinstance(record, list):
        return [value for each in record for value in values_at(each, path)]
    if not path:
        return [record["unstated"] if isinstance(record, dict) else record]
    return values_at(record[path[0]], path[1:])


@pytest.mark.parametrize("profile", ["safe_harbor", "limited_data_set"])
@pytest.mark.parametrize("resource", LISTS)
def test_a_profile_lets_no_value_through_that_it_hides(resource: str, profile: str) -> None:
    record = CATALOG.record(CATALOG.resource(resource).record or "")
    raw = sample(record.fields.values(), iter(range(10_000, 20_000)))
    raw |= {"unknown_field": "canary-unknown", "unknown_object": {"name": "canary-unknown"}}
    held = json.dumps(masker(resource, profile=profile).apply(raw))
    assert "canary-unknown" not in held
    for leaf in privacy_leaves(CATALOG, record):
        action = getattr(leaf.reason, profile)
        for value in values_at(raw, leaf.path.split(".")):
            if isinstance(value, bool):
                continue
            if action == "keep":
                assert str(value) in held, leaf.path
            elif action != "number" or isinstance(value, str):
                assert str(value) not in held, leaf.path


@pytest.mark.parametrize("wrong", [{"name": "canary"}, ["canary"], [{"name": "canary"}], "canary", [["canary"]]])
def test_values_of_another_form_smuggle_nothing(wrong: Any) -> None:
    record = CATALOG.record("Appointment")
    raw = {
        each.name: wrong
        for each in record.fields.values()
        if each.format or each.type in ("object", "integer") or each.refers_to
    }
    raw |= {"vitals": {"pain": wrong, "pulse": wrong, "bmi": wrong}, "billing_notes": wrong, "custom_fields": [wrong]}
    held = masker("appointments", profile="safe_harbor").apply(
        {name: value for name, value in raw.items() if _is_masked("appointments", name)}
    )
    assert "canary" not in json.dumps(held)


def _is_masked(resource: str, name: str) -> bool:
    found = policy(resource, profile="safe_harbor")
    return not found.is_untouched(name) or name in ("vitals", "billing_notes", "custom_fields")


def test_an_object_where_a_plain_value_belongs_is_not_kept() -> None:
    held = masker("patients", profile="safe_harbor").apply({"id": 1, "gender": {"name": "canary"}, "race": ["x"]})
    assert held["gender"] is None
    assert held["race"] == ["x"]


def test_ids_agree_between_lists() -> None:
    safe = {"profile": "safe_harbor"}
    patient = masker("patients", **safe).apply({"id": 4711})["id"]
    visit = masker("appointments", **safe).apply({"id": "99", "patient": 4711, "cloned_from": 99})
    assert visit["patient"] == patient
    assert visit["cloned_from"] == visit["id"]
    charge = masker("line_items", **safe).apply({"id": 1, "appointment": 99, "patient": 4711})
    assert (charge["appointment"], charge["patient"]) == (visit["id"], patient)
    assert masker("clinical_notes", **safe).apply({"appointment": "99"})["appointment"] == visit["id"]
    gone = masker("line_item_deletions", **safe).apply({"billing_line_item_id": 1})
    assert gone["billing_line_item_id"] == charge["id"]
    order = masker("lab_orders", **safe).apply({"id": 5, "documents": ["7", 8]})
    assert order["documents"][1] == masker("lab_documents", **safe).apply({"id": 8})["id"]
    note = {"billing_notes": [{"appointment": 99, "text": "canary", "id": 3}]}
    assert masker("appointments", **safe).apply(note)["billing_notes"] == [{"appointment": visit["id"]}]
    assert masker("appointments", **safe).masked_key(("99",)) == (visit["id"],)


def test_a_shift_keeps_the_time_between_dates_of_a_patient() -> None:
    shift = masker("appointments", mask={"class:date": "shift"})
    record = {"patient": 5, "scheduled_time": "2026-03-01T09:30:00", "created_at": "2026-02-01T00:00:00"}
    held = shift.apply(record)
    first, second = (date.fromisoformat(held[name][:10]) for name in ("created_at", "scheduled_time"))
    assert (second - first).days == 28
    assert held["scheduled_time"].endswith("T09:30:00")
    assert held["scheduled_time"] != record["scheduled_time"]
    assert shift.apply(record | {"patient": None})["scheduled_time"] is None
    patients = masker("patients", mask={"date_of_birth": "shift"})
    assert patients.apply({"id": "5", "date_of_birth": "2026-02-01"})["date_of_birth"] == held["created_at"][:10]


def test_what_is_left_out_and_masked_by_hand() -> None:
    held = masker(
        "patients",
        exclude=["address", "primary_insurance.photo_front", "class:free_text"],
        mask={"social_security_number": "hash", "date_of_birth": "year", "zip_code": "zip3"},
    ).apply(
        {
            "id": 1,
            "first_name": "Ada",
            "address": "canary",
            "referring_source": "canary",
            "social_security_number": "900-55-0142",
            "date_of_birth": "1951-03-17",
            "zip_code": "90210",
            "primary_insurance": {"photo_front": "canary", "insurance_company": "Mutual"},
            "new_field": "new",
        }
    )
    assert len(held.pop("social_security_number")) == 32
    assert held == {
        "id": 1,
        "first_name": "Ada",
        "date_of_birth": 1951,
        "zip_code": "902",
        "primary_insurance": {"insurance_company": "Mutual"},
        "new_field": "new",
    }


def test_columns_keep_the_key_and_the_flag_and_nothing_unknown() -> None:
    chosen = masker("appointments", columns=["status", "vitals.pulse"])
    record = {"id": "1", "status": "Complete", "deleted_flag": False, "notes": "canary", "new": 1, "patient": 2}
    held = chosen.apply(record | {"vitals": {"pulse": 60, "pain": "3"}})
    assert held == {"id": "1", "status": "Complete", "deleted_flag": False, "vitals": {"pulse": 60}}


def test_a_name_of_its_own_goes_before_that_of_a_class() -> None:
    actions = policy("patients", exclude=["class:date"], mask={"date_of_birth": "year"}).actions
    assert (actions["date_of_birth"], actions["date_of_death"]) == ("year", "out")
    actions = policy("patients", mask={"class:date": "year", "date_of_birth": "shift"}).actions
    assert (actions["date_of_birth"], actions["date_of_death"]) == ("shift", "year")


def test_a_profile_can_be_narrowed() -> None:
    found = policy("appointments", profile="limited_data_set", mask={"class:date": "shift"}, exclude=["office"])
    assert found.actions["scheduled_time"] == "shift"
    assert found.actions["office"] == "out"
    assert found.hides_times
    assert not policy("appointments", profile="limited_data_set").hides_times


def test_nothing_asked_for_is_no_policy() -> None:
    assert FieldPolicy.of(CATALOG, CATALOG.resource("patients")) is None
    assert FieldPolicy.of(CATALOG, CATALOG.resource("patients"), exclude=[], mask={}) is None


def test_identities_tell_policies_and_keys_apart() -> None:
    safe = policy("patients", profile="safe_harbor")
    others = [
        safe.masker(KEY),
        safe.masker("x" * 64),
        policy("patients", profile="limited_data_set").masker(KEY),
        policy("patients", mask={"first_name": "hash"}).masker(KEY),
        policy("patients", exclude=["first_name"]).masker(),
        policy("patients", columns=["first_name"]).masker(),
    ]
    assert len({each.identity for each in others}) == len(others)
    assert safe.masker(KEY).identity == policy("patients", profile="safe_harbor").masker(KEY).identity
    assert KEY not in repr(others[0])


def test_a_policy_that_needs_a_key_has_no_masker_without() -> None:
    with pytest.raises(ValueError, match="key"):
        policy("patients", profile="safe_harbor").masker()
    assert policy("audit_log", exclude=["description"]).needs_key
    assert not policy("patients", exclude=["first_name"], mask={"date_of_birth": "year"}).needs_key


BAD = [
    ("patients", {"exclude": ["frist_name"]}, "exclude names no field 'frist_name' (did you mean 'first_name'?)"),
    ("patients", {"columns": ["zipcode"]}, "columns names no field 'zipcode' (did you mean 'zip_code'?)"),
    ("patients", {"mask": {"date_of_brith": "year"}}, "did you mean 'date_of_birth'?"),
    ("patients", {"mask": {"first_name": "hsh"}}, "mask['first_name'] must be one of"),
    ("patients", {"mask": {"first_name": "hsh"}}, "did you mean 'hash'?"),
    ("patients", {"mask": ["first_name"]}, "mask must be a mapping"),
    ("patients", {"exclude": "first_name"}, "exclude must be a list of names"),
    ("patients", {"exclude": [1]}, "exclude must be a list of names"),
    ("patients", {"columns": []}, "columns is empty"),
    ("patients", {"columns": iter(("id", "city"))}, "columns must be a list of names of fields, not tuple_iterator"),
    ("patients", {"exclude": ["id"]}, "give mask={'id': 'hash'}"),
    ("patients", {"exclude": ["class:other_identifier"]}, "give mask={'id': 'hash'}"),
    ("appointments", {"exclude": ["deleted_flag"]}, "by which deletions are noticed"),
    ("appointments", {"mask": {"deleted_flag": "hash"}}, "leave it as it is"),
    ("patients", {"columns": ["city"], "exclude": ["city"]}, "city is in columns and in exclude"),
    ("patients", {"mask": {"city": "hash"}, "exclude": ["city"]}, "city is in mask and in exclude"),
    ("patients", {"columns": ["city"], "mask": {"state": "hash"}}, "mask names state, which is not kept"),
    ("patients", {"columns": ["city"], "profile": "safe_harbor"}, "columns names city, which profile='safe_harbor'"),
    ("patients", {"mask": {"city": "hash"}, "profile": "safe_harbor"}, "leaves it out; leave the mask out, or profile"),
    ("patients", {"mask": {"date_of_birth": "shift"}, "profile": "safe_harbor"}, "masks it with 'year'"),
    ("patients", {"mask": {"first_name": "year"}}, "first_name is no date"),
    ("patients", {"mask": {"first_name": "zip3"}}, "first_name is no ZIP code"),
    ("patients", {"mask": {"class:date": "zip3"}}, "masks no field of the list"),
    ("patients", {"mask": {"id": "number"}}, "only 'hash' keeps it apart"),
    ("claim_billing_notes", {"mask": {"created_at": "shift"}}, "dates are moved by patient"),
    ("patients", {"exclude": ["class:nmae"]}, "no privacy class 'nmae' (did you mean 'name'?)"),
    ("patients", {"profile": "safe_harbour"}, "did you mean 'safe_harbor'?"),
    ("appointments", {"columns": ["vitals"], "verbose": False}, "comes only with verbose=True"),
]


@pytest.mark.parametrize(("resource", "arguments", "message"), BAD)
def test_what_cannot_be_right_is_refused_with_the_remedy(resource: str, arguments: Any, message: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy(resource, **arguments)
    assert message in str(refused.value)


def test_lists_of_values_are_masked_one_by_one() -> None:
    assert element_of(CATALOG.record("LabOrder").fields["documents"]).type == "string"
    held = masker("appointments", mask={"icd10_codes": "hash"}).apply({"icd10_codes": ["E11.9", None, "", {"a": 1}]})
    assert [isinstance(each, str) and len(each) for each in held["icd10_codes"]] == [32, False, 0, False]
