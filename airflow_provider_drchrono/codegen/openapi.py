"""Writes the catalogue as an OpenAPI document, so that tools of others can judge what the provider sends.

``python -m airflow_provider_drchrono.codegen.openapi`` prints it. It states what the catalogue holds to be true,
corrections and rules in words included, and is not the vendor's own document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Field, Operation, Parameter, Response, load

SECURITY = "oauth2"
MEDIA_TYPES = {"json": "application/json", "multipart": "multipart/form-data"}

Json = dict[str, Any]


def document(catalog: Catalog) -> Json:
    """Return the whole catalogue as an OpenAPI 3.0 document."""
    service = catalog.service
    paths: dict[str, Json] = {}
    for each in catalog.operations.values():
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(catalog, each)
    flow = {
        "authorizationUrl": service.host + service.authorize_path,
        "tokenUrl": service.host + service.token_path,
        "scopes": dict.fromkeys(service.scopes, ""),
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": "DrChrono API, as the catalogue of airflow-provider-drchrono has it", "version": "v4"},
        "servers": [{"url": service.host}],
        "paths": paths,
        "components": {
            "schemas": {name: _object(record.fields.values()) for name, record in catalog.records.items()},
            "securitySchemes": {SECURITY: {"type": "oauth2", "flows": {"authorizationCode": flow}}},
        },
    }


def _operation(catalog: Catalog, operation: Operation) -> Json:
    files = {each.name for each in catalog.body_fields(operation) if each.format == "file"}
    made: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [_parameter(each) for each in operation.parameters if each.type != "file"],
        "responses": {
            str(status): _response(operation.response if status != 204 else Response(204, "empty"))
            for status in (operation.response.status, *operation.response.other_statuses)
        },
        "security": [{SECURITY: list(operation.named_scopes)}],
    }
    body = operation.body
    if body is not None and body.encoding != "none":
        schema = _reference(body.record) if body.record else _object(body.fields)
        if operation.kind == "update":
            schema = _object(catalog.body_fields(operation), partial=True)
        content = {MEDIA_TYPES[body.encoding]: {"schema": schema}}
        if files and not body.multipart_only:
            content["application/json"] = {"schema": schema}
        if operation.kind == "create" and body.encoding == "json":
            content["application/json"] = {"schema": {"oneOf": [schema, {"type": "array", "items": schema}]}}
        made["requestBody"] = {"content": content, "required": operation.kind in ("create", "replace")}
        if catalog.can_do_without_body(operation):
            made["requestBody"]["required"] = False
    return made


def _parameter(parameter: Parameter) -> Json:
    schema: Json = {"type": parameter.type}
    if parameter.type == "array":
        schema["items"] = {"type": parameter.items or "string"}
    schema |= _limits(parameter.minimum, parameter.maximum)
    if parameter.enum:
        schema["enum"] = list(parameter.enum)
    made = {"name": parameter.name, "in": parameter.place, "required": parameter.required, "schema": schema}
    if parameter.type == "array":
        made |= {"style": "form", "explode": False}
    return made | {"description": parameter.about}


def _response(response: Response) -> Json:
    if response.shape == "empty":
        return {"description": "Done, with an empty answer"}
    row = _reference(response.record) if response.record else {}
    schema = row if response.shape == "record" else {}
    if response.shape == "page":
        schema = {"type": "object", "properties": {response.rows: {"type": "array", "items": row}}}
    return {"description": response.shape, "content": {response.media_type: {"schema": schema}}}


def _reference(record: str) -> Json:
    return {"$ref": f"#/components/schemas/{record}"}


def _object(fields: Iterable[Field], *, partial: bool = False) -> Json:
    fields = tuple(fields)
    made: Json = {"type": "object", "properties": {each.name: _field(each) for each in fields}}
    if required := [each.name for each in fields if each.required and not partial]:
        made["required"] = required
    if verbose := [each.name for each in fields if each.verbose]:
        made["x-verbose-required"] = verbose
    return made


def _field(field: Field) -> Json:
    if field.record is not None:
        # Beside a reference, version 3.0 allows nothing else.
        return {"allOf": [_reference(field.record)], **_marks(field)}
    made: Json = {} if field.type == "any" else {"type": field.type}
    if field.type == "object" and field.fields:
        made |= _object(field.fields)
    if field.type == "array":
        made["items"] = _field(field.items) if field.items else {}
    if field.enum:
        made["enum"] = list(field.enum)
    if field.format == "file":
        made["format"] = "binary"
    made |= _limits(field.minimum, field.maximum)
    if field.max_items is not None:
        made["maxItems"] = field.max_items
    return made | _marks(field)


def _marks(field: Field) -> Json:
    marks: Json = {"description": field.about} if field.about else {}
    if field.read_only:
        marks["readOnly"] = True
    if field.nullable:
        marks["nullable"] = True
    return marks


def _limits(minimum: int | None, maximum: int | None) -> Json:
    return {name: limit for name, limit in (("minimum", minimum), ("maximum", maximum)) if limit is not None}


if __name__ == "__main__":
    print(json.dumps(document(load()), indent=1))
