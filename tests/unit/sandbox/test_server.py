import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.__main__ import _parser, options_from
from tests.support.certificates import self_signed
from tests.unit.sandbox.support import Serve, refresh


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match=r"use 127\.0\.0\.1"):
        Sandbox(host=host, patients=1)


def test_a_taken_port_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} .*choose another port"):
            Sandbox(port=port, patients=1).start()


def test_it_stops_and_starts_again() -> None:
    sandbox = Sandbox(patients=1)
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.url  # noqa: B018
    for _ in range(2):
        with sandbox:
            assert httpx.get(f"{sandbox.url}/_sandbox/state").status_code == 200
            with pytest.raises(RuntimeError, match="running already"):
                sandbox.start()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{sandbox.url}/_sandbox/state")


def test_two_of_them_know_nothing_of_each_other() -> None:
    with Sandbox(patients=1) as one, Sandbox(patients=1) as other:
        assert (one.client_id, one.client_secret) != (other.client_id, other.client_secret)
        assert refresh(other, one.refresh_token).status_code == 400


def test_the_connection_as_json_and_as_uri_are_equal(serve: Serve) -> None:
    sandbox, _ = serve(quota_per_hour=200, quota_per_second=None)

    connection = json.loads(sandbox.connection_json())
    uri = urlsplit(sandbox.connection_uri())

    assert connection["host"] == unquote(uri.hostname or "") == sandbox.url
    assert connection["port"] == uri.port == urlsplit(sandbox.url).port
    assert (connection["login"], connection["password"]) == (uri.username, uri.password)
    assert connection["extra"] == json.loads(parse_qs(uri.query)["__extra__"][0])
    assert connection["extra"] == {
        "refresh_token": sandbox.refresh_token,
        "timezone": "America/New_York",
        "quota_per_hour": 200,
        "quota_per_second": 0,
    }


