"""Applies a policy to records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.privacy.masks import (
    Key,
    MaskKind,
    as_text,
    birth_year_of,
    hashed,
    number,
    shifted,
    year_of,
    zip3,
)

if TYPE_CHECKING:
    from airflow_provider_drchrono.privacy.policy import FieldPolicy

_LEFT_OUT = object()

Apply = Callable[[Any, int | None], Any]
"""Takes a value and by how many days the dates of its patient are moved, where that is known."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the value of one field.

    :param kind: the mask; None keeps the value, and ``out`` leaves it out.
    :param domain: of a hash, whose ids they are.
    :param is_birth: whether it is a birthday.
    :param is_structured: whether the catalogue lets the value be an object, or a list of what it does not know.
    """

    kind: MaskKind | str | None
    domain: str = ""
    is_birth: bool = False
    is_structured: bool = False


Tree = Mapping[str, "Rule | Tree"]
"""The rules of a record by the names of its fields; where a field is an object or a list of objects, those within."""


@dataclass(frozen=True, slots=True)
class Masker:
    """A policy with its key.

    :param policy: what is left out and masked.
    :param key: None where the policy does without.
    :param today: the day on which ages are reckoned.
    """

    policy: FieldPolicy
    key: Key | None = field(default=None, repr=False)
    today: date = field(default_factory=date.today)

    def __post_init__(self) -> None:
        if self.policy.needs_key and self.key is None:
            raise ValueError("The policy masks with a key, and there is none")

    @property
    def identity(self) -> str:
        """What tells this policy with this key from others: 16 hexadecimal digits."""
        text = json.dumps([self.policy.identity, self.key.check if self.key and self.policy.needs_key else None])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def apply(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what may be held of a record. The record itself is left as it is."""
        return self._object(record, self.policy.tree, self._days(record))

    def masked_key(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values of a record's key as :meth:`apply` makes them."""
        record = dict(zip(self.policy.key, values, strict=True))
        masked = self.apply(record)
        return tuple(masked.get(name) for name in self.policy.key)

    def fingerprint(self, canonical: bytes) -> str:
        """Return what tells a record from others of a list whose records have no id: 64 hexadecimal digits.

        It is keyed: whoever guesses what was masked cannot check the guess.

        :param canonical: the record as it came, as JSON that is the same for the same record.
        """
        assert self.key is not None  # noqa: S101 - a policy of such a list needs a key
        return self.key.digest("record", hashlib.sha256(canonical).hexdigest()).hex()

    def _days(self, record: Mapping[str, Any]) -> int | None:
        name = self.policy.patient
        patient = record.get(name) if name and self.policy.shifts else None
        if self.key is None or patient in (None, "") or isinstance(patient, dict | list):
            return None
        return self.key.days(as_text(patient))

    def _object(self, record: Mapping[str, Any], tree: Tree, days: int | None) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in record.items():
            rule = tree.get(name)
            if rule is None:
                if not self.policy.is_strict:
                    kept[name] = value
                continue
            masked = self._value(value, rule, days)
            if masked is not _LEFT_OUT:
                kept[name] = masked
        return kept

    def _value(self, value: Any, rule: Rule | Tree, days: int | None) -> Any:
        if not isinstance(rule, Rule):
            return self._within(value, rule, days)
        if rule.kind == "out":
            return _LEFT_OUT
        if rule.kind is None and (rule.is_structured or not self.policy.is_strict):
            return value
        if isinstance(value, list):
            return [None if isinstance(each, dict | list) else self._scalar(each, rule, days) for each in value]
        # An object where the catalogue knows a plain value may hold anything.
        return None if isinstance(value, dict) else self._scalar(value, rule, days)

    def _within(self, value: Any, tree: Tree, days: int | None) -> Any:
        if isinstance(value, list):
            return [self._within(each, tree, days) for each in value]
        if isinstance(value, dict):
            return self._object(value, tree, days)
        # Something else than an object stands here, of which no rule speaks.
        return None

    def _scalar(self, value: Any, rule: Rule, days: int | None) -> Any:
        if value is None or value == "" or rule.kind is None:
            return value
        match rule.kind:
            case "hash":
                assert self.key is not None  # noqa: S101 - checked when the masker was made
                return hashed(value, self.key, rule.domain)
            case "year":
                return birth_year_of(value, self.today) if rule.is_birth else year_of(value)
            case "shift":
                return None if days is None else shifted(value, days)
            case "zip3":
                return zip3(value)
            case "number":
                return number(value)
        raise AssertionError(rule.kind)
