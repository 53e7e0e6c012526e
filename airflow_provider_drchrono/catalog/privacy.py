"""What each field of a record is to the patient's privacy: a class, the reason for it, and what profiles do with it.

The classes are the eighteen identifiers of 45 CFR 164.514(b)(2)(i), whose letters the reasons name, and five others.
Each field was judged by a person: ``data/privacy/`` names, for each record, the reason of each field that holds a
value, and ``data/privacy.json`` says what follows from a reason. It is read only when somebody asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from airflow_provider_drchrono.catalog.model import Catalog, Field, RecordSchema

PrivacyClass = Literal[
    "name",
    "geographic",
    "date",
    "phone",
    "fax",
    "email",
    "ssn",
    "medical_record_number",
    "health_plan_number",
    "account_number",
    "licence_number",
    "vehicle",
    "device",
    "url",
    "ip_address",
    "biometric",
    "photo",
    "other_identifier",
    "free_text",
    "clinical",
    "demographic",
    "financial",
    "operational",
]
PRIVACY_CLASSES: tuple[str, ...] = get_args(PrivacyClass)
IDENTIFIERS = PRIVACY_CLASSES[: PRIVACY_CLASSES.index("free_text")]
"""The classes that 45 CFR 164.514(b)(2)(i) names, in its order."""

Profile = Literal["limited_data_set", "safe_harbor"]
PROFILES: tuple[str, ...] = get_args(Profile)

Treatment = Literal["keep", "out", "hash", "year", "zip3", "number"]
"""What a profile does with a value: nothing, it leaves it out, or it masks it."""


@dataclass(frozen=True, slots=True)
class PrivacyReason:
    """Why a field is of its class, and what follows.

    :param key: its name in ``privacy.json``.
    :param name: the class.
    :param why: the reason in words; a letter is one of 45 CFR 164.514(b)(2)(i).
    """

    key: str
    name: PrivacyClass
    why: str
    limited_data_set: Treatment
    safe_harbor: Treatment


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that holds a value, at any depth.

    :param path: the names on the way to it with dots between, such as ``primary_insurance.subscriber_zip_code``. What
        is in a list is named like what is in an object.
    :param field: the field; of a list of values, the list.
    :param reason: its class and why.
    """

    path: str
    field: Field
    reason: PrivacyReason

    @property
    def top(self) -> str:
        """The name of the record's own field that it is, or is in."""
        return self.path.partition(".")[0]


@cache
def privacy_reasons() -> Mapping[str, PrivacyReason]:
    """Return all reasons, by key."""
    return {
        key: PrivacyReason(
            key=key,
            name=raw["class"],
            why=raw["why"],
            limited_data_set=raw["limited_data_set"],
            safe_harbor=raw["safe_harbor"],
        )
        for key, raw in _read("privacy.json").items()
    }


def privacy_leaves(catalog: Catalog, record: RecordSchema) -> Iterator[Leaf]:
    """Yield each field of a record that holds a value, in the order of the catalogue.

    :raises LookupError: a field has no class; each one gets one by hand, in ``data/privacy/``.
    """
    return _leaves(catalog, record.name, record.fields.values(), "", "")


def classes_by_field(leaves: Iterable[Leaf]) -> Mapping[str, tuple[str, ...]]:
    """Return the privacy classes of a record's own fields, those of what is within a field included."""
    found: dict[str, dict[str, None]] = {}
    for leaf in leaves:
        found.setdefault(leaf.top, {})[leaf.reason.name] = None
    return {name: tuple(classes) for name, classes in found.items()}


def element_of(field: Field) -> Field:
    """Return what a list holds in the end; any other field is returned itself."""
    while field.items is not None:
        field = field.items
    return field


def _leaves(catalog: Catalog, record: str, fields: Iterable[Field], within: str, before: str) -> Iterator[Leaf]:
    """Yield the leaves of some fields.

    :param record: the record that classifies them.
    :param within: the path to them in that record.
    :param before: the path to that record, from the one that was asked for.
    """
    for each in fields:
        path = f"{within}{each.name}"
        inner = element_of(each)
        if inner.fields:
            yield from _leaves(catalog, record, inner.fields, f"{path}.", before)
        elif inner.record:
            other = catalog.record(inner.record)
            yield from _leaves(catalog, other.name, other.fields.values(), "", f"{before}{path}.")
        else:
            key = _keys_of(record).get(path)
            if key is None:
                raise LookupError(f"Field {path} of {record} has no privacy class")
            yield Leaf(f"{before}{path}", each, privacy_reasons()[key])


@cache
def _keys_of(record: str) -> Mapping[str, str]:
    return {str(path): str(key) for path, key in _read(f"privacy/{record}.json").items()}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        resources.files("airflow_provider_drchrono.catalog").joinpath("data", name).read_text(encoding="utf-8")
    )
    return found
