"""Every field that holds a value has a class with a reason, and a profile leaves no identifier as it came."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.privacy import (
    IDENTIFIERS,
    PRIVACY_CLASSES,
    PROFILES,
    Leaf,
    element_of,
    privacy_leaves,
    privacy_reasons,
)
from airflow_provider_drchrono.privacy import MASKS

CATALOG = load()
DATA = resources.files("airflow_provider_drchrono.catalog") / "data"
RAW = {name: json.loads((DATA / "privacy" / f"{name}.json").read_text()) for name in CATALOG.records}
LEAVES = {name: list(privacy_leaves(CATALOG, record)) for name, record in CATALOG.records.items()}
KEPT_IDENTIFIERS = {
    "safe_harbor": {"country-or-state"},
    "limited_data_set": {
        "country-or-state", "town", "zip-code", "practice-place", "pharmacy",
        "birth-date", "death-date", "care-date", "weekday",
    },
}  # fmt: skip
"""What 45 CFR 164.514 lets stay: (b)(2)(i)(B) states, (e)(2) towns, ZIP codes and dates beside."""


def leaves() -> list[tuple[str, Leaf]]:
    return [(name, each) for name, found in LEAVES.items() for each in found]


def test_every_field_that_holds_a_value_has_a_class_and_nothing_else_has_one() -> None:
    own = {
        name: {each.path for each in found if not _is_of_another_record(name, each.path)}
        for name, found in LEAVES.items()
    }
    assert {name: set(paths) for name, paths in RAW.items()} == own
    assert {path.name.removesuffix(".json") for path in (DATA / "privacy").iterdir()} == set(CATALOG.records)
    top = {(name, each.path.split(".")[0]) for name, each in leaves()}
    assert top == {(name, field) for name, record in CATALOG.records.items() for field in record.fields}
    assert len(top) >= 961


def _is_of_another_record(record: str, path: str) -> bool:
    fields = dict(CATALOG.records[record].fields)
    for name in path.split("."):
        field = element_of(fields[name])
        if field.record:
            return True
        fields = {each.name: each for each in field.fields}
    return False


def test_every_reason_is_used_and_says_what_follows() -> None:
    reasons = privacy_reasons()
    assert {key for paths in RAW.values() for key in paths.values()} == set(reasons)
    for key, reason in reasons.items():
        assert reason.name in PRIVACY_CLASSES, key
        assert len(reason.why) > 20, key
        for profile in PROFILES:
            assert getattr(reason, profile) in ("keep", "out", *MASKS), key


def test_identifiers_are_named_by_the_letters_of_the_rule() -> None:
    assert len(IDENTIFIERS) == 18
    for key, reason in privacy_reasons().items():
        if reason.name in IDENTIFIERS:
            assert f"({chr(ord('A') + IDENTIFIERS.index(reason.name))})" in reason.why, key


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_lets_no_identifier_stay_but_what_the_rule_lets_stay(profile: str) -> None:
    kept = {
        key
        for key, reason in privacy_reasons().items()
        if reason.name in (*IDENTIFIERS, "free_text") and getattr(reason, profile) == "keep"
    }
    assert kept == KEPT_IDENTIFIERS[profile]


def test_limited_data_sets_hold_whatever_safe_harbor_holds() -> None:
    for key, reason in privacy_reasons().items():
        assert reason.safe_harbor != "keep" or reason.limited_data_set == "keep", key


@pytest.mark.parametrize(
    ("wording", "classes"),
    [
        ("birthday", {"date"}),
        ("social security", {"ssn"}),
        ("e-mail address", {"email"}),
        ("may hold health information", {"free_text"}),
        ("may name", {"free_text"}),
        ("zip code", {"geographic"}),
        ("health information", {"free_text"}),
        ("link to", {"url", "photo"}),
        ("sent as a file", {"url", "biometric"}),
    ],
)
def test_what_the_catalogue_says_of_a_field_agrees_with_its_class(wording: str, classes: set[str]) -> None:
    found = [(name, each) for name, each in leaves() if wording in each.field.about.casefold()]
    assert found
    for name, each in found:
        assert each.reason.name in classes, (name, each.path)


def test_the_same_reference_is_treated_alike_everywhere() -> None:
    by_resource: dict[str, Counter[str]] = {}
    for _, each in leaves():
        target = each.field.refers_to or element_of(each.field).refers_to
        if target:
            by_resource.setdefault(CATALOG.resource(target).record or target, Counter())[each.reason.key] += 1
    assert {record: len(found) for record, found in by_resource.items()} == dict.fromkeys(by_resource, 1)
    for resource in CATALOG.resources.values():
        if resource.record in by_resource and len(resource.key) == 1:
            (key,) = [each for each in LEAVES[resource.record] if each.path == resource.key[0]]
            assert key.reason.key in by_resource[resource.record], resource.name


def test_dates_are_dates_wherever_patients_are() -> None:
    for name, each in leaves():
        if element_of(each.field).format in ("date", "date-time"):
            assert each.reason.name == "date" or each.reason.key == "practice-date", (name, each.path)
        patients = any(element_of(field).refers_to == "patients" for field in CATALOG.records[name].fields.values())
        if patients and not each.path.startswith("patient_flags."):
            assert each.reason.key != "practice-date", (name, each.path)
