"""Tells Airflow what this package provides.

Every Airflow process calls it at its start, so it is plain data and imports nothing but the version.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_drchrono import __version__

INTEGRATION = "DrChrono"

OPERATOR_DOMAINS = (
    "appointments",
    "assets",
    "billing",
    "care",
    "clinical_notes",
    "documents",
    "inventory",
    "labs",
    "medications",
    "messaging",
    "offices",
    "patients",
    "system",
    "tasks",
    "users",
)
SENSOR_DOMAINS = (
    "appointments",
    "billing",
    "documents",
    "inventory",
    "labs",
    "messaging",
    "patients",
    "system",
    "tasks",
)


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata: the connection type with its form, and where the classes are."""
    return {
        "package-name": "airflow-provider-drchrono",
        "name": INTEGRATION,
        "description": "The DrChrono (EverHealth) practice API: patients, appointments, notes, billing.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://app.drchrono.com/api-docs/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": INTEGRATION,
                "python-modules": ["airflow_provider_drchrono.hooks.drchrono"],
            }
        ],
        "operators": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [f"airflow_provider_drchrono.operators.{domain}" for domain in OPERATOR_DOMAINS],
            }
        ],
        "sensors": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [f"airflow_provider_drchrono.sensors.{domain}" for domain in SENSOR_DOMAINS],
            }
        ],
        "triggers": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_provider_drchrono.triggers.bulk",
                    "airflow_provider_drchrono.triggers.incremental",
                ],
            }
        ],
        "asset-uris": [
            {"schemes": ["drchrono"], "handler": "airflow_provider_drchrono.assets.uri.sanitize_uri"},
        ],
        "extra-links": ["airflow_provider_drchrono.operators.base.links.DrChronoPatientLink"],
        "transfers": [
            {
                "source-integration-name": INTEGRATION,
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_drchrono.transfers.drchrono_to_warehouse",
            }
        ],
        "connection-types": [
            {
                "connection-type": "drchrono",
                "hook-class-name": "airflow_provider_drchrono.hooks.drchrono.DrChronoHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": _form_behaviour(),
                "conn-fields": _form_fields(),
            }
        ],
        "config": {
            "drchrono": {
                "description": "Options of the DrChrono provider.",
                "options": {
                    "quota_path": {
                        "description": "Folder in which the processes of a host count their calls of the API "
                        "together. Empty: drchrono/quota in AIRFLOW_HOME.",
                        "version_added": None,
                        "type": "string",
                        "example": "/var/lib/airflow/drchrono",
                        "default": "",
                    },
                    "staging_path": {
                        "description": "Folder or object storage URL in which pages wait until they are loaded. "
                        "Empty: drchrono/staging in AIRFLOW_HOME.",
                        "version_added": None,
                        "type": "string",
                        "example": "s3://aws_default@bucket/drchrono",
                        "default": "",
                    },
                },
            }
        },
        "cli": ["airflow_provider_drchrono.cli.definition.get_drchrono_cli_commands"],
    }


def _form_behaviour() -> dict[str, Any]:
    # Port stays visible: the Test button of Airflow 3.3.1 and 3.3.2 refuses saved connections without one.
    return {
        "hidden-fields": ["schema"],
        "relabeling": {"login": "Client ID", "password": "Client secret", "host": "Base URL"},
        "placeholders": {"host": "https://app.drchrono.com", "port": "443"},
    }


def _form_fields() -> dict[str, Any]:
    """Describe the fields kept in the connection's extra; each may be empty, so each takes null."""
    return {
        "refresh_token": _field(
            "Refresh token",
            "From the app's authorization. Needed once: its successors are kept in an Airflow variable.",
            format="password",
        ),
        "scope": _field(
            "Scopes",
            "Scopes the connection is meant to have, separated by spaces; the test says which are missing. "
            "Empty: all scopes of the API.",
        ),
        "timezone": _field(
            "Time zone",
            "The practice's time zone as an IANA name such as America/New_York. Empty: that of its doctors.",
        ),
        "api_version": _field("API version", "Version of the API to ask for. Empty: v4.", section="Limits and network"),
        "quota_per_hour": _field(
            "Calls per hour",
            "This connection's share of the application's hourly calls. Empty: 500, all that DrChrono grants "
            "an application. 0: no limit.",
            "integer",
            minimum=0,
            section="Limits and network",
        ),
        "quota_per_second": _field(
            "Calls per second",
            "Empty: 9, just under DrChrono's limit. 0: no limit.",
            "integer",
            minimum=0,
            section="Limits and network",
        ),
        "quota_storage": _field(
            "Count calls in",
            "Redis or Valkey in which several hosts count their calls together, such as redis://cache:6379/0. "
            "Empty: each host counts its own.",
            section="Limits and network",
        ),
        "quota_storage_password": _field(
            "Password of that storage",
            "Of Redis or Valkey, if it asks for one.",
            format="password",
            section="Limits and network",
        ),
        "connect_timeout": _field(
            "Connect timeout",
            "Seconds to wait for a connection. Empty: 10.",
            "number",
            section="Limits and network",
        ),
        "read_timeout": _field(
            "Read timeout",
            "Seconds to wait for an answer. Empty: 60.",
            "number",
            section="Limits and network",
        ),
        "verify_tls": _field(
            "Verify TLS",
            "Check the server's certificate. Leave it on: calls carry patient data.",
            "boolean",
            default=True,
            section="Limits and network",
        ),
        "ca_bundle": _field(
            "CA bundle",
            "Path, on the workers, of a PEM file with the certificate authorities to trust.",
            section="Limits and network",
        ),
    }


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}
