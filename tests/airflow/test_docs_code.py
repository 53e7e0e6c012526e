"""Runs the code of README and docs, page by page, against a sandbox, and checks the commands that they show."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.warehouses.registry import warehouse_types
from tests.support.running import unlimited

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/how-to").glob("*.md"))]

CREDENTIALS = re.compile(r'client_id="[^"]*",\s+client_secret="[^"]*",\s+refresh_token="(\.\.\.|<[^"]*>)"')


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the blocks of a language with the line at which each begins."""
    text = page.read_text()
    found = re.finditer(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, each.start()) + 2, re.sub(rf"(?m)^{each[1]}", "", each[2])) for each in found]


def pages_with(language: str) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks(page, language)]


@pytest.fixture
def practice(airflow_db: Path, quick_dags: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        yield sandbox


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_code_of_a_page_runs_from_its_top_to_its_end(page: Path, practice: Sandbox) -> None:
    # An authorization of its own, as the pages ask for: each renewal replaces the refresh token.
    ours = {
        "client_id": practice.client_id,
        "client_secret": practice.client_secret,
        "refresh_token": practice.new_refresh_token(),
        "base_url": practice.url,
    }
    names: dict[str, Any] = {"__name__": page.stem}
    for line, source in blocks(page, "python"):
        # The only thing that a reader has to replace.
        text = CREDENTIALS.sub(", ".join(f"{name}={value!r}" for name, value in ours.items()), source)
        code = compile("\n" * (line - 1) + text, str(page), "exec")
        exec(code, names)


def commands() -> list[Any]:
    """The lines that readers type, without what follows them as a comment or after a pipe."""
    found = []
    for page in PAGES:
        for line, block in blocks(page, "console"):
            for number, text in enumerate(block.splitlines()):
                if text.startswith("$ "):
                    name = f"{page.relative_to(ROOT)}:{line + number}"
                    found.append(pytest.param(text[2:], block.partition(text)[2], id=name))
    return found


@pytest.mark.parametrize(("command", "following"), commands())
def test_a_command_is_one_that_there_is(command: str, following: str) -> None:
    text = re.sub(r"\s+# .*", "", command)
    more = iter(following.splitlines()[1:])
    # A backslash at the end of a line, and a quote that is open, go on in the line below.
    while text.endswith("\\") or text.count("'") % 2:
        text = text.removesuffix("\\") + next(more)
    first = shlex.split(text.partition(" | ")[0])
    if first == ["source", "venv/bin/activate"]:
        return
    checks = {
        "airflow": is_airflow,
        "docker": is_container_call,
        "export": is_setting,
        "make": is_target,
        "pip": is_extra,
        "python": is_module,
    }
    checks.get(first[0], is_sandbox_call)(first)


def is_airflow(words: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(words[1:])
    assert callable(parsed.func)


def is_target(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z0-9.-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(words[1:]) <= targets


def is_extra(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    name, _, extra = words[-1].rstrip("]").partition("[")
    wanted = [each for each in extra.split(",") if each]
    assert words[1] == "install"
    if name != "airflow-provider-drchrono":
        # One that a test runs with.
        assert any(name in path.read_text() for path in (ROOT / "requirements").glob("*.in"))
        return
    assert set(wanted) <= set(extras)


def is_module(words: list[str]) -> None:
    if words[1] == "-c":
        compile(words[2], "command", "exec")
    else:
        assert words[1] == "-m"
        if words[2] == "airflow_provider_drchrono.sandbox":
            from airflow_provider_drchrono.sandbox.__main__ import _parser

            _parser().parse_args(words[3:])
        assert find_spec(words[2]) is not None


AIRFLOWS_SERVICES = {"airflow-init", "airflow-worker"}
"""Those of Airflow's own Compose file that the page on it names."""


def is_container_call(words: list[str]) -> None:
    if words[1] == "build":
        assert words[2:] == ["--tag", "airflow-with-drchrono", "."]
        return
    known = AIRFLOWS_SERVICES | set(compose_services())
    verb, rest = words[2], words[3:]
    assert words[1] == "compose"
    if verb == "up":
        assert rest == ["--detach"] or set(rest) <= known
        return
    assert verb == "exec"
    if rest[0] == "--env":
        is_setting(rest[:2])
        rest = rest[2:]
    assert rest[0] in known
    if rest[1] == "airflow":
        is_airflow(rest[1:])
    else:
        assert rest[1] == "psql"


def compose_services() -> dict[str, Any]:
    (block,) = blocks(ROOT / "docs/how-to/docker-compose.md", "yaml")
    found: dict[str, Any] = yaml.safe_load(block[1])["services"]
    return found


def test_what_compose_changes_are_services_of_airflow_or_whole_ones() -> None:
    whole = {name for name, service in compose_services().items() if "image" in service}
    assert set(compose_services()) - whole <= AIRFLOWS_SERVICES


@pytest.mark.parametrize("page", pages_with("dockerfile"))
def test_an_image_installs_what_there_is(page: Path) -> None:
    for _, block in blocks(page, "dockerfile"):
        first, *steps = block.splitlines()
        assert re.fullmatch(r"FROM apache/airflow:3\.\d+\.\d+", first)
        for step in steps:
            assert step.startswith("RUN pip ")
            is_extra(shlex.split(step.removeprefix("RUN ")))


OF_OTHERS = {("openlineage", "transport")}
"""Options of providers that are not in this environment; ``make test-far-side`` runs with them."""


def is_setting(words: list[str]) -> None:
    from airflow.sdk import conf

    name, _, value = words[1].partition("=")
    if name == "AIRFLOW_HOME":
        return
    if name.startswith("AIRFLOW_CONN_"):
        assert connection_of(value).conn_type in ("drchrono", "generic", *warehouse_types())
    else:
        section, _, option = name.removeprefix("AIRFLOW__").lower().partition("__")
        assert (section, option) in settings() | OF_OTHERS or conf.has_option(section, option)


def connection_of(value: str) -> Any:
    from airflow.sdk import Connection

    if value.startswith("{"):
        return Connection(conn_id="it", **json.loads(value))
    return Connection.from_uri(value, conn_id="it")


def settings() -> set[tuple[str, str]]:
    from airflow_provider_drchrono.get_provider_info import get_provider_info

    config = get_provider_info()["config"]
    return {(section, option) for section, each in config.items() for option in each["options"]}


def is_sandbox_call(words: list[str]) -> None:
    assert words[0] == "curl"
    if "https://app.drchrono.com/o/token/" in words:
        return
    address = next(word for word in words if word.startswith("localhost:8765/_sandbox/"))
    body = words[words.index("-d") + 1] if "-d" in words else "{}"
    assert isinstance(json.loads(body), dict)
    path = address.partition("/")[2].partition("?")[0]
    with Sandbox(patients=1) as sandbox:
        import urllib.request

        request = urllib.request.Request(
            f"{sandbox.url}/{address.partition('/')[2]}",
            data=body.encode() if "-d" in words else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200, path


@pytest.mark.parametrize("page", pages_with("json"))
def test_json_is_json(page: Path) -> None:
    for _, block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", pages_with("ini"))
def test_settings_are_those_that_there_are(page: Path) -> None:
    for _, block in blocks(page, "ini"):
        config = ConfigParser()
        config.read_string(block)
        assert {(section, option) for section in config.sections() for option in config[section]} <= settings()


@pytest.mark.parametrize("page", pages_with("toml"))
def test_toml_is_toml(page: Path) -> None:
    for _, block in blocks(page, "toml"):
        tomllib.loads(block)
