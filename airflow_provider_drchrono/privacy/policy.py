"""What of a list may be held: chosen and checked before anything is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from airflow_provider_drchrono.catalog import Catalog, Deletions, Resource
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.catalog.privacy import (
    PRIVACY_CLASSES,
    PROFILES,
    Leaf,
    Profile,
    element_of,
    privacy_leaves,
)
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.privacy.masker import Masker, Rule, Tree
from airflow_provider_drchrono.privacy.masks import MASKS, Key

PATIENTS = "patients"
CLASS = "class:"
OUT = "out"

MaskedType = Literal["text", "integer"]

_TYPES: Mapping[str, MaskedType] = {"hash": "text", "zip3": "text", "year": "integer"}


class PolicyError(InvalidArgumentError, ValueError):
    """What may be held cannot be said like this. The message names the argument and what to do."""


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """What is left out and masked of the records of one list.

    :param resource: the list.
    :param tree: the rules by field.
    :param key: the fields that tell two records apart; empty where nothing does.
    :param patient: the field with the patient's id, where the records have one.
    :param is_strict: whether what the catalogue does not know is left out: it is where fields are chosen, or a profile.
    :param actions: what becomes of each field that holds a value, by path: ``keep``, ``out`` or a mask.
    """

    resource: str
    tree: Tree
    key: tuple[str, ...]
    patient: str | None
    is_strict: bool
    profile: Profile | None
    actions: Mapping[str, str] = field(repr=False)
    dates: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        resource: Resource,
        *,
        columns: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        mask: Mapping[str, str] | None = None,
        profile: str | None = None,
        verbose: bool = True,
    ) -> FieldPolicy | None:
        """Return the policy that four arguments ask for; None where they ask for nothing.

        A field is named as in the record; one within another by both names, such as
        ``primary_insurance.subscriber_zip_code``. ``class:free_text`` stands for all fields of a privacy class, in
        ``exclude`` and ``mask``.

        :param columns: the fields to keep; the key, and the field that says that a record is deleted, are kept beside.
        :param exclude: the fields to leave out.
        :param mask: the kind of mask by field: ``hash``, ``year``, ``shift``, ``zip3`` or ``number``.
        :param profile: ``limited_data_set`` or ``safe_harbor``.
        :param verbose: whether the records are read with their verbose fields.
        :raises PolicyError: a name is not known, or the arguments contradict each other or the sync.
        """
        check_arguments(columns, exclude, mask, profile)
        if columns is None and not exclude and not mask and profile is None:
            return None
        leaves = list(privacy_leaves(catalog, catalog.record(resource.record or "")))
        chosen = _Choice(catalog, resource, leaves, verbose=verbose)
        actions = chosen.actions(columns, tuple(exclude or ()), dict(mask or {}), profile)
        is_strict = columns is not None or profile is not None
        return cls(
            resource=resource.name,
            tree=_tree(catalog, resource, leaves, actions, is_strict=is_strict),
            key=resource.key,
            patient=chosen.patient,
            is_strict=is_strict,
            profile=profile,  # type: ignore[arg-type] # checked above
            actions=actions,
            dates=frozenset(each.path for each in leaves if _is_date(each) and each.reason.key != "birth-date"),
        )

    @property
    def needs_key(self) -> bool:
        """Whether it masks with a key. Records without an id are told apart by one, once they lack a part."""
        return not self.key or not {"hash", "shift"}.isdisjoint(self.actions.values())

    @property
    def shifts(self) -> bool:
        """Whether dates are moved."""
        return "shift" in self.actions.values()

    @property
    def hides_times(self) -> bool:
        """Whether days are hidden, so that the times at which a sync read a row must not show them, either."""
        masked = any(self.actions[path] in ("year", "shift") for path in self.dates)
        return masked or self.profile == "safe_harbor"

    @property
    def masks_the_key(self) -> bool:
        """Whether rows have other ids than the records."""
        return any(self.actions[name] != "keep" for name in self.key)

    @property
    def identity(self) -> str:
        """What tells it from other policies: 16 hexadecimal digits."""
        text = json.dumps([self.is_strict, self.profile, sorted(self.actions.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def keeps(self, name: str) -> bool:
        """Tell whether anything of a field of the record is kept."""
        rule = self.tree.get(name)
        return rule is not None and not (isinstance(rule, Rule) and rule.kind == OUT)

    def is_untouched(self, name: str) -> bool:
        """Tell whether a field of the record is kept as it is."""
        rule = self.tree.get(name)
        return isinstance(rule, Rule) and rule.kind is None

    def type_of(self, name: str) -> MaskedType | None:
        """Return the type that a masked field of the record has; None where it is the field's own."""
        rule = self.tree.get(name)
        return _TYPES.get(rule.kind or "") if isinstance(rule, Rule) else None

    def masker(self, key: str | None = None, *, today: date | None = None) -> Masker:
        """Return what applies it to records.

        :param key: the secret; None where it needs none.
        :param today: the day on which ages are reckoned; this one by default.
        :raises ValueError: it needs a key.
        """
        return Masker(self, Key(key) if key else None, today or date.today())


