"""Stand-ins for other services on loopback: JSON in, JSON out, and planned faults."""

from __future__ import annotations

import json
import re
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote


class Request(NamedTuple):
    """A request that has arrived; a form or a JSON object is in ``body``."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FarServer:
    """Serves ``answer`` on loopback. A context manager; ``url`` is where it listens, without a slash at its end.

    :param statuses: what the first requests are answered with, instead of being carried out.
    :param certificate: paths of a certificate and its key; the server is then a proxy, too, which answers for the hosts
        to which it is asked to connect.
    """

    def __init__(self, *statuses: int, certificate: tuple[str, str] | None = None) -> None:
        self.requests: list[Request] = []
        self._statuses = list(statuses)
        self._lock = threading.Lock()
        far = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                assert certificate is not None
                self.send_response(200)
                self.end_headers()
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*certificate)
                with (
                    context.wrap_socket(self.connection, server_side=True) as secured,
                    secured.makefile("rb") as self.rfile,
                    secured.makefile("wb", buffering=0) as self.wfile,
                ):
                    self.close_connection = False
                    while not self.close_connection:
                        self.handle_one_request()
                self.close_connection = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                is_json = body and "json" in self.headers.get("Content-Type", "")
                headers = {name.lower(): value for name, value in self.headers.items()}
                content = json.loads(body) if is_json else dict(parse_qsl(body))
                request = Request(self.command, self.path, headers, content)
                with far._lock:
                    far.requests.append(request)
                    status, answer = (far._statuses.pop(0), {}) if far._statuses else far.answer(request)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PATCH = do_PUT = do_POST  # noqa: N815 - the names of the base class

            def log_message(self, *arguments: object) -> None:
                """Say nothing: tests look at what has arrived."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> tuple[int, Any]:
        """Carry a request out; return the status and the body of the answer."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Slack(FarServer):
    """Keeps the messages that are posted to channels, and refuses them as Slack does: with 200 and ``ok`` false."""

    token = "xoxb-synthetic-token"

    def __init__(self, *statuses: int) -> None:
        super().__init__(*statuses)
        self.messages: list[dict[str, Any]] = []

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if request.path != "/api/chat.postMessage":
            return 200, {"ok": False, "error": "unknown_method"}
        missing = [name for name in ("channel", "text") if not request.body.get(name)]
        if missing:
            return 200, {"ok": False, "error": "no_text" if missing == ["text"] else "channel_not_found"}
        self.messages.append(request.body)
        return 200, {"ok": True, "channel": "C1", "ts": f"{len(self.messages)}.0"}


class HubSpot(FarServer):
    """Keeps contacts, and creates or updates them in batches by a property with unique values."""

    token = "pat-synthetic-token"
    unique = "drchrono_id"
    properties = frozenset({"firstname", "lastname", "phone", "city", "email", "drchrono_id"})
    most = 100

    def __init__(self, *statuses: int) -> None:
        super().__init__(*statuses)
        self.contacts: dict[str, dict[str, str]] = {}
        self.created: list[str] = []

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"status": "error", "category": "INVALID_AUTHENTICATION"}
        if request.path != "/crm/v3/objects/contacts/batch/upsert":
            return 404, {"status": "error"}
        inputs = request.body["inputs"]
        wrong = [
            each for each in inputs if each["idProperty"] != self.unique or set(each["properties"]) - self.properties
        ]
        if wrong or not 0 < len(inputs) <= self.most or len({each["id"] for each in inputs}) != len(inputs):
            return 400, {"status": "error", "category": "VALIDATION_ERROR", "message": str(wrong)}
        for each in inputs:
            if each["id"] not in self.contacts:
                self.created.append(each["id"])
            self.contacts.setdefault(each["id"], {}).update(each["properties"])
        return 200, {"status": "COMPLETE", "results": [{"id": each["id"]} for each in inputs]}


class GoogleSheets(FarServer):
    """Keeps the cells of one sheet of one spreadsheet, and has the token endpoint of its service account, too.

    :param lost_appends: so many appends are carried out and then answered 503.
    """

    spreadsheet, sheet = "synthetic-ledger", "Payments"
    token = "ya29.synthetic-token"

    def __init__(self, *statuses: int, lost_appends: int = 0) -> None:
        super().__init__(*statuses)
        self.cells: list[list[Any]] = []
        self._lost_appends = lost_appends

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.path == "/token":
            return 200, {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}
        path, _, query = request.path.partition("?")
        found = re.fullmatch(rf"/v4/spreadsheets/{self.spreadsheet}/values[/:](.+?)(:append)?", unquote(path))
        if not found:
            return 404, {"error": {"code": 404, "status": "NOT_FOUND"}}
        if found[1] == "batchUpdate":
            for each in request.body["data"]:
                first, _ = self._rows(each["range"])
                self.cells[first : first + len(each["values"])] = each["values"]
            return 200, {"totalUpdatedRows": len(request.body["data"])}
        if found[2]:
            self.cells += request.body["values"]
            if self._lost_appends:
                self._lost_appends -= 1
                return 503, {"error": {"code": 503, "status": "UNAVAILABLE"}}
            return 200, {"updates": {"updatedRows": len(request.body["values"])}}
        if dict(parse_qsl(query)).get("valueRenderOption") != "UNFORMATTED_VALUE":
            return 400, {"error": {"code": 400, "message": "cells are kept without their formats here"}}
        first, column = self._rows(found[1])
        values = [row[column : column + 1] for row in self.cells[first:]]
        # What is empty at the end is left out, down to the key itself.
        return 200, {"range": found[1], "majorDimension": "ROWS"} | ({"values": values} if values else {})

    def _rows(self, a1: str) -> tuple[int, int]:
        """Return the indexes of the first row and the first column of a range such as ``Payments!F2:F``."""
        found = re.fullmatch(rf"{self.sheet}!([A-Z])(\d*)(?::[A-Z]\d*)?", a1)
        assert found, a1
        return int(found[2] or 1) - 1, ord(found[1]) - ord("A")


class Salesforce(FarServer):
    """Keeps contacts, and creates or updates up to 200 at a time by an external id."""

    host, key, secret, token = "practice.my.salesforce.com", "synthetic-key", "synthetic-secret", "00D-synthetic-token"
    external_id = "DrChrono_Id__c"
    fields = frozenset({"FirstName", "LastName", "MobilePhone", "MailingCity", "MailingState", external_id})
    most = 200

    def __init__(self, *statuses: int, certificate: tuple[str, str]) -> None:
        super().__init__(certificate=certificate)
        self._refusals = list(statuses)
        self.contacts: dict[str, dict[str, Any]] = {}
        self.created: list[str] = []
        self.batches = 0

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.path == "/services/oauth2/token":
            basic = b64encode(f"{self.key}:{self.secret}".encode()).decode()
            if request.headers.get("authorization") != f"Basic {basic}":
                return 400, {"error": "invalid_client"}
            return 200, {"access_token": self.token, "instance_url": f"https://{self.host}", "token_type": "Bearer"}
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 401, [{"errorCode": "INVALID_SESSION_ID"}]
        path = rf"/services/data/v[\d.]+/composite/sobjects/Contact/{self.external_id}"
        records = request.body.get("records", [])
        if not re.fullmatch(path, request.path) or request.method != "PATCH" or len(records) > self.most:
            return 404, [{"errorCode": "NOT_FOUND"}]
        self.batches += 1
        if self._refusals:
            return self._refusals.pop(0), [{"errorCode": "SERVER_UNAVAILABLE", "message": str(records)}]
        return 200, [self._upsert(each) for each in records]

    def _upsert(self, record: dict[str, Any]) -> dict[str, Any]:
        fields = {name: value for name, value in record.items() if name != "attributes"}
        wrong = "INVALID_FIELD" if set(fields) - self.fields else "" if fields["LastName"] else "REQUIRED_FIELD_MISSING"
        if record["attributes"] != {"type": "Contact"} or wrong:
            return {"success": False, "errors": [{"statusCode": wrong, "message": str(record), "fields": []}]}
        key = fields[self.external_id]
        is_new = key not in self.contacts
        if is_new:
            self.created.append(key)
        self.contacts.setdefault(key, {}).update(fields)
        return {"id": f"003{key}", "success": True, "errors": [], "created": is_new}