def test_it_serves_https_to_those_who_trust_it(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate[0])
    with Sandbox(patients=1, certificate=certificate) as sandbox:
        assert sandbox.url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{sandbox.url}/_sandbox/state", verify=trusting).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{sandbox.url}/_sandbox/state")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "airflow_provider_drchrono.sandbox", "--port", "0", "--patients", "3"]
    command += ["--quota-per-hour", "off", "--quota-per-second", "off", "--records", "tasks=4", "--seed", "9"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield running
    running.kill()
    running.communicate()


def test_the_command_prints_a_connection_that_works(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    connection = json.loads(lines[1].partition(": ")[2])
    form = {"grant_type": "refresh_token", "refresh_token": connection["extra"]["refresh_token"]}
    form |= {"client_id": connection["login"], "client_secret": connection["password"]}

    tokens = httpx.post(f"{connection['host']}/o/token/", data=form).json()
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    tasks = httpx.get(f"{connection['host']}/api/tasks", headers=headers).json()["data"]

    assert "3 patients" in lines[0]
    assert lines[3].startswith("export AIRFLOW_CONN_DRCHRONO_DEFAULT='{")
    assert connection["extra"]["quota_per_hour"] == connection["extra"]["quota_per_second"] == 0
    assert len(tasks) == 4
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--host", "0.0.0.0"], "use 127.0.0.1", id="open address"),
        pytest.param(["--records", "patient=3"], "choose from", id="unknown resource"),
        pytest.param(["--records", "tasks"], "is not RESOURCE=N", id="no number"),
        pytest.param(["--timezone", "Mars/Olympus"], "Mars/Olympus", id="unknown zone"),
        pytest.param(["--clock", "tasks"], "is not RESOURCE=ZONE", id="no zone"),
        pytest.param(["--clock", "task=UTC"], "choose from", id="clock of an unknown resource"),
        pytest.param(["--features", "telepathy"], "invalid choice", id="unknown feature"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "airflow_provider_drchrono.sandbox", "--port", "0", *arguments]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 2
    assert message in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr


class TestAdmin:
    def test_state(self, serve: Serve) -> None:
        sandbox, api = serve(quota_per_hour=100)
        api.get("/api/doctors")

        state = api.get("/_sandbox/state").json()

        assert state["records"]["patients"] == 5
        assert state["quota"] == {"per_hour": 100, "per_second": None, "used": {sandbox.client_id: 1}}

    def test_journal(self, serve: Serve) -> None:
        _, api = serve()
        api.get("/api/doctors", params={"page_size": 1})
        api.get("/api/offices")

        entries = api.get("/_sandbox/journal").json()["entries"]
        later = api.get("/_sandbox/journal", params={"since_index": entries[-1]["index"]}).json()["entries"]

        assert [each["operation_id"] for each in entries] == ["oauth_token", "doctors_list", "offices_list"]
        assert [each["operation_id"] for each in later] == ["offices_list"]
        assert (entries[1]["query"], entries[1]["status"]) == ({"page_size": "1"}, 200)
        api.post("/_sandbox/journal/clear")
        assert api.get("/_sandbox/journal").json() == {"entries": []}

    def test_clock_churn_and_checksum(self, serve: Serve) -> None:
        sandbox, api = serve()
        before = api.get("/_sandbox/checksum", params={"resource": "patients"}).json()
        moment = sandbox.clock.now()

        api.post("/_sandbox/clock", json={"advance": 7200})
        report = api.post("/_sandbox/churn", json={"seed": 2, "changes": 60}).json()
        after = api.get("/_sandbox/checksum", params={"resource": "patients"}).json()

        assert (sandbox.clock.now() - moment).total_seconds() >= 7200
        assert after["count"] == before["count"] + report["patients"]["new"]
        assert after["sha256"] != before["sha256"]

    def test_faults_and_grants(self, serve: Serve) -> None:
        sandbox, api = serve()

        planned = api.post("/_sandbox/faults", json={"kind": "status", "resource": "doctors", "status": 418}).json()
        assert (len(planned["faults"]), api.get("/api/doctors").status_code) == (1, 418)
        api.post("/_sandbox/faults", json=[{"kind": "html", "resource": "doctors", "times": None}])
        assert api.delete("/_sandbox/faults").json() == {"faults": []}
        token = api.post("/_sandbox/grant", json={"scope": "user:read"}).json()["refresh_token"]
        assert refresh(sandbox, token).json()["scope"] == "user:read"

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            pytest.param("GET", "nothing", None, 404, id="unknown"),
            pytest.param("GET", "churn", None, 404, id="other method"),
            pytest.param("GET", "checksum", None, 400, id="no resource"),
            pytest.param("GET", "checksum?resource=patient", None, 400, id="unknown resource"),
            pytest.param("POST", "clock", {}, 400, id="no time"),
            pytest.param("POST", "clock", [1], 400, id="no object"),
            pytest.param("POST", "faults", {"kind": "fire"}, 400, id="no fault"),
        ],
    )
    def test_what_it_does_not_know(self, serve: Serve, method: str, path: str, body: object, status: int) -> None:
        _, api = serve()

        assert api.request(method, f"/_sandbox/{path}", json=body).status_code == status


def test_switches_of_the_command_become_options() -> None:
    line = "--tidy --links own --file-lifetime 60 --features recurrence_instance_key --refuse-unfiltered lab_orders"
    line += " --clock tasks=America/Denver --clock patients=UTC --quota-per-hour off --records tasks=4"

    options = options_from(_parser().parse_args(line.split()))

    assert (options.tidy, options.links, options.file_lifetime, options.quota_per_hour) == (True, "own", 60, None)
    assert (options.features, options.refuse_unfiltered) == (("recurrence_instance_key",), ("lab_orders",))
    assert (options.clocks, options.records) == ({"tasks": "America/Denver", "patients": "UTC"}, {"tasks": 4})
    assert options_from(_parser().parse_args(["--features"])).features == ()