def check_arguments(columns: object, exclude: object, mask: object, profile: object) -> None:
    """Refuse what cannot be right whichever list it is about.

    :raises PolicyError: an argument has another form, or names a mask, class or profile that there is not.
    """
    for argument, names in (("columns", columns), ("exclude", exclude)):
        if names is None:
            continue
        if isinstance(names, str | Mapping) or not isinstance(names, Collection):
            raise PolicyError(f"{argument} must be a list of names of fields, not {type(names).__name__}")
        if not all(isinstance(name, str) for name in names):
            raise PolicyError(f"{argument} must be a list of names of fields, which are text")
    if isinstance(columns, Collection) and not columns:
        raise PolicyError("columns is empty; name the fields to keep, or leave it out")
    if mask is not None and not isinstance(mask, Mapping):
        raise PolicyError(f"mask must be a mapping of names of fields to masks, not {type(mask).__name__}")
    for name, kind in (mask or {}).items():
        if kind not in MASKS:
            known = ", ".join(map(repr, MASKS))
            raise PolicyError(
                f"mask[{name!r}] must be one of {known}, not {kind!r}{did_you_mean(kind, MASKS)}; exclude leaves a "
                "field out"
            )
    if profile is not None and profile not in PROFILES:
        known = " or ".join(map(repr, PROFILES))
        raise PolicyError(f"profile must be {known}, not {profile!r}{did_you_mean(profile, PROFILES)}")


class _Choice:
    """Decides what becomes of each field."""

    def __init__(self, catalog: Catalog, resource: Resource, leaves: list[Leaf], *, verbose: bool) -> None:
        self._resource = resource
        self._leaves = leaves
        self._by_path = {each.path: each for each in leaves}
        self._needed = {name: "by which rows are told apart" for name in resource.key}
        deletions = resource.deletions or Deletions()
        for name in (deletions.flag, deletions.part_of):
            if name:
                self._needed[name] = "by which deletions are noticed"
        record = catalog.record(resource.record or "")
        self._verbose_only = () if verbose else record.verbose_fields
        self.patient = _patient_field(catalog, resource, leaves)

    def actions(
        self, columns: Iterable[str] | None, exclude: tuple[str, ...], mask: Mapping[str, str], profile: str | None
    ) -> dict[str, str]:
        """Return what becomes of each field, by path."""
        found = {each.path: self._of_profile(each, profile) for each in self._leaves}
        named = self._named("columns", columns) if columns is not None else None
        if named is not None:
            for path in found:
                if path not in named and path not in self._needed:
                    found[path] = OUT
            self._check_columns(named, found, profile)
        masks = self._masks(mask, profile)
        left_out = self._left_out(exclude, named or {}, masks)
        found |= dict.fromkeys(left_out, OUT)
        for path, name in masks.items():
            if found[path] == OUT and path == name:
                raise self._error(f"mask names {path}, which is not kept; take it out of mask, or keep it")
            if found[path] != OUT:
                found[path] = mask[name]
        self._check_needed(found)
        return found

    def _left_out(self, exclude: Iterable[str], named: Mapping[str, str], masks: Mapping[str, str]) -> dict[str, str]:
        """Return the fields that ``exclude`` leaves out, each with the name that says it.

        What is said of a field by its own name goes before what is said of its class.
        """
        found = {}
        for path, by in self._named("exclude", exclude).items():
            for argument, others in (("columns", named), ("mask", masks)):
                if others.get(path) == by:
                    raise self._error(f"{by} is in {argument} and in exclude; take it out of one of them")
            if not (by.startswith(CLASS) and masks.get(path) == path):
                found[path] = by
        return found

    def _of_profile(self, leaf: Leaf, profile: str | None) -> str:
        if profile is None:
            return "keep"
        return leaf.reason.safe_harbor if profile == "safe_harbor" else leaf.reason.limited_data_set

    def _named(self, argument: str, names: Iterable[str]) -> dict[str, str]:
        """Return the paths that names stand for, each with the name."""
        found: dict[str, str] = {}
        for name in names:
            for path in self._paths(argument, name):
                if path not in found or found[path].startswith(CLASS):
                    found[path] = name
        return found

    def _paths(self, argument: str, name: str) -> list[str]:
        if name.startswith(CLASS):
            wanted = name.removeprefix(CLASS)
            if wanted not in PRIVACY_CLASSES:
                raise self._error(
                    f"{argument} names no privacy class {wanted!r}{did_you_mean(wanted, PRIVACY_CLASSES)}"
                )
            return [each.path for each in self._leaves if each.reason.name == wanted]
        paths = [path for path in self._by_path if path == name or path.startswith(f"{name}.")]
        if not paths:
            parts = (path.split(".") for path in self._by_path)
            known = {".".join(each[: end + 1]) for each in parts for end in range(len(each))}
            raise self._error(f"{argument} names no field {name!r}{did_you_mean(name, sorted(known))}")
        return paths

    def _check_columns(self, named: Mapping[str, str], found: Mapping[str, str], profile: str | None) -> None:
        for name in dict.fromkeys(named.values()):
            if name.split(".")[0] in self._verbose_only:
                raise self._error(f"columns names {name}, which comes only with verbose=True; set it")
            paths = [path for path, by in named.items() if by == name]
            if not name.startswith(CLASS) and all(found[path] == OUT for path in paths):
                raise self._error(
                    f"columns names {name}, which profile={profile!r} leaves out; take it out of columns, or leave "
                    "profile out"
                )

    def _masks(self, mask: Mapping[str, str], profile: str | None) -> dict[str, str]:
        """Return the names by which fields are masked, by path. A field's own name goes before that of its class."""
        found: dict[str, str] = {}
        for name in sorted(mask, key=lambda each: not each.startswith(CLASS)):
            for path in self._paths("mask", name):
                problem = self._problem(self._by_path[path], mask[name], profile)
                if problem is None:
                    found[path] = name
                elif not name.startswith(CLASS) or path.split(".")[0] == name:
                    raise self._error(f"mask[{name!r}]: {problem}")
            if name.startswith(CLASS) and name not in found.values():
                raise self._error(f"mask[{name!r}] masks no field of the list with {mask[name]!r}; take it out")
        return found

    def _problem(self, leaf: Leaf, kind: str, profile: str | None) -> str | None:
        """Return why a field cannot be masked so; None where it can."""
        by_profile = self._of_profile(leaf, profile)
        if by_profile not in ("keep", kind):
            does = "leaves it out" if by_profile == OUT else f"masks it with {by_profile!r}"
            return f"profile={profile!r} {does}; leave the mask out, or profile"
        if kind in ("year", "shift") and not _is_date(leaf):
            return f"{leaf.path} is no date, which {kind!r} is for; use 'hash', or exclude it"
        if kind == "shift" and self.patient is None:
            return f"dates are moved by patient, and records of {self._resource.name} name none; use 'year'"
        if kind == "zip3" and leaf.reason.name != "geographic":
            return f"{leaf.path} is no ZIP code, which 'zip3' is for; use 'hash', or exclude it"
        if leaf.path in self._needed and kind != "hash":
            return f"{leaf.path} is that {self._needed[leaf.path]}; only 'hash' keeps it apart from others"
        if leaf.path in self._needed and leaf.path not in self._resource.key:
            return f"{leaf.path} is that {self._needed[leaf.path]}; leave it as it is"
        return None

    def _check_needed(self, found: Mapping[str, str]) -> None:
        for name, what in self._needed.items():
            if found.get(name) == OUT:
                remedy = f", or give mask={{{name!r}: 'hash'}}" if name in self._resource.key else ""
                raise self._error(f"exclude leaves out {name}, {what}; take it out of exclude{remedy}")

    def _error(self, problem: str) -> PolicyError:
        return PolicyError(f"{self._resource.name}: {problem}")


