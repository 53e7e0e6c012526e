"""Reads an Airflow connection as settings of the client.

A connection comes from the form, from JSON or from a URI, and each spells absent, numeric and listed values
differently; whatever the spelling, equal connections give equal settings.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.catalog.names import nearest, offered
from airflow_provider_drchrono.client.quota import CallQuota
from airflow_provider_drchrono.client.quota.stores import (
    FileQuotaStore,
    MemoryQuotaStore,
    QuotaStorageError,
    QuotaStore,
    quota_key,
    shared_quota_store,
)
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.settings_table import OF_EXTRA, SETTINGS
from airflow_provider_drchrono.hooks.many_hosts import celery_quota_store, quota_problem

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import ClientSettings

CONNECTION_TYPE = "drchrono"
DEFAULT_HOST = next(each.default for each in SETTINGS if each.name == "base_url")
USUAL_PORT = 443

EXTRA_FIELDS = {each.name: each.kind for each in OF_EXTRA}

# Settings that people look for in the extra, and where they belong.
BELONGS_ELSEWHERE = {
    name: f"the {each.place}"
    for each in SETTINGS
    if each.place in ("login", "password", "host")
    for name in (each.name, "password" if each.place == "password" else each.name)
}


class Connection(Protocol):
    """What is read of an Airflow connection, be it the task SDK's or the database's."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None
    extra: str | None


def settings_of(connection: Connection) -> ClientSettings:
    """Return the client settings that a connection holds.

    Unknown extra fields are ignored, unless they look like a misspelt field of this provider; those are refused.

    :raises ConfigurationError: the connection cannot work; the message names it, the field and the remedy.
    """
    from airflow_provider_drchrono.client import ClientSettings, ConfigurationError

    try:
        return ClientSettings(**_values(connection))
    except ValueError as error:
        problem = str(error)
    except ConfigurationError as error:
        problem = str(error)
    # Raised out here so that no earlier exception, whose context may hold the secrets, is carried along.
    raise ConfigurationError(f"The connection {connection.conn_id} cannot be used. {problem}")


def mask_secrets_of(connection: Any) -> None:
    """Have Airflow mask a connection's password, and what in its extra has the name of a secret."""
    compat.mask_secret(connection.password)
    compat.mask_secret(connection.extra_dejson)


def _values(connection: Connection) -> dict[str, Any]:
    if connection.conn_type not in (CONNECTION_TYPE, None, ""):
        raise ValueError(f"Its type is {connection.conn_type}; make one of type {CONNECTION_TYPE}")
    missing = [
        text
        for value, text in (
            (connection.login, "login, which is the client ID"),
            (connection.password, "password, which is the client secret"),
        )
        if not (value or "").strip()
    ]
    if missing:
        raise ValueError(f"It has no {' and no '.join(missing)}; copy it from your application on DrChrono's API page")
    return {
        "client_id": connection.login,
        "client_secret": connection.password,
        "base_url": _base_url(connection),
        **_extra_values(_extra(connection)),
    }


def _base_url(connection: Connection) -> str:
    if connection.schema:
        raise ValueError("It has a path or schema; leave it empty, the host takes scheme and name only")
    text = (connection.host or "").strip() or DEFAULT_HOST
    if "://" not in text:
        text = f"https://{text}"
    scheme, _, authority = text.partition("://")
    if authority.count(":") > 1 and "[" not in authority:
        # A URI's IPv6 host arrives without its brackets.
        text = f"{scheme}://[{authority}]"
    if not connection.port:
        return text
    parts = urlsplit(text)
    # Airflow's Test button wants a port, so people enter 443 whatever the host says.
    if parts.port not in (None, connection.port) and connection.port != USUAL_PORT:
        raise ValueError("Its host names one port and its port field another; leave the port field empty")
    return text if parts.port else f"{text.rstrip('/')}:{connection.port}"


