"""The settings of a connection, each written once: form, reader of connections, remedies and docs come from here.

Standard library only, as every process of Airflow reads it when it starts. The classes that type checkers see,
``ClientOptions`` and ``ClientSettings``, are written by hand beside it; a test holds them equal to this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SettingKind = Literal["text", "words", "integer", "number", "boolean", "mapping"]
Place = Literal["login", "password", "host", "extra", "none"]

NETWORK = "Limits and network"
FACTS = "Facts about the API"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    :param kind: ``words`` is text or a list of text; ``mapping`` is a JSON object, or one as text.
    :param place: the part of an Airflow connection that holds it; ``none``: it is no part of one.
    :param label: the name of the field in the form.
    :param description: what the form and the documentation say of it.
    :param remedy: what to do if it cannot be used.
    :param default: what counts if it is left out.
    :param section: the part of the form that it stands in.
    :param secret: whether the form hides it.
    :param required: whether there is no connection without it.
    """

    name: str
    kind: SettingKind
    place: Place
    label: str
    description: str
    remedy: str
    default: Any = None
    section: str | None = None
    secret: bool = False
    required: bool = False


SETTINGS = (
    Setting(
        "client_id",
        "text",
        "login",
        "Client ID",
        "Of the API application.",
        "copy the client ID of your application from DrChrono's API management page",
        required=True,
    ),
    Setting(
        "client_secret",
        "text",
        "password",
        "Client secret",
        "Of the API application.",
        "copy the client secret of your application from DrChrono's API management page",
        secret=True,
        required=True,
    ),
    Setting(
        "base_url",
        "text",
        "host",
        "Base URL",
        "Scheme and name only; http is accepted for this machine alone. Empty: https://app.drchrono.com.",
        "give scheme and host only, such as https://app.drchrono.com",
        default="https://app.drchrono.com",
    ),
    Setting(
        "refresh_token",
        "text",
        "extra",
        "Refresh token",
        "From the app's authorization. Needed once: its successors are kept in an Airflow variable.",
        "give the refresh token as text, or leave it out",
        secret=True,
    ),
    Setting(
        "scope",
        "words",
        "extra",
        "Scopes",
        "Scopes the connection is meant to have, separated by spaces; the test says which are missing. "
        "Empty: all scopes of the API.",
        "give names of OAuth scopes such as patients:read",
        default=(),
    ),
    Setting(
        "timezone",
        "text",
        "extra",
        "Time zone",
        "The practice's time zone as an IANA name such as America/New_York. Empty: that of its doctors.",
        "give an IANA name such as America/New_York",
    ),
    Setting(
        "api_version",
        "text",
        "extra",
        "API version",
        "Version of the API to ask for. Empty: v4.",
        "give a version such as v4",
        default="v4",
        section=NETWORK,
    ),
    Setting(
        "quota_per_hour",
        "integer",
        "extra",
        "Calls per hour",
        "This connection's share of the application's hourly calls. Empty: 500, all that DrChrono grants an "
        "application. 0: no limit.",
        "give a number of calls of at least 1, or None for no limit",
        default=500,
        section=NETWORK,
    ),
    Setting(
        "quota_per_second",
        "integer",
        "extra",
        "Calls per second",
        "Empty: 9, just under DrChrono's limit. 0: no limit.",
        "give a number of calls of at least 1, or None for no limit",
        default=9,
        section=NETWORK,
    ),
    Setting(
        "quota_storage",
        "text",
        "extra",
        "Count calls in",
        "Redis or Valkey in which several hosts count their calls together, such as redis://cache:6379/0. "
        "Empty: each host counts its own.",
        "give a URL such as redis://cache.example:6379/0, and its password in quota_storage_password",
        section=NETWORK,
    ),
    Setting(
        "quota_storage_password",
        "text",
        "extra",
        "Password of that storage",
        "Of Redis or Valkey, if it asks for one.",
        "give the password of the quota's storage as text, or leave it out",
        section=NETWORK,
        secret=True,
    ),
    Setting(
        "connect_timeout",
        "number",
        "extra",
        "Connect timeout",
        "Seconds to wait for a connection. Empty: 10.",
        "give seconds greater than 0",
        default=10.0,
        section=NETWORK,
    ),
    Setting(
        "read_timeout",
        "number",
        "extra",
        "Read timeout",
        "Seconds to wait for the next part of an answer. Empty: 60.",
        "give seconds greater than 0",
        default=60.0,
        section=NETWORK,
    ),
    Setting(
        "request_timeout",
        "number",
        "extra",
        "Request timeout",
        "Seconds that one request may take as a whole, however slowly its answer comes. Empty: 300.",
        "give seconds greater than 0",
        default=300.0,
        section=NETWORK,
    ),
    Setting(
        "verify_tls",
        "boolean",
        "extra",
        "Verify TLS",
        "Check the server's certificate. Leave it on: calls carry patient data.",
        "give true or false",
        default=True,
        section=NETWORK,
    ),
    Setting(
        "ca_bundle",
        "text",
        "extra",
        "CA bundle",
        "Path, on the workers, of a PEM file with the certificate authorities to trust.",
        "give the path of a PEM file that this machine can read",
        section=NETWORK,
    ),
    Setting(
        "facts",
        "mapping",
        "extra",
        "Facts",
        "What is known of the API and differs from the provider's catalogue, as JSON, such as "
        '{"lab_orders": {"page_size": 100}}. Empty: nothing.',
        "give a JSON object of resources, as airflow drchrono conformance prints it",
        section=FACTS,
    ),
    Setting(
        "max_attempts",
        "integer",
        "none",
        "Attempts",
        "How often a request is sent at most.",
        "give a number of at least 1",
        default=5,
    ),
    Setting(
        "max_wait",
        "number",
        "none",
        "Longest wait",
        "Seconds that are slept inside a call at most.",
        "give seconds, 0 or more",
        default=5.0,
    ),
)

OF_EXTRA = tuple(each for each in SETTINGS if each.place == "extra")

JSON_TYPES = {
    "text": "string",
    "words": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "mapping": "object",
}


def form_fields() -> dict[str, Any]:
    """Return the fields that the form of a connection keeps in its extra; each may be empty, so each takes null."""
    return {
        each.name: {"label": each.label, "description": each.description, "schema": _schema(each)} for each in OF_EXTRA
    }


def form_labels() -> dict[str, str]:
    """Return the labels of the fields that each Airflow connection has."""
    return {each.place: each.label for each in SETTINGS if each.place not in ("extra", "none")}


def _schema(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [JSON_TYPES[setting.kind], "null"]}
    if setting.secret:
        schema["format"] = "password"
    if setting.kind == "integer":
        schema["minimum"] = 0
    if setting.kind == "boolean":
        schema["default"] = setting.default
    if setting.section:
        schema["section"] = setting.section
    return schema


def markdown_rows() -> list[str]:
    """Return the rows of the table of fields in ``docs/connection.md``."""
    return [
        f"| {each.label} | {f'`{each.name}`' if each.place == 'extra' else each.place} | "
        f"{'required' if each.required else 'optional'} | {each.description} |"
        for each in SETTINGS
        if each.place != "none"
    ]
