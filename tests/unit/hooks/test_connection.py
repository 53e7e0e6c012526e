import json
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_drchrono.client import ClientSettings, ConfigurationError
from airflow_provider_drchrono.hooks.connection import EXTRA_FIELDS, settings_of


@dataclass
class Connection:
    """The fields of an Airflow connection."""

    conn_id: str = "practice"
    conn_type: str | None = "drchrono"
    host: str | None = None
    schema: str | None = None
    login: str | None = "canary-id"
    password: str | None = "canary-secret"
    port: int | None = None
    extra: str | None = None


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> ClientSettings:
    return settings_of(Connection(extra=json.dumps(extra) if extra is not None else None, **fields))


@pytest.mark.parametrize(
    ("host", "port", "base_url"),
    [
        pytest.param(None, None, "https://app.drchrono.com", id="nothing"),
        pytest.param("", 443, "https://app.drchrono.com", id="port-alone"),
        pytest.param("app.drchrono.com", None, "https://app.drchrono.com", id="name"),
        pytest.param("https://app.drchrono.com", None, "https://app.drchrono.com", id="address"),
        pytest.param("https://app.drchrono.com/", 443, "https://app.drchrono.com", id="slash"),
        pytest.param("https://app.drchrono.com:443", None, "https://app.drchrono.com", id="usual-port"),
        pytest.param("https://app.drchrono.com:443", 443, "https://app.drchrono.com", id="port-twice"),
        pytest.param("http://127.0.0.1:8765", 443, "http://127.0.0.1:8765", id="port-of-the-test-button"),
        pytest.param("http://127.0.0.1:8765", 8765, "http://127.0.0.1:8765", id="own-port-twice"),
        pytest.param("proxy.example", 8443, "https://proxy.example:8443", id="other-port"),
        pytest.param("http://localhost", 8765, "http://localhost:8765", id="this-machine"),
        pytest.param("http://127.0.0.1:8765/", None, "http://127.0.0.1:8765", id="loopback"),
        pytest.param("http://::1", 8765, "http://[::1]:8765", id="ipv6-from-a-uri"),
        pytest.param("http://[::1]:8765", None, "http://[::1]:8765", id="ipv6"),
        pytest.param("http://localhost", 80, "http://localhost", id="usual-http-port"),
    ],
)
def test_host_and_port_make_the_base_url(host: str | None, port: int | None, base_url: str) -> None:
    assert settings(host=host, port=port).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "extra", "complaint"),
    [
        pytest.param({"login": None}, {}, "no login, which is the client ID; copy it", id="no-login"),
        pytest.param({"password": " "}, {}, "no password, which is the client secret; copy it", id="no-secret"),
        pytest.param({"conn_type": "postgres"}, {}, "type is postgres; make one of type drchrono", id="type"),
        pytest.param({"schema": "api"}, {}, "path or schema; leave it empty", id="schema"),
        pytest.param({"host": "https://app.drchrono.com/api"}, {}, "has a path; give scheme and host", id="path"),
        pytest.param({"host": "http://app.drchrono.com"}, {}, "unprotected; use https", id="plain-http"),
        pytest.param({"host": "ftp://app.drchrono.com"}, {}, "not a plain http or https address", id="scheme"),
        pytest.param({"host": "https://例え.jp"}, {}, "no host name has", id="not-ascii"),
        pytest.param({"host": "https://a; script-src-elem *"}, {}, "no host name has", id="policy"),
        pytest.param({"host": "a:1", "port": 2}, {}, "one port and its port field another", id="two-ports"),
        pytest.param({"host": "app.drchrono.com:x"}, {}, "[Pp]ort", id="port-is-a-word"),
        pytest.param({}, {"refreshToken": "canary"}, "unknown .did you mean 'refresh_token'", id="camel"),
        pytest.param({}, {"extra__drchrono__scope": "x"}, "did you mean 'scope'", id="prefixed"),
        pytest.param({}, {"time_zone": "UTC"}, "did you mean 'timezone'", id="near"),
        pytest.param({}, {"scopes": "x"}, "did you mean 'scope'", id="plural"),
        pytest.param({}, {"timeout": 5}, "did you mean 'connect_timeout' or 'read_timeout'", id="ambiguous"),
        pytest.param({}, {"token": "canary"}, "did you mean 'refresh_token'", id="part"),
        pytest.param({}, {"client_secret": "canary"}, "client_secret belongs into the password", id="elsewhere"),
        pytest.param({}, {"base-url": "x"}, "base-url belongs into the host", id="elsewhere-dashed"),
        pytest.param({}, {"refresh_token": 1.5e20}, "refresh_token is not text; in a URI, put", id="lossy-token"),
        pytest.param({}, {"refresh_token": True}, "refresh_token is not text", id="token-is-true"),
        pytest.param({}, {"scope": ["patients:read", 3]}, "scope is not text", id="scope-list"),
        pytest.param({}, {"scope": "patients:raed"}, "did you mean 'patients:read'", id="unknown-scope"),
        pytest.param({}, {"quota_per_hour": True}, "quota_per_hour is not a number", id="quota-is-true"),
        pytest.param({}, {"quota_per_hour": -1}, "quota_per_hour cannot be used", id="quota-negative"),
        pytest.param({}, {"quota_storage": "cache:6379"}, "not the address of a Redis", id="storage"),
        pytest.param(
            {}, {"quota_storage": "redis://:canary@cache"}, "in quota_storage_password", id="storage-with-password"
        ),
        pytest.param({}, {"password": "canary"}, "password belongs into the password", id="password"),
        pytest.param({}, {"read_timeout": "soon"}, "read_timeout cannot be used", id="timeout-is-a-word"),
        pytest.param({}, {"timezone": "Boston"}, "no such time zone; give an IANA name", id="time-zone"),
        pytest.param({}, {"ca_bundle": "/nowhere"}, "no such file", id="ca-bundle"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_without_the_secrets(
    fields: dict[str, Any], extra: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        settings(extra, **fields)

    message = str(caught.value)
    assert message.startswith("The connection practice cannot be used. ")
    assert "\n" not in message
    assert "canary" not in message
    assert caught.value.__context__ is None


@pytest.mark.parametrize("extra", ["canary-secret", "[1]", "{'a': 1}"], ids=["text", "list", "python"])
def test_an_extra_that_is_no_object_is_refused(extra: str) -> None:
    with pytest.raises(ConfigurationError, match="extra is not a JSON object; write it as one") as caught:
        settings_of(Connection(extra=extra))

    assert "canary" not in str(caught.value)


def test_fields_of_other_peoples_making_are_left_alone() -> None:
    assert settings({"team": "billing", "owner_of_record": "ops", "x-note": 1}) == settings()


@pytest.mark.parametrize("empty", [None, ""], ids=["null", "empty-text"])
def test_empty_fields_count_as_absent(empty: str | None) -> None:
    assert settings(dict.fromkeys(EXTRA_FIELDS, empty)) == settings()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param({"quota_per_hour": 0, "quota_per_second": 0}, (None, None), id="zero-is-no-limit"),
        pytest.param({"quota_per_hour": "0", "quota_per_second": "3"}, (None, 3), id="text"),
        pytest.param({}, (500, 9), id="absent-is-the-vendors"),
        pytest.param({"quota_per_hour": None}, (500, 9), id="null-is-the-vendors"),
    ],
)
def test_quotas(given: dict[str, Any], meant: tuple[int | None, int | None]) -> None:
    result = settings(given)

    assert (result.quota_per_hour, result.quota_per_second) == meant


@pytest.mark.parametrize(
    "scope",
    ["patients:read clinical:read", "patients:read, clinical:read", ["patients:read", "clinical:read"]],
    ids=["spaces", "commas", "list"],
)
def test_scopes_come_as_text_or_list(scope: Any) -> None:
    assert settings({"scope": scope}).scope == ("patients:read", "clinical:read")


def test_a_token_of_digits_stays_text() -> None:
    token = settings({"refresh_token": 1234567890123456789012}).refresh_token

    assert token
    assert token.get_secret_value() == "1234567890123456789012"
