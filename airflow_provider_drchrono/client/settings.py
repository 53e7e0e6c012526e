"""The settings of a client, checked once so that every later failure is somebody else's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.catalog.overrides import FactsOfList, checked_facts
from airflow_provider_drchrono.client.errors import ConfigurationError
from airflow_provider_drchrono.client.settings_table import SETTINGS

DEFAULT_PORTS = {"http": 80, "https": 443}
LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*\.?")
STORAGE_SCHEMES = ("redis", "rediss", "valkey", "valkeys")

REMEDIES = {each.name: each.remedy for each in SETTINGS}


class ClientOptions(TypedDict, total=False):
    """The settings as keyword arguments, see :class:`ClientSettings`."""

    client_id: str
    client_secret: str
    refresh_token: str | None
    base_url: str
    scope: str | Sequence[str]
    api_version: str
    timezone: str | None
    quota_per_hour: int | None
    quota_per_second: int | None
    quota_storage: str | None
    quota_storage_password: str | None
    connect_timeout: float
    read_timeout: float
    request_timeout: float
    verify_tls: bool
    ca_bundle: str | None
    facts: Mapping[str, FactsOfList] | None
    max_attempts: int
    max_wait: float


class ClientSettings(BaseModel):
    """How to reach the API, as whom, and how hard to try.

    :param client_id: the id of the API application.
    :param client_secret: its secret.
    :param refresh_token: the refresh token that authorizing the application gave; not needed where the token store
        already holds a token.
    :param base_url: scheme, host and, if it is unusual, port. ``http`` is only accepted for this machine.
    :param scope: the scopes that the token is meant to have, as a list or separated by spaces.
    :param api_version: sent as ``X-DRC-API-Version``.
    :param timezone: IANA name of the practice's time zone, in which all times of the API are.
    :param quota_per_hour: how many calls may be made in a clock hour; None means no limit.
    :param quota_per_second: how many calls may be made in any second; None means no limit.
    :param quota_storage: URL of a Redis or Valkey in which all who use it count their calls together, such as
        ``redis://cache.example:6379/0``. Without it this process counts its own.
    :param quota_storage_password: its password.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds to wait for the next part of an answer, and for a part of a request to be taken.
    :param request_timeout: seconds that one request may take from its first byte to the last byte of its answer.
    :param verify_tls: whether the server has to prove who it is.
    :param ca_bundle: a PEM file of certificate authorities to trust instead of the usual ones.
    :param facts: what is known of single lists and differs from the catalogue, by resource; ``*`` stands for all. See
        :class:`~airflow_provider_drchrono.catalog.overrides.FactsOfList`.
    :param max_attempts: how often a request is sent at most.
    :param max_wait: the longest wait, in seconds, that is slept inside a call; a longer one becomes
        :class:`RateLimitedError`.
    :raises ConfigurationError: a setting is missing, unknown or cannot work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    client_id: str = Field(min_length=1)
    client_secret: SecretStr = Field(min_length=1)
    refresh_token: SecretStr | None = None
    base_url: str = "https://app.drchrono.com"
    scope: tuple[str, ...] = ()
    api_version: str = Field(default="v4", pattern=r"^[A-Za-z0-9._-]+$")
    timezone: str | None = None
    quota_per_hour: int | None = Field(default=500, ge=1)
    quota_per_second: int | None = Field(default=9, ge=1)
    quota_storage: str | None = None
    quota_storage_password: SecretStr | None = None
    connect_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    read_timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    request_timeout: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    verify_tls: bool = True
    ca_bundle: str | None = None
    facts: Mapping[str, Any] | None = None
    max_attempts: int = Field(default=5, ge=1)
    max_wait: float = Field(default=5.0, ge=0, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [_problem(each) for each in error.errors(include_input=False, include_url=False)]
        else:
            return
        # Raised out here so that the validation error, which remembers its input, is not carried along.
        raise ConfigurationError("; ".join(problems))

    @property
    def token_timeout(self) -> float:
        """Seconds that one request to the token endpoint may take; its answers are small."""
        return min(self.request_timeout, self.connect_timeout + self.read_timeout)

    @field_validator("client_id", "client_secret", "refresh_token", "quota_storage_password", mode="before")
    @classmethod
    def _strip(cls, value: Any) -> Any:
        # Pasted credentials often bring a line break along.
        return value.strip() if isinstance(value, str) else value

    @field_validator("refresh_token", "timezone", "ca_bundle", "quota_storage", "quota_storage_password", mode="after")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        secret = value.get_secret_value() if isinstance(value, SecretStr) else value
        return value if secret else None

    @field_validator("quota_per_hour", "quota_per_second", mode="before")
    @classmethod
    def _zero_is_no_limit(cls, value: Any) -> Any:
        return None if value in (0, "0") and value is not False else value

    @field_validator("base_url")
    @classmethod
    def _only_an_origin(cls, value: str) -> str:
        text = value.strip()
        parts = urlsplit(text)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
            raise ValueError("it is not a plain http or https address")
        if not text.isprintable() or not is_host(parts.hostname):
            raise ValueError("its host has characters that no host name has")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("it has a path")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("http would send the secrets unprotected; use https")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        usual = parts.port is None or parts.port == DEFAULT_PORTS[parts.scheme]
        return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{parts.port}"

    @field_validator("quota_storage")
    @classmethod
    def _redis_without_password(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        if value and (parts.scheme not in STORAGE_SCHEMES or not parts.hostname):
            raise ValueError("it is not the address of a Redis or Valkey")
        if parts.password:
            # Airflow shows this field to everybody who may see the connection.
            raise ValueError("it has a password in it")
        return value

    @field_validator("scope", mode="before")
    @classmethod
    def _scope_from_text(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("scope")
    @classmethod
    def _known_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = load().service.scopes
        for each in value:
            if each not in known:
                hint = did_you_mean(each, known)
                raise ValueError(f"DrChrono has no scope {each!r}{hint}, and one unknown scope fails them all")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        if value:
            try:
                ZoneInfo(value)
            except (LookupError, ValueError, OSError):
                raise ValueError("there is no such time zone") from None
        return value

    @field_validator("facts", mode="before")
    @classmethod
    def _facts_that_can_hold(cls, value: Any) -> Any:
        return None if value is None else checked_facts(load(), value) or None

    @field_validator("ca_bundle")
    @classmethod
    def _file_is_there(cls, value: str | None) -> str | None:
        if value and not Path(value).is_file():
            raise ValueError("there is no such file")
        return value


def is_host(host: str) -> bool:
    """Tell whether a host is a name in the letters of DNS, or an address; it may stand in a header then."""
    try:
        return HOST_NAME.fullmatch(host) is not None or ("%" not in host and bool(ipaddress.ip_address(host)))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problem(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    if error["type"] == "extra_forbidden":
        return f"There is no setting {name!r}{did_you_mean(name, ClientSettings.model_fields)}"
    wrong = "it is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
    return f"The setting {name} cannot be used: {wrong}; {REMEDIES.get(name, 'see the documentation')}"
