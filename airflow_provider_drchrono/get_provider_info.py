"""Tells Airflow what this package provides.

Every Airflow process calls it at its start, so it is plain data and imports nothing but the version and the table of
settings.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_drchrono import __version__
from airflow_provider_drchrono.client.settings_table import form_fields, form_labels

INTEGRATION = "DrChrono"

GUIDES = ("call-an-operation", "sync-to-a-warehouse", "react-to-changes", "assets", "recipes", "test-a-dag")

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
                # What reads these takes paths in the repository of the provider.
                "how-to-guide": [f"/docs/how-to/{name}.md" for name in GUIDES],
                "logo": "/docs/images/logo.svg",
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
                "python-modules": [
                    *(f"airflow_provider_drchrono.operators.{domain}" for domain in OPERATOR_DOMAINS),
                    "airflow_provider_drchrono.transfers.drchrono_sync_plan",
                    "airflow_provider_drchrono.transfers.drchrono_sync_report",
                ],
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
            {
                "schemes": ["drchrono"],
                "handler": "airflow_provider_drchrono.assets.uri.sanitize_uri",
                "to_openlineage_converter": "airflow_provider_drchrono.assets.openlineage.asset_to_openlineage",
            },
        ],
        "notifications": ["airflow_provider_drchrono.notifications.task_notifier.DrChronoTaskNotifier"],
        "extra-links": ["airflow_provider_drchrono.operators.base.links.DrChronoPatientLink"],
        "transfers": [
            {
                "source-integration-name": INTEGRATION,
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_drchrono.transfers.drchrono_to_warehouse",
            },
            {
                "source-integration-name": INTEGRATION,
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_drchrono.transfers.drchrono_documents_to_object_storage",
            },
            {
                "source-integration-name": INTEGRATION,
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_drchrono.transfers.drchrono_to_object_storage",
            },
        ],
        "connection-types": [
            {
                "connection-type": "drchrono",
                "hook-class-name": "airflow_provider_drchrono.hooks.drchrono.DrChronoHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": _form_behaviour(),
                "conn-fields": form_fields(),
            }
        ],
        "config": {
            "drchrono": {
                "description": "Options of the DrChrono provider.",
                "options": {
                    "allowed_file_roots": {
                        "description": "Folders and object storage URLs, separated by commas, in which tasks may read "
                        "the files that they send and write what they return. Empty: wherever the worker may.",
                        "version_added": None,
                        "type": "string",
                        "example": "/srv/practice, s3://bucket/practice",
                        "default": "",
                    },
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
        "relabeling": form_labels(),
        "placeholders": {"host": "https://app.drchrono.com", "port": "443"},
    }
