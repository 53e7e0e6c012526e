"""Reads an OpenAPI document, in version 2 or 3, as far as the catalogue has something to compare it with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from airflow_provider_drchrono.client.errors import DrChronoError

LARGEST = 64 * 1024 * 1024
"""Bytes. The vendor's document has less than one megabyte."""

TIMEOUT = 60
"""Seconds."""

METHODS = ("get", "put", "post", "patch", "delete")
TYPES = {"bool": "boolean"}
"""Names of types that the vendor's document has beside those of the standard."""

Raw = Mapping[str, Any]


class DocumentError(DrChronoError, ValueError):
    """There is no OpenAPI document there, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a value is.

    :param record: the name of the schema that it refers to.
    :param fields: the properties of an object, by name.
    """

    type: str
    required: bool = False
    read_only: bool = False
    nullable: bool = False
    verbose: bool = False
    enum: frozenset[str] = frozenset()
    record: str | None = None
    fields: Mapping[str, Schema] = field(default_factory=dict)
    items: Schema | None = None


@dataclass(frozen=True, slots=True)
class OperationOfDocument:
    """One operation, as the document has it.

    :param parameters: by place and name.
    :param scopes: None where the document says nothing about them.
    :param body: by media type; empty where the document says nothing about it.
    :param statuses: those of a success.
    """

    id: str
    parameters: Mapping[tuple[str, str], Schema]
    scopes: frozenset[str] | None
    body: Mapping[str, Schema]
    statuses: frozenset[int]


@dataclass(frozen=True, slots=True)
class Document:
    """Operations by method and path, and records by name."""

    operations: Mapping[tuple[str, str], OperationOfDocument]
    records: Mapping[str, Schema]


def load_document(source: str) -> Document:
    """Return the document in a file, or at an ``http`` or ``https`` address. Nothing is sent but the request for it.

    :param source: a path or a URL of JSON.
    :raises DocumentError: there is none that can be read; the message says what to do.
    """
    try:
        raw = json.loads(_text(source))
    except OSError as error:
        raise DocumentError(f"{source} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise DocumentError(f"{source} is not JSON; convert a document in YAML to JSON first") from None
    return read_document(raw)


def _text(source: str) -> bytes:
    if urlsplit(source).scheme not in ("http", "https"):
        return Path(source).read_bytes()
    request = Request(source, headers={"Accept": "application/json"})  # noqa: S310 - the scheme is one of two
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        content: bytes = response.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DocumentError(f"{source} has more than {LARGEST // 2**20} MB; it is no OpenAPI document of this API")
    return content


def read_document(raw: object) -> Document:
    """Return what a decoded document says.

    :raises DocumentError: it is no OpenAPI document.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("paths"), Mapping):
        raise DocumentError("There is no OpenAPI document: a document has an object 'paths'")
    if not (raw.get("openapi") or raw.get("swagger")):
        raise DocumentError("There is no OpenAPI document: a document has a version in 'openapi' or 'swagger'")
    try:
        return _Reader(raw).document()
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        pass
    raise DocumentError("There is no OpenAPI document: a part of it has another form than the standard gives it")


class _Reader:
    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._base = self._base_path()

    def document(self) -> Document:
        schemas = self._raw.get("definitions") or self._raw.get("components", {}).get("schemas") or {}
        return Document(
            {(each, path): operation for each, path, operation in self._operations()},
            {name: self._schema(schema) for name, schema in schemas.items()},
        )

    def _base_path(self) -> str:
        servers = self._raw.get("servers") or [{}]
        base: str = self._raw.get("basePath") or urlsplit(str(servers[0].get("url", ""))).path
        return base.rstrip("/")

    def _operations(self) -> Iterator[tuple[str, str, OperationOfDocument]]:
        for path, item in self._raw["paths"].items():
            for method in METHODS:
                if method in item:
                    whole = self._base + path
                    yield method.upper(), whole.rstrip("/"), self._operation(item[method], item.get("parameters", ()))

    def _operation(self, raw: Raw, shared: Any) -> OperationOfDocument:
        given = [self._resolved(each) for each in (*shared, *raw.get("parameters", ()))]
        consumes = raw.get("consumes") or self._raw.get("consumes") or ["application/json"]
        body = {
            media_type: self._schema(content.get("schema", {}))
            for media_type, content in self._resolved(raw.get("requestBody", {})).get("content", {}).items()
        }
        for each in given:
            if each["in"] == "body":
                body[consumes[0]] = self._schema(each.get("schema", {}))
        forms = {each["name"]: self._parameter(each) for each in given if each["in"] == "formData"}
        if forms:
            body |= {"multipart/form-data": Schema("object", fields=forms)}
        return OperationOfDocument(
            id=str(raw.get("operationId", "")),
            parameters={
                (each["in"], each["name"]): self._parameter(each) for each in given if each["in"] in ("path", "query")
            },
            scopes=self._scopes(raw),
            body=body,
            statuses=frozenset(int(each) for each in raw.get("responses", {}) if str(each).startswith("2")),
        )

    def _scopes(self, raw: Raw) -> frozenset[str] | None:
        security = raw.get("security", self._raw.get("security"))
        if security is None:
            return None
        return frozenset(scope for each in security for scopes in each.values() for scope in scopes)

    def _parameter(self, raw: Raw) -> Schema:
        schema = self._schema(raw.get("schema", raw))
        return Schema(schema.type, required=raw.get("required") is True, enum=schema.enum, items=schema.items)

    def _schema(self, raw: Raw, *, required: bool = False, verbose: bool = False) -> Schema:
        if alternatives := raw.get("oneOf") or raw.get("anyOf"):
            # A create takes one record, or a list of them; the first alternative says what a record is.
            others = [each for each in alternatives if each.get("type") != "null"] or alternatives
            first = self._schema(others[0], required=required, verbose=verbose)
            return replace(first, nullable=first.nullable or len(others) < len(alternatives))
        parts = raw.get("allOf", ())
        reference = raw.get("$ref") or (parts[0].get("$ref") if len(parts) == 1 else None)
        record = str(reference).rpartition("/")[2] if reference else None
        kind, null = _type_of(raw, "object" if record else "any")
        wanted, elaborate = _names(raw.get("required")), _names(raw.get("x-verbose-required"))
        return Schema(
            type=kind,
            required=required,
            read_only=raw.get("readOnly") is True,
            nullable=null or raw.get("nullable") is True or raw.get("x-nullable") is True,
            verbose=verbose,
            enum=frozenset(str(each) for each in raw.get("enum", ()) if each is not None),
            record=record,
            fields={
                name: self._schema(each, required=name in wanted, verbose=name in elaborate)
                for name, each in raw.get("properties", {}).items()
            },
            items=self._schema(raw["items"]) if isinstance(raw.get("items"), Mapping) else None,
        )

    def _resolved(self, raw: Raw) -> Raw:
        reference = raw.get("$ref")
        if not isinstance(reference, str):
            return raw
        found: Any = self._raw
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        if not isinstance(found, Mapping):
            raise DocumentError(f"The document refers to {reference}, which is no part of it")
        return found


def _type_of(raw: Raw, otherwise: str) -> tuple[str, bool]:
    given = raw.get("type") or ("object" if raw.get("properties") else otherwise)
    several = [given] if isinstance(given, str) else list(given)
    kinds = [TYPES.get(each, each) for each in several if each != "null"]
    return (kinds[0] if len(kinds) == 1 else "any"), "null" in several


def _names(raw: object) -> frozenset[str]:
    return frozenset(raw) if isinstance(raw, list | tuple) else frozenset()
