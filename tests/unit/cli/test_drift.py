"""``airflow drchrono drift``: what an OpenAPI document says differently, and what is known and reasoned."""

import copy
import json
from collections.abc import Callable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.cli.drift import Difference, differences
from airflow_provider_drchrono.cli.openapi_document import Schema, load_document, read_document
from airflow_provider_drchrono.codegen.openapi import document
from tests.unit.cli.test_index import run


@lru_cache(maxsize=1)
def own() -> str:
    return json.dumps(document(load()))


@pytest.fixture
def raw() -> Any:
    return json.loads(own())


def drift_of(raw: Any) -> list[Difference]:
    return list(differences(load(), read_document(raw)))


def test_the_catalogue_does_not_differ_from_itself(raw: Any) -> None:
    assert drift_of(raw) == []


def change(path: str, value: Any) -> Callable[[Any], None]:
    """Return what sets or, with None, deletes a part of the document."""
    *outer, last = path.split(" ")

    def apply(raw: Any) -> None:
        for step in outer:
            raw = raw[int(step)] if isinstance(raw, list) else raw[step]
        if value is None:
            del raw[int(last) if isinstance(raw, list) else last]
        else:
            raw[last] = value

    return apply


TASK = "components schemas Task"
TASKS = "paths /api/tasks get"
PICKED = f"{TASKS} parameters 2"


@pytest.mark.parametrize(
    ("apply", "difference"),
    [
        pytest.param(
            change("paths /api/robots", {"get": {"operationId": "robots_list", "responses": {"200": {}}}}),
            Difference("operation", "GET /api/robots", "new", document="robots_list"),
            id="new operation",
        ),
        pytest.param(
            change("paths /api/tasks post", None),
            Difference("operation", "POST /api/tasks", "gone", "tasks_create"),
            id="operation gone",
        ),
        pytest.param(
            change(f"{TASKS} operationId", "tasks_find"),
            Difference("operation", "GET /api/tasks", "operationId", "tasks_list", "tasks_find"),
            id="operation renamed",
        ),
        pytest.param(
            change(f"{TASKS} security", [{"oauth2": ["tasks:read", "tasks:all"]}]),
            Difference("operation", "GET /api/tasks", "scopes", "tasks:write", "tasks:all"),
            id="scopes",
        ),
        pytest.param(
            change(f"{TASKS} responses", {"203": {}}),
            Difference("operation", "GET /api/tasks", "status", "200", "203"),
            id="status",
        ),
        pytest.param(
            change("paths /api/tasks parameters", [{"name": "mood", "in": "query", "schema": {"type": "string"}}]),
            Difference("parameter", "GET /api/tasks mood", "new", document="query string"),
            id="new parameter, of the path",
        ),
        pytest.param(
            change(f"{TASKS} parameters", []),
            Difference("parameter", "GET /api/tasks cursor", "gone", "query string"),
            id="parameter gone",
        ),
        pytest.param(
            change("paths /api/tasks post requestBody content", {"text/csv": {}}),
            Difference("body", "POST /api/tasks", "media type", "application/json", "text/csv"),
            id="media type",
        ),
        pytest.param(
            change(
                "paths /api/tasks post requestBody content application/json schema",
                {"$ref": "#/components/schemas/Patient"},
            ),
            Difference("body", "POST /api/tasks", "record", "Task", "Patient"),
            id="record of a body",
        ),
        pytest.param(
            change("components schemas Robot", {"type": "object"}),
            Difference("record", "Robot", "new"),
            id="new record",
        ),
        pytest.param(change(TASK, None), Difference("record", "Task", "gone"), id="record gone"),
        pytest.param(
            change(f"{TASK} properties mood", {"type": "string"}),
            Difference("field", "Task.mood", "new", document="string"),
            id="new field",
        ),
        pytest.param(
            change(f"{TASK} properties title", None),
            Difference("field", "Task.title", "gone", "string"),
            id="field gone",
        ),
        pytest.param(
            change(f"{TASK} properties title", {"type": "integer"}),
            Difference("field", "Task.title", "type", "string", "integer"),
            id="type",
        ),
        pytest.param(
            change(f"{TASK} required", ["title"]),
            Difference("field", "Task.status", "required", "yes", "no"),
            id="required",
        ),
        pytest.param(
            change(f"{TASK} properties title nullable", True),
            Difference("field", "Task.title", "nullable", "no", "yes"),
            id="nullable",
        ),
        pytest.param(
            change(f"{TASK} properties title readOnly", True),
            Difference("field", "Task.title", "readOnly", "no", "yes"),
            id="read-only",
        ),
        pytest.param(
            change(f"{TASK} properties priority enum", ["10", "20", "30", "50"]),
            Difference("field", "Task.priority", "enum", "40", "50"),
            id="values",
        ),
        pytest.param(
            change(f"{TASK} properties associated_items items properties mood", {"type": "string"}),
            Difference("field", "Task.associated_items[].mood", "new", document="string"),
            id="deep inside",
        ),
    ],
)
def test_what_differs_is_named(raw: Any, apply: Callable[[Any], None], difference: Difference) -> None:
    apply(raw)

    assert difference in drift_of(raw)


