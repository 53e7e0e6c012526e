"""Plants recognisable secrets and names everywhere and looks for them in every log line and error."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_drchrono.client import AsyncDrChronoClient, DrChronoClient, DrChronoError
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import settings_for

CANARIES = ("secret-canary", "refresh-canary", "token-canary", "Canarybird", "canary.example", "555-0199")

SETTINGS = {"client_secret": "secret-canary", "refresh_token": "refresh-canary", "max_attempts": 2}

PATIENT = {"first_name": "Quintessa", "last_name": "Canarybird", "email": "q@canary.example", "cell_phone": "555-0199"}

STEPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda client: client.pages("patients", {"last_name": "Canarybird", "email": "q@canary.example"}),
    "create": lambda client: client.create("patients", PATIENT, query={"last_name": "Canarybird"}),
    "upload": lambda client: client.create(
        "documents", {"description": "Canarybird"}, files={"document": ("Canarybird.pdf", b"Canarybird")}
    ),
    "read": lambda client: client.read("patients", 1),
}

ANSWERS = [
    pytest.param([Reply(body={"results": [PATIENT], "next": "/api/patients?last_name=Canarybird"})] * 2, id="success"),
    pytest.param([Reply(302, headers={"Location": "/api/x?last_name=Canarybird"}), Reply(body=PATIENT)], id="redirect"),
    pytest.param([Reply(302, headers={"Location": "//canary.example/Canarybird"})], id="foreign-redirect"),
    pytest.param([Reply(400, {"last_name": ["Canarybird is taken"]})], id="bad-request"),
    pytest.param([Reply(409, {"detail": "Canarybird"})], id="conflict"),
    pytest.param([Reply(500, b"Canarybird")] * 2, id="server-error"),
    pytest.param([Reply(200, b'{"a": "Canarybird')] * 2, id="broken-json"),
    pytest.param([Reply(200, b"<b>Canarybird", {"Content-Type": "text/html"})] * 2, id="html"),
    pytest.param([Reply(drop=True)] * 2, id="dropped"),
    pytest.param([Reply(401)] * 2, id="unauthorized"),
    pytest.param([Reply(429, b"Canarybird", {"Retry-After": "999", "X-Name": "Canarybird"})], id="throttled"),
    pytest.param([Reply(200, {"results": [PATIENT], "next": "https://canary.example/"})], id="foreign-next"),
    pytest.param([Reply(200, {"results": ["Canarybird"]})], id="no-records"),
]  # fmt: skip


def exhaust(step: str, client: DrChronoClient) -> str:
    try:
        result = STEPS[step](client)
        return repr(list(result)) if step == "list" else ""
    except DrChronoError as error:
        return chain(error)


async def exhaust_async(step: str, url: str) -> str:
    async with AsyncDrChronoClient(settings_for(url, **SETTINGS)) as client:
        try:
            result = STEPS[step](client)
            if step == "list":
                return repr([page async for page in result])
            await result
            return repr(client.settings)
        except DrChronoError as error:
            return chain(error)


def chain(error: BaseException | None) -> str:
    text = ""
    while error is not None:
        text += f"{error!r} {error!s}\n"
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_nothing_leaks(
    api: ScriptedApi, answers: list[Reply], step: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = {"access_token": "token-canary", "refresh_token": "refresh-canary-2", "expires_in": 9999}
    api.token_script += [Reply(body=token)] * 3
    api.script += answers
    if colour == "sync":
        with DrChronoClient(settings_for(api.url, **SETTINGS)) as client:
            shown = exhaust(step, client)
    else:
        shown = asyncio.run(exhaust_async(step, api.url))
    # Formatted as a log file would have it, with tracebacks.
    written = "\n".join(caplog.handler.format(each) for each in caplog.records)
    assert api.seen
    assert "airflow_provider_drchrono" in " ".join(each.name for each in caplog.records)
    for canary in CANARIES:
        assert canary not in written
        assert canary not in shown


def test_a_failed_renewal_leaks_nothing(api: ScriptedApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    api.token_script += [Reply(400, {"error": "invalid_grant", "error_description": "refresh-canary is dead"})]
    with DrChronoClient(settings_for(api.url, **SETTINGS)) as client, pytest.raises(DrChronoError) as caught:
        client.current_user()
    for canary in CANARIES:
        assert canary not in caplog.text
        assert canary not in chain(caught.value)


def test_others_keep_the_log_lines_of_the_library(api: ScriptedApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Airflow, where it was imported before, has raised it.
    caplog.set_level(logging.DEBUG, "httpx")
    with DrChronoClient(settings_for(api.url)) as client:
        client.current_user()
        assert not [each for each in caplog.records if each.name.startswith(("httpx", "httpcore"))]
        httpx.get(f"{api.url}/somebody-else")
    names = {each.name for each in caplog.records if each.name.startswith(("httpx", "httpcore"))}
    assert {"httpx", "httpcore.http11", "httpcore.connection"} <= names