def _extra(connection: Connection) -> Mapping[str, Any]:
    try:
        extra = json.loads(connection.extra) if connection.extra else {}
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ValueError("Its extra is not a JSON object; write it as one")
    return extra


def _extra_values(extra: Mapping[str, Any]) -> dict[str, Any]:
    problems = [problem for key in extra if key not in EXTRA_FIELDS if (problem := _misspelling(key))]
    if problems:
        raise ValueError("; ".join(problems))
    # The form stores every field, the empty ones as null.
    given = {key: extra[key] for key in EXTRA_FIELDS if extra.get(key) not in (None, "")}
    return {key: _value(key, value) for key, value in given.items()}


def _value(key: str, value: Any) -> Any:
    kind = EXTRA_FIELDS[key]
    if kind == "boolean":
        return value
    if kind in ("integer", "number"):
        if isinstance(value, bool):
            raise ValueError(f"Its extra field {key} is not a number")
        return value
    if kind == "mapping":
        return _mapping(key, value)
    if kind == "words" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    # In a URI a token made of digits arrives as a number.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"Its extra field {key} is not text; in a URI, put the whole extra as JSON into __extra__")
    return value.replace(",", " ") if kind == "words" else value


def _mapping(key: str, value: Any) -> Any:
    """Return a JSON object, which a URI or the form may hold as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise ValueError(f"Its extra field {key} is not a JSON object; write it as one")
    return value


def _misspelling(key: str) -> str | None:
    """Say what is wrong with an extra field that resembles one of ours; None if it resembles none."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower())
    plain = plain.removeprefix(f"extra_{CONNECTION_TYPE}_").strip("_")
    if plain in BELONGS_ELSEWHERE:
        return f"Its extra field {key} belongs into {BELONGS_ELSEWHERE[plain]}"
    words = set(plain.split("_"))
    near = ([plain] if plain in EXTRA_FIELDS else nearest(plain, EXTRA_FIELDS, cutoff=0.75)) or [
        name for name in EXTRA_FIELDS if words < set(name.split("_"))
    ]
    return f"Its extra field {key} is unknown{offered(near)}" if near else None


log = logging.getLogger(__name__)


def quota_of(settings: ClientSettings, connection: str, *, reserve: int = 0) -> CallQuota | None:
    """Return the quota that all tasks, triggers and servers of this Airflow share.

    :param settings: the connection's; its ``quota_storage`` names a Redis that hosts share. Where it names none,
        Celery's is taken, if there is one.
    :param connection: id of the connection, under which its calls are counted.
    :param reserve: calls of each clock hour to leave to others.
    :return: the quota, or None where the connection has no limit.
    :raises ConfigurationError: the Redis library is not installed.
    """
    if settings.quota_per_hour is None and settings.quota_per_second is None:
        return None
    return CallQuota(
        quota_store_of(settings),
        connection=connection,
        per_hour=settings.quota_per_hour,
        per_second=settings.quota_per_second,
        reserve=reserve,
    )


# One for each connection of a process: the hooks of a task share a connection to Redis, and a count in memory too.
@lru_cache(maxsize=64)
def quota_store_of(settings: ClientSettings) -> QuotaStore:
    """Return where the calls of a connection's application are counted."""
    if shared := shared_quota_store(settings):
        return shared
    own = _store_of_host(settings)
    if common := celery_quota_store(settings, own):
        return common
    if problem := quota_problem(settings):
        log.warning("%s", problem)
    return own


def _store_of_host(settings: ClientSettings) -> QuotaStore:
    try:
        return FileQuotaStore(compat.quota_folder(), quota_key(settings.client_id))
    except QuotaStorageError as error:
        log.warning(
            "%s. This process counts its calls alone, and may meet a 429; set quota_path in the section [drchrono] of "
            "Airflow's configuration to a folder that its processes can write, or quota_storage on the connection",
            error,
        )
        return MemoryQuotaStore()
