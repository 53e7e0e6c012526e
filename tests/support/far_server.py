"""What stand-ins for other services on loopback have in common: JSON in, JSON out, and planned faults."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl


class Request(NamedTuple):
    """A request that has arrived; a form or a JSON object is in ``body``."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FarServer:
    """Serves ``answer`` on loopback. A context manager; ``url`` is where it listens, without a slash at its end.

    :param statuses: what the first requests are answered with, instead of being carried out.
    """

    def __init__(self, *statuses: int) -> None:
        self.requests: list[Request] = []
        self._statuses = list(statuses)
        self._lock = threading.Lock()
        far = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                is_json = "json" in self.headers.get("Content-Type", "")
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, json.loads(body) if is_json else dict(parse_qsl(body)))
                with far._lock:
                    far.requests.append(request)
                    status, answer = (far._statuses.pop(0), {}) if far._statuses else far.answer(request)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: object) -> None:
                """Say nothing: tests look at what has arrived."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
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

    def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
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

    def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
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
