from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.client import ClientSettings, ConfigurationError

GOOD = {"client_id": "the-client", "client_secret": "s3cret-value", "refresh_token": "r3fresh-value"}


def test_only_client_id_and_secret_are_needed() -> None:
    settings = ClientSettings(client_id="the-client", client_secret="s3cret-value")
    assert settings.base_url == "https://app.drchrono.com"
    assert (settings.quota_per_hour, settings.quota_per_second) == (500, 9)


def test_repr_shows_no_secret() -> None:
    assert "s3cret-value" not in repr(ClientSettings(**GOOD))
    assert "r3fresh-value" not in str(ClientSettings(**GOOD))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("https://app.drchrono.com", "https://app.drchrono.com", id="plain"),
        pytest.param("https://app.drchrono.com/", "https://app.drchrono.com", id="slash"),
        pytest.param("https://App.DrChrono.com:443", "https://app.drchrono.com", id="usual-port-and-capitals"),
        pytest.param("https://proxy.example:8443", "https://proxy.example:8443", id="unusual-port"),
        pytest.param("http://127.0.0.1:8765", "http://127.0.0.1:8765", id="loopback"),
        pytest.param("http://[::1]:8765", "http://[::1]:8765", id="loopback-six"),
        pytest.param("http://localhost:8765/", "http://localhost:8765", id="localhost"),
    ],
)
def test_base_url_is_made_an_origin(given: str, expected: str) -> None:
    assert ClientSettings(**GOOD, base_url=given).base_url == expected


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param("base_url", "app.drchrono.com", "plain http or https", id="no-scheme"),
        pytest.param("base_url", "ftp://app.drchrono.com", "plain http or https", id="other-scheme"),
        pytest.param("base_url", "https://me:pw@app.drchrono.com", "plain http or https", id="user-in-url"),
        pytest.param("base_url", "https://app.drchrono.com/api", "it has a path", id="path"),
        pytest.param("base_url", "http://app.drchrono.com", "use https", id="plain-http-elsewhere"),
        pytest.param("base_url", "http://localhost.example.com", "use https", id="looks-like-loopback"),
        pytest.param("base_url", "https://@app.drchrono.com", "plain http or https", id="empty-user"),
        pytest.param("base_url", "https://例え.jp", "no host name has", id="not-ascii"),
        pytest.param("base_url", "https://a; script-src-elem *", "no host name has", id="policy"),
        pytest.param("base_url", "https://a\tb.example", "no host name has", id="tab"),
        pytest.param("base_url", "https://a\r\nX-Evil: 1", "no host name has", id="header"),
        pytest.param("base_url", "https://a.example\\@b", "plain http or https", id="backslash"),
        pytest.param("base_url", "https://a_b.example", "no host name has", id="underscore"),
        pytest.param("base_url", "https://[::1%25lo]", "no host name has", id="zone"),
        pytest.param("base_url", "https://app.drchrono.com:99999", "base_url", id="impossible-port"),
        pytest.param("client_id", "", "client_id", id="empty-client-id"),
        pytest.param("client_secret", "  ", "client_secret", id="blank-secret"),
        pytest.param("scope", "patients:raed", "did you mean 'patients:read'?", id="misspelt-scope"),
        pytest.param("timezone", "America/Gotham", "IANA name", id="unknown-zone"),
        pytest.param("timezone", "../etc/passwd", "IANA name", id="zone-with-path"),
        pytest.param("quota_per_hour", -1, "at least 1, or None", id="negative-quota"),
        pytest.param("connect_timeout", 0, "greater than 0", id="no-timeout"),
        pytest.param("read_timeout", float("inf"), "greater than 0", id="endless-timeout"),
        pytest.param("max_attempts", 0, "at least 1", id="no-attempt"),
        pytest.param("ca_bundle", "/nowhere/ca.pem", "there is no such file", id="missing-bundle"),
        pytest.param("refesh_token", "x", "did you mean 'refresh_token'?", id="unknown-setting"),
    ],
)
def test_what_cannot_work_is_named_with_its_remedy(name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientSettings(**{**GOOD, name: value})
    message = str(caught.value)
    assert name in message
    assert says in message
    assert "\n" not in message
    assert not caught.value.__cause__
    assert not caught.value.__context__


def test_a_wrong_secret_setting_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientSettings(client_id="the-client", client_secret=["s3cret-value"], refresh_token={"r": "r3fresh-value"})
    assert "s3cret-value" not in repr(caught.value)
    assert "r3fresh-value" not in repr(caught.value)
    assert "client_secret" in str(caught.value)


def test_missing_settings_are_all_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"client_id.*client_secret"):
        ClientSettings()


@pytest.mark.parametrize("value", [0, "0", None], ids=["zero", "zero-as-text", "none"])
def test_no_limit(value: Any) -> None:
    assert ClientSettings(**GOOD, quota_per_hour=value).quota_per_hour is None


def test_credentials_lose_pasted_whitespace_and_empty_ones_are_absent() -> None:
    settings = ClientSettings(
        client_id=" id\n", client_secret="secret\n", refresh_token="  ", timezone="", ca_bundle=""
    )
    assert settings.client_id == "id"
    assert settings.client_secret.get_secret_value() == "secret"
    assert settings.refresh_token is None
    assert settings.timezone is None
    assert settings.ca_bundle is None


def test_scope_is_text_or_list() -> None:
    as_text = ClientSettings(**GOOD, scope="patients:read  calendar:read").scope
    assert as_text == ClientSettings(**GOOD, scope=["patients:read", "calendar:read"]).scope


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        ClientSettings(**GOOD).base_url = "https://elsewhere.example"


def test_a_bundle_that_is_there_is_taken(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("anything")
    assert ClientSettings(**GOOD, ca_bundle=str(bundle)).ca_bundle == str(bundle)
