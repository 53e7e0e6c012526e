"""Reads the catalogue from ``data/``, applies the corrections, and keeps it for the life of the process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from airflow_provider_drchrono.catalog.model import (
    Action,
    Bulk,
    Catalog,
    Conflict,
    Field,
    Incremental,
    Operation,
    Paging,
    Parameter,
    Reason,
    RecordSchema,
    RequestBody,
    Resource,
    Response,
    Service,
    Trigger,
)

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the operations of a resource take from elsewhere.

    :param enumerations: allowed values by the name of the enumeration.
    :param fields: the fields of the resource's record.
    :param abouts: what parameters are about that mean the same everywhere, by name or role.
    """

    enumerations: Mapping[str, tuple[str | int, ...]]
    fields: Mapping[str, Raw]
    abouts: Mapping[str, str]


@lru_cache(maxsize=1)
def load() -> Catalog:
    """Return the catalogue. The first call reads about a hundred and seventy small files; later calls are free."""
    data = resources.files("airflow_provider_drchrono.catalog") / "data"
    raw_resources = list(_read_folder(data / "resources"))
    raw_records = list(_read_folder(data / "records"))
    apply_corrections(_read(data / "corrections.json"), raw_resources, raw_records)
    _add_meanings(_read(data / "meanings.json"), (each for raw in raw_records for each in raw["fields"]))
    enumerations = {name: tuple(values) for name, values in _read(data / "enumerations.json").items()}
    abouts = _read(data / "parameters.json")
    fields = {raw["record"]: {each["name"]: each for each in raw["fields"]} for raw in raw_records}
    all_resources = {
        raw["resource"]: _resource(raw, _Shared(enumerations, fields.get(raw["record"], {}), abouts))
        for raw in raw_resources
    }
    return Catalog(
        service=_service(_read(data / "service.json")),
        resources=all_resources,
        operations={key: each for one in all_resources.values() for key, each in one.operations.items()},
        records={raw["record"]: _record(raw, enumerations) for raw in raw_records},
        triggers=tuple(Trigger(**raw) for raw in _read(data / "triggers.json")),
        reasons={key: Reason(**raw) for key, raw in _read(data / "reasons.json").items()},
    )


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


def _read(path: Traversable) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_folder(folder: Traversable) -> Iterator[Raw]:
    for path in sorted(folder.iterdir(), key=lambda each: each.name):
        if path.name.endswith(".json"):
            yield _read(path)


def _service(raw: Raw) -> Service:
    quota = raw["quota"]
    rest = {key: value for key, value in raw.items() if key not in ("quota", "scopes")}
    return Service(**rest, **quota, scopes=tuple(raw["scopes"]))


def _record(raw: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> RecordSchema:
    fields = tuple(_field(each, enumerations) for each in raw["fields"])
    return RecordSchema(name=raw["record"], about=raw["about"], fields={each.name: each for each in fields})


def _field(raw: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> Field:
    rest = dict(raw)
    rest.setdefault("name", "")
    if name := rest.pop("enumeration", None):
        rest["enum"] = enumerations[name]
    rest["enum"] = tuple(rest.get("enum", ()))
    rest["fields"] = tuple(_field(each, enumerations) for each in rest.get("fields", ()))
    if "items" in rest:
        rest["items"] = _field(rest["items"], enumerations)
    return Field(**rest)


def _resource(raw: Raw, shared: _Shared) -> Resource:
    operations = [_operation(each, raw["resource"], shared) for each in raw["operations"]]
    return Resource(
        name=raw["resource"],
        domain=raw["domain"],
        noun=raw["noun"],
        plural=raw["plural"],
        about=raw["about"],
        record=raw["record"],
        key=tuple(raw["key"]),
        operations={each.id: each for each in operations},
        paging=Paging(**raw["paging"]) if "paging" in raw else None,
        incremental=Incremental(**raw["incremental"]) if "incremental" in raw else None,
        bulk=_bulk(raw["bulk"]) if "bulk" in raw else None,
        requires_one_of=tuple(raw.get("requires_one_of", ())),
        may_require_one_of=tuple(raw.get("may_require_one_of", ())),
        practice_access=tuple(raw["practice_access"]) if "practice_access" in raw else None,
        own_application_only=raw.get("own_application_only", False),
        because=raw.get("because", {}),
    )


def _bulk(raw: Raw) -> Bulk:
    return Bulk(**raw | {"failed_states": tuple(raw["failed_states"])})


def _operation(raw: Raw, resource: str, shared: _Shared) -> Operation:
    return Operation(
        id=raw["id"],
        resource=resource,
        method=raw["method"],
        path=raw["path"],
        kind=raw["kind"],
        summary=raw["summary"],
        named_scopes=tuple(raw["scopes"]),
        permissions=tuple(raw["permissions"]),
        parameters=tuple(_parameter(each, shared) for each in raw["parameters"]),
        response=_response(raw["response"]),
        body=_body(raw["body"], shared.enumerations) if "body" in raw else None,
        action=Action(**raw["action"]) if "action" in raw else None,
        conflict=Conflict(**raw["conflict"]) if "conflict" in raw else None,
        create_or_update=raw.get("create_or_update", False),
        soft_delete=raw.get("soft_delete"),
        order=raw.get("order"),
        beta=raw.get("beta", False),
        because=raw.get("because", {}),
    )


def _parameter(raw: Raw, shared: _Shared) -> Parameter:
    rest = dict(raw)
    if "about" not in rest:
        rest["about"] = shared.abouts[rest["name"] if rest["role"] == "page" else rest["role"]]
    if name := rest.pop("enum_of_field", None):
        rest["enum"] = _enum(shared.fields[name], shared.enumerations)
    rest["enum"] = tuple(rest.get("enum", ()))
    rest["keywords"] = tuple(rest.get("keywords", ()))
    return Parameter(place=rest.pop("in"), **rest)


def _enum(field: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> tuple[str | int, ...]:
    return enumerations[field["enumeration"]] if "enumeration" in field else tuple(field["enum"])


def _response(raw: Raw) -> Response:
    return Response(**raw | {"other_statuses": tuple(raw.get("other_statuses", ()))})


def _body(raw: Raw, enumerations: Mapping[str, tuple[str | int, ...]]) -> RequestBody:
    rest = dict(raw)
    rest["fields"] = tuple(_field(each, enumerations) for each in rest.get("fields", ()))
    return RequestBody(**rest)