@pytest.mark.parametrize(
    "apply",
    [
        pytest.param(change("paths /api/message_threads", None), id="what a newer edition added"),
        pytest.param(change("components schemas MessageThread", None), id="its record"),
        pytest.param(change("components schemas UserProfile properties staff", None), id="its field"),
        pytest.param(
            change("paths /api/day_sheet_totals get security", [{"oauth2": ["billing"]}]), id="corrected scopes"
        ),
        pytest.param(
            change("components schemas Office properties exam_rooms", {"type": "string", "readOnly": True}),
            id="corrected type",
        ),
        pytest.param(
            change("components schemas PatientProblem properties verification_status type", None), id="reasoned type"
        ),
        pytest.param(change("components schemas Appointment properties billing_status enum", None), id="words only"),
        pytest.param(change("paths /api/tasks post requestBody", None), id="body that the contract leaves out"),
    ],
)
def test_what_is_known_and_reasoned_is_no_drift(raw: Any, apply: Callable[[Any], None]) -> None:
    apply(raw)

    assert drift_of(raw) == []


def test_values_that_stand_only_in_words_so_far_are_compared_once_the_structure_has_them(raw: Any) -> None:
    raw["components"]["schemas"]["Appointment"]["properties"]["billing_status"]["enum"] = ["Settled"]

    (found,) = drift_of(raw)
    assert (found.where, found.what, found.document) == ("Appointment.billing_status", "enum", "")


def test_a_document_of_version_2_says_the_same() -> None:
    one = {
        "swagger": "2.0",
        "basePath": "/api",
        "parameters": {"page": {"in": "query", "name": "page_size", "type": "integer"}},
        "paths": {
            "/tasks": {
                "parameters": [{"$ref": "#/parameters/page"}],
                "post": {
                    "operationId": "tasks_create",
                    "parameters": [
                        {"in": "body", "name": "body", "schema": {"$ref": "#/definitions/Task"}},
                        {"in": "query", "name": "open", "type": "bool", "required": True},
                    ],
                    "responses": {"201": {}, "default": {}},
                },
                "patch": {
                    "consumes": ["multipart/form-data"],
                    "parameters": [{"in": "formData", "name": "file", "type": "file"}],
                    "responses": {},
                },
            }
        },
        "definitions": {"Task": {"properties": {"note": {"type": "string", "x-nullable": True}}}},
    }

    read = read_document(one)

    create = read.operations["POST", "/api/tasks"]
    assert create.parameters == {
        ("query", "page_size"): Schema("integer"),
        ("query", "open"): Schema("boolean", required=True),
    }
    assert (create.body["application/json"].record, create.statuses, create.scopes) == ("Task", {201}, None)
    assert read.operations["PATCH", "/api/tasks"].body["multipart/form-data"].fields == {"file": Schema("file")}
    assert read.records["Task"].fields == {"note": Schema("string", nullable=True)}


@pytest.mark.parametrize(
    "nullable",
    [{"type": ["string", "null"]}, {"anyOf": [{"type": "null"}, {"type": "string"}]}],
    ids=["list of types", "alternatives"],
)
def test_null_is_a_type_in_version_3_1(nullable: dict[str, Any]) -> None:
    read = read_document(
        {"openapi": "3.1.0", "paths": {}, "components": {"schemas": {"A": {"properties": {"b": nullable}}}}}
    )

    assert read.records["A"].fields["b"] == Schema("string", nullable=True)


def test_the_command_prints_what_differs_and_fails(
    raw: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(raw))
    run("drift", str(path))
    assert (
        f"0 differences in {len(load().operations)} operations and {len(load().records)} records"
        in capsys.readouterr().out
    )

    change(f"{TASK} properties mood", {"type": "string"})(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(SystemExit) as table:
        run("drift", str(path))
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit) as as_json:
        run("drift", str(path), "-o", "json")

    assert (table.value.code, as_json.value.code) == (1, 1)
    assert "Task.mood" in shown
    assert "1 difference in" in shown
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "field", "where": "Task.mood", "what": "new", "catalogue": "", "document": "string"}
    ]


def test_a_document_is_read_from_an_address() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(own().encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.handle_request)
    thread.start()
    read = load_document(f"http://127.0.0.1:{server.server_port}/openapi.json")
    thread.join()
    server.server_close()

    assert list(differences(load(), read)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(None, "cannot be read: No such file", id="no file"),
        pytest.param("openapi: 3", "is not JSON; convert a document in YAML", id="yaml"),
        pytest.param("[]", "a document has an object 'paths'", id="list"),
        pytest.param('{"paths": {}}', "a document has a version", id="no version"),
        pytest.param(
            '{"openapi": "3.0.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "#/paths/~1a/get/x/y"}]}}}}',
            "There is no OpenAPI document",
            id="broken reference",
        ),
    ],
)
def test_what_is_no_document_is_told(text: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(SystemExit, match=told):
        run("drift", str(path))


def test_reading_does_not_change_the_document(raw: Any) -> None:
    before = copy.deepcopy(raw)
    drift_of(raw)
    assert raw == before