def _is_date(leaf: Leaf) -> bool:
    return leaf.reason.name == "date" or element_of(leaf.field).format in ("date", "date-time")


def _patient_field(catalog: Catalog, resource: Resource, leaves: Iterable[Leaf]) -> str | None:
    """Return the field of the record that holds the patient's id; of a patient, the patient's own."""
    if resource.record == catalog.resource(PATIENTS).record:
        return resource.key[0]
    return next((each.path for each in leaves if each.field.refers_to == PATIENTS and "." not in each.path), None)


def _tree(
    catalog: Catalog, resource: Resource, leaves: Iterable[Leaf], actions: Mapping[str, str], *, is_strict: bool
) -> Tree:
    tree: dict[str, Any] = {}
    for leaf in leaves:
        *way, name = leaf.path.split(".")
        place = tree
        for each in way:
            place = place.setdefault(each, {})
        place[name] = _rule(catalog, resource, leaf, actions[leaf.path])
    return {name: _pruned(each, is_strict=is_strict) for name, each in tree.items()}


def _rule(catalog: Catalog, resource: Resource, leaf: Leaf, action: str) -> Rule:
    inner = element_of(leaf.field)
    refers_to = leaf.field.refers_to or inner.refers_to
    if refers_to:
        domain = catalog.resource(refers_to).record or refers_to
    else:
        domain = (resource.record or "") if leaf.path in resource.key else leaf.reason.name
    return Rule(
        kind=None if action == "keep" else action,
        domain=domain,
        is_birth=leaf.reason.key == "birth-date",
        is_structured=inner.type in ("object", "any"),
    )


def _pruned(rule: Any, *, is_strict: bool) -> Any:
    """Return the rules of an object as one rule where nothing of it is kept, or everything."""
    if isinstance(rule, Rule):
        return rule
    within = {name: _pruned(each, is_strict=is_strict) for name, each in rule.items()}
    rules = list(within.values())
    if all(isinstance(each, Rule) and each.kind == OUT for each in rules):
        return Rule(OUT)
    if not is_strict and all(isinstance(each, Rule) and each.kind is None for each in rules):
        return Rule(None, is_structured=True)
    return within
