"""Reads the catalogue from ``data/`` bit by bit: a file is opened when something that stands in it is first asked for.

DAG files are judged by the catalogue, so that it has to cost next to nothing to ask for a few of its operations.
``data/index.json``, which ``make generate`` writes, tells which file holds an operation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from airflow_provider_drchrono.catalog.model import (
    Action,
    Bulk,
    Catalog,
    Conflict,
    Deletions,
    Field,
    Incremental,
    Operation,
    Paging,
    Parameter,
    Reason,
    RecordSchema,
    RequestBody,
    Resource,
    ResourceEntry,
    Response,
    Service,
    Trigger,
)

INDEX = "index.json"

Raw = dict[str, Any]
Value = TypeVar("Value")


class LazyMapping(Mapping[str, Value]):
    """A mapping that knows its keys and makes each value when it is first asked for.

    :param keys: the keys, in the order in which they are iterated over.
    :param make: makes the value of a key.
    """

    def __init__(self, keys: Iterable[str], make: Callable[[str], Value]) -> None:
        self._keys = dict.fromkeys(keys)
        self._make = make
        self._made: dict[str, Value] = {}

    def __getitem__(self, key: str) -> Value:
        try:
            return self._made[key]
        except KeyError:
            if key not in self._keys:
                raise
        return self._made.setdefault(key, self._make(key))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@cache
def load() -> Catalog:
    """Return the catalogue. What it holds is read and built on first use."""
    return Sources(_read(_data() / INDEX)).catalog()


def load_sources() -> Catalog:
    """Return the catalogue as the files in ``data/`` are now, whatever the index says. It reads them all.

    :raises LookupError: a correction cannot be right.
    """
    found = Sources(index_of_sources()).catalog()
    for resource in found.resources.values():
        for _ in resource.operations.values():
            pass
    for _ in found.records.values():
        pass
    return found


def index_of_sources() -> Raw:
    """Return what the index has to say: by resource what is asked of it most, and its operations; and the records."""
    data = _data()
    raw_resources = _read_folder(data / "resources")
    return {
        "resources": {raw["resource"]: _entry(raw) for raw in raw_resources},
        "records": [raw["record"] for raw in _read_folder(data / "records")],
    }


def _entry(raw: Raw) -> Raw:
    entry = {"domain": raw["domain"], "operations": [each["id"] for each in raw["operations"]]}
    return entry | ({"page": raw["page"]} if "page" in raw else {})


class Sources:
    """The files in ``data/``, each read when it is needed.

    :param index: the contents of the index.
    """

    def __init__(self, index: Raw) -> None:
        self._data = _data()
        self._entries = index["resources"]
        self._record_names = index["records"]
        self._resource_of = {id_: name for name, each in self._entries.items() for id_ in each["operations"]}

    def catalog(self) -> Catalog:
        """Return a catalogue that asks these files."""
        found_resources = LazyMapping(self._entries, self._resource)
        return Catalog(
            resources=found_resources,
            operations=LazyMapping(
                self._resource_of, lambda key: found_resources[self._resource_of[key]].operations[key]
            ),
            records=LazyMapping(self._record_names, self._record),
            entries=LazyMapping(self._resource_of, self._entry_of),
            sources=self,
        )

    @cached_property
    def service(self) -> Service:
        """Where the vendor serves the API."""
        raw = self._service
        rest = {key: value for key, value in raw.items() if key not in ("quota", "scopes", "public_filters", "because")}
        return Service(**rest, **raw["quota"], scopes=tuple(raw["scopes"]))

    @cached_property
    def triggers(self) -> tuple[Trigger, ...]:
        """The named triggers."""
        return tuple(Trigger(**raw) for raw in _read(self._data / "triggers.json"))

    @cached_property
    def reasons(self) -> Mapping[str, Reason]:
        """Why facts are held to be true that the contract does not state."""
        return {key: Reason(**raw) for key, raw in _read(self._data / "reasons.json").items()}

    @cached_property
    def corrected(self) -> frozenset[tuple[str, ...]]:
        """What corrections overwrite: ``operation``, id and fact; or ``field``, record, name and fact."""
        return frozenset(
            ("operation", each["operation"], fact)
            if "operation" in each
            else ("field", each["record"], each["field"], fact)
            for each in _read(self._data / "corrections.json")
            for fact in each["set"]
        )

    @cached_property
    def _service(self) -> Raw:
        raw: Raw = _read(self._data / "service.json")
        return raw

    @cached_property
    def _public_filters(self) -> frozenset[str]:
        return frozenset(self._service["public_filters"])

    @cached_property
    def _enumerations(self) -> Mapping[str, tuple[str | int, ...]]:
        return {name: tuple(values) for name, values in _read(self._data / "enumerations.json").items()}

    @cached_property
    def _meanings(self) -> Mapping[str, Mapping[str, str]]:
        meanings: dict[str, dict[str, str]] = _read(self._data / "meanings.json")
        return meanings

    @cached_property
    def _abouts(self) -> Mapping[str, str]:
        """What parameters are about that mean the same everywhere, by name or role."""
        abouts: dict[str, str] = _read(self._data / "parameters.json")
        return abouts

    @cached_property
    def _corrections(self) -> Mapping[tuple[str, str], list[Raw]]:
        """The corrections by the file that they belong to."""
        found: dict[tuple[str, str], list[Raw]] = {}
        for each in _read(self._data / "corrections.json"):
            if "operation" in each:
                file = ("resources", self._resource_of.get(each["operation"], ""))
                known = file[1] in self._entries
            else:
                file = ("records", each["record"])
                known = file[1] in self._record_names
            if not known:
                raise LookupError(f"A correction names something that the catalogue does not hold: {each}")
            found.setdefault(file, []).append(each)
        return found

    @cached_property
    def _raw_records(self) -> Mapping[str, Raw]:
        return LazyMapping(self._record_names, self._read_record)

    def _read_record(self, name: str) -> Raw:
        raw: Raw = _read(self._data / "records" / f"{name}.json")
        apply_corrections(self._corrections.get(("records", name), []), [], [raw])
        _add_meanings(self._meanings, raw["fields"])
        return raw

    def _record(self, name: str) -> RecordSchema:
        raw = self._raw_records[name]
        fields = tuple(_field(each, self._enumerations) for each in raw["fields"])
        return RecordSchema(name=raw["record"], about=raw["about"], fields={each.name: each for each in fields})

    def _entry_of(self, operation_id: str) -> ResourceEntry:
        name = self._resource_of[operation_id]
        entry = self._entries[name]
        return ResourceEntry(name, entry["domain"], entry.get("page"))

    def _resource(self, name: str) -> Resource:
        raw = _read(self._data / "resources" / f"{name}.json")
        apply_corrections(self._corrections.get(("resources", name), []), [raw], [])
        by_id = {each["id"]: each for each in raw["operations"]}
        return Resource(
            name=raw["resource"],
            domain=raw["domain"],
            noun=raw["noun"],
            plural=raw["plural"],
            about=raw["about"],
            record=raw["record"],
            key=tuple(raw["key"]),
            operations=LazyMapping(by_id, lambda key: self._operation(by_id[key], raw)),
            paging=Paging(**raw["paging"]) if "paging" in raw else None,
            incremental=Incremental(**raw["incremental"]) if "incremental" in raw else None,
            deletions=Deletions(**raw["deletions"]) if "deletions" in raw else None,
            bulk=_bulk(raw["bulk"]) if "bulk" in raw else None,
            requires_one_of=tuple(raw.get("requires_one_of", ())),
            may_require_one_of=tuple(raw.get("may_require_one_of", ())),
            practice_access=tuple(raw["practice_access"]) if "practice_access" in raw else None,
            own_application_only=raw.get("own_application_only", False),
            page=raw.get("page"),
            referred_to_by_many=raw.get("referred_to_by_many", False),
            because=raw.get("because", {}),
        )

    def _operation(self, raw: Raw, resource: Raw) -> Operation:
        return Operation(
            id=raw["id"],
            resource=resource["resource"],
            method=raw["method"],
            path=raw["path"],
            kind=raw["kind"],
            summary=raw["summary"],
            named_scopes=tuple(raw["scopes"]),
            permissions=tuple(raw["permissions"]),
            parameters=tuple(self._parameter(each, resource["record"]) for each in raw["parameters"]),
            response=_response(raw["response"]),
            body=_body(raw["body"], self._enumerations) if "body" in raw else None,
            action=Action(**raw["action"]) if "action" in raw else None,
            conflict=Conflict(**raw["conflict"]) if "conflict" in raw else None,
            create_or_update=raw.get("create_or_update", False),
            duplicate_fields=tuple(raw.get("duplicate_fields", ())),
            soft_delete=raw.get("soft_delete"),
            order=raw.get("order"),
            beta=raw.get("beta", False),
            because=raw.get("because", {}),
        )

    def _parameter(self, raw: Raw, record: str) -> Parameter:
        rest = dict(raw)
        if "about" not in rest:
            rest["about"] = self._abouts[rest["name"] if rest["role"] == "page" else rest["role"]]
        if name := rest.pop("enum_of_field", None):
            fields = {each["name"]: each for each in self._raw_records[record]["fields"]}
            rest["enum"] = _enum(fields[name], self._enumerations)
        rest["enum"] = tuple(rest.get("enum", ()))
        rest["keywords"] = tuple(rest.get("keywords", ()))
        rest["public"] = rest["type"] in ("integer", "boolean") or rest["name"] in self._public_filters
        return Parameter(place=rest.pop("in"), **rest)


def apply_corrections(corrections: list[Raw], raw_resources: list[Raw], raw_records: list[Raw]) -> None:
    """Overwrite, in place, what the vendor's contract gets wrong.

    :param corrections: each names an ``operation``, or a ``record`` and ``field``, and the keys to ``set``.
    :raises LookupError: a correction names something that is not there, or changes nothing.
    """
    operations = {each["id"]: each for raw in raw_resources for each in raw["operations"]}
    fields = {(raw["record"], each["name"]): each for raw in raw_records for each in raw["fields"]}
    for correction in corrections:
        target = (
            operations.get(correction["operation"])
            if "operation" in correction
            else fields.get((correction["record"], correction["field"]))
        )
        if target is None:
            raise LookupError(f"A correction names something that the catalogue does not hold: {correction}")
        if all(target.get(key) == value for key, value in correction["set"].items()):
            raise LookupError(f"A correction changes nothing and can go: {correction}")
        target.update(correction["set"])


def _add_meanings(meanings: Mapping[str, Mapping[str, str]], raw_fields: Iterable[Raw]) -> None:
    """Give fields whose enumeration is kept apart, in place, what its values stand for, which is kept apart too."""
    for raw in raw_fields:
        if found := meanings.get(raw.get("enumeration", "")):
            raw["meanings"] = found
        _add_meanings(meanings, raw.get("fields", ()))
        _add_meanings(meanings, [raw["items"]] if "items" in raw else ())


def _data() -> Traversable:
    return resources.files("airflow_provider_drchrono.catalog") / "data"


def _read(path: Traversable) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_folder(folder: Traversable) -> Iterator[Raw]:
    for path in sorted(folder.iterdir(), key=lambda each: each.name):
        if path.name.endswith(".json"):
            yield _read(path)


def _field(raw: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> Field:
    rest = dict(raw)
    rest.setdefault("name", "")
    if name := rest.pop("enumeration", None):
        rest["enum"] = enumerations[name]
    rest["enum"] = tuple(rest.get("enum", ()))
    rest["advisory"] = tuple(rest.get("advisory", ()))
    rest["fields"] = tuple(_field(each, enumerations) for each in rest.get("fields", ()))
    if "items" in rest:
        rest["items"] = _field(rest["items"], enumerations)
    return Field(**rest)


def _bulk(raw: Raw) -> Bulk:
    return Bulk(**raw | {"failed_states": tuple(raw["failed_states"])})


def _enum(field: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> tuple[str | int, ...]:
    return enumerations[field["enumeration"]] if "enumeration" in field else tuple(field["enum"])


def _response(raw: Raw) -> Response:
    return Response(**raw | {"other_statuses": tuple(raw.get("other_statuses", ()))})


def _body(raw: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> RequestBody:
    rest = dict(raw)
    rest["fields"] = tuple(_field(each, enumerations) for each in rest.get("fields", ()))
    return RequestBody(**rest)
