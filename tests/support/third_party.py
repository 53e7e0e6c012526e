"""Has openapi-core, which knows nothing of the provider, judge requests by an OpenAPI document."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.sandbox.files import Upload, read_multipart
from airflow_provider_drchrono.sandbox.wire import Request

FORM = "multipart/form-data"

TYPES = {"bool": "boolean", "file": "string"}
"""Types that the vendor's document has and the standard does not."""


class AsSent:
    """A request as the sandbox's socket received it, in the form that openapi-core reads."""

    def __init__(self, host: str, request: Request, form: Mapping[str, Any] | None) -> None:
        self.host_url = host
        self.path = request.path
        self.method = request.method.lower()
        self.body = request.body or None if form is None else json.dumps(form).encode()
        self.content_type = request.headers.get("content-type", "") if form is None else "application/json"
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(request.query), header=Headers(dict(request.headers)), cookie=ImmutableMultiDict()
        )


class Judge:
    """Says what is wrong with requests.

    :param document: a decoded OpenAPI 3 document; it is not changed.
    :param catalog: says which record the body of a write is whose body the document leaves out.
    """

    def __init__(self, document: Mapping[str, Any], catalog: Catalog) -> None:
        self.document = judgeable(document, catalog)
        self.host = self.document["servers"][0]["url"]
        # The reference has parameters that the contract leaves out; the catalogue says of each why it is there.
        self._left_out = {
            each.id: {parameter.name for parameter in each.parameters if "name" in parameter.because}
            for each in catalog.operations.values()
        }
        # The vendor's document is no valid one, and openapi-core would refuse to look at it.
        self._openapi = OpenAPI.from_dict(_forms_as_json(self.document), config=Config(spec_validator_cls=None))

    def problems(self, request: Request) -> list[str]:
        """Return what is wrong with a request: nothing where it is as the document wants it."""
        found = [f"no parameter {name!r}" for name in self._unknown_parameters(request)]
        media = self._operation(request).get("requestBody", {}).get("content", {})
        if request.body and media and request.content_type not in media:
            found.append(f"a body of {request.content_type}, where it takes {', '.join(media)}")
        try:
            self._openapi.validate_request(AsSent(self.host, request, self._form(request)))
        except OpenAPIError as error:
            found.append(f"{type(error).__name__}: {'; '.join(_causes(error)) or error}")
        return found

    def _unknown_parameters(self, request: Request) -> Iterable[str]:
        operation = self._operation(request)
        known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        known |= self._left_out.get(operation["operationId"], set())
        return [name for name, _ in request.query if name not in known]

    def _operation(self, request: Request) -> dict[str, Any]:
        paths: dict[str, Any] = self.document["paths"]
        fitting = [path for path in paths if _fits(path, request.path)]
        # A fixed segment says more than a parameter.
        operation: dict[str, Any] = paths[min(fitting, key=lambda path: path.count("{"))][request.method.lower()]
        return operation

    def _form(self, request: Request) -> dict[str, Any] | None:
        """Return the fields of a form, read as the schema types them; None for another body.

        A form holds text only, and openapi-core takes that for the text of any field.
        """
        content = self._operation(request).get("requestBody", {}).get("content", {})
        if request.content_type != FORM or FORM not in content:
            return None
        schema = content[FORM].get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        fields = (self.document["components"]["schemas"][name] if name else schema).get("properties", {})
        return {
            name: _typed(fields.get(name, {}).get("type"), value) for name, value in read_multipart(request).items()
        }


def judgeable(document: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return a copy of a document, mended where it contradicts the standard or itself, and with the bodies it omits.

    What is mended: types that the standard does not have; values of another type than the field's; a format of times
    that wants a zone, where the examples beside it have none; and required fields in the body of a PATCH, which changes
    the fields that it is given. A body that the document leaves out becomes the
    document's own schema of the record that is written.
    """
    mended: dict[str, Any] = copy.deepcopy(dict(document))
    _mend(mended)
    # openapi-core cannot judge OAuth, and says so at each request.
    mended["components"].pop("securitySchemes", None)
    for item in mended["paths"].values():
        for each in item.values():
            each.pop("security", None)
    for operation in catalog.operations.values():
        raw = mended["paths"].get(operation.path, {}).get(operation.method.lower())
        if raw is None:
            continue
        record = operation.body.record if operation.body else None
        if "requestBody" not in raw and record in mended["components"]["schemas"]:
            schema = {"$ref": f"#/components/schemas/{record}"}
            forms = [FORM] if operation.body and operation.body.encoding == "multipart" else []
            taken = forms if operation.body and operation.body.multipart_only else ["application/json", *forms]
            raw["requestBody"] = {"content": {media: {"schema": dict(schema)} for media in taken}}
        if operation.method == "GET":
            raw.pop("requestBody", None)
        if operation.kind == "update":
            for content in raw.get("requestBody", {}).get("content", {}).values():
                content["schema"] = _partial(mended, content["schema"])
    return mended


def _forms_as_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that takes as JSON what the document takes as a form."""
    taking = copy.deepcopy(dict(document))
    for item in taking["paths"].values():
        for each in item.values():
            content = each.get("requestBody", {}).get("content", {})
            if FORM in content:
                content["application/json"] = content[FORM]
    return taking


def _typed(kind: str | None, value: Any) -> Any:
    if isinstance(value, Upload):
        return value.name
    if kind in ("integer", "number", "boolean"):
        with suppress(ValueError):
            return json.loads(value)
    return value


def _partial(document: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    whole = document["components"]["schemas"][name] if name else schema
    return {key: value for key, value in whole.items() if key != "required"}


def _mend(part: Any) -> None:
    if isinstance(part, list):
        for each in part:
            _mend(each)
    if not isinstance(part, dict):
        return
    if isinstance(part.get("type"), str):
        part["type"] = TYPES.get(part["type"], part["type"])
        if part["type"] == "array":
            part.pop("enum", None)
        if part.get("format") == "date-time":
            del part["format"]
    for each in part.values():
        _mend(each)


def _fits(template: str, path: str) -> bool:
    wanted, given = template.split("/"), urlsplit(path).path.split("/")
    return len(wanted) == len(given) and all(
        step == segment or step.startswith("{") for step, segment in zip(wanted, given, strict=True)
    )


def _causes(error: BaseException) -> Iterable[str]:
    cause = error.__cause__
    if cause is None:
        return []
    return [each.message for each in getattr(cause, "schema_errors", ())] or [str(cause)]
