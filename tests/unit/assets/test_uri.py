"""URIs of assets: what they say, their one spelling, and what Airflow makes of them."""

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset

from airflow_provider_drchrono.assets import drchrono_list, drchrono_table
from airflow_provider_drchrono.assets.facts import watched_list, watched_resources
from airflow_provider_drchrono.assets.uri import (
    TABLE_KEYS,
    WATCH_OPTIONS,
    DrChronoUri,
    InvalidAssetError,
    parse,
    sanitize_uri,
)

SPELLINGS = {
    "a list": ("drchrono://drchrono_default/patients", "drchrono://drchrono_default/patients"),
    "a slash at the end": ("drchrono://drchrono_default/patients/", "drchrono://drchrono_default/patients"),
    "a scheme in capitals": ("DrChrono://North/patients", "drchrono://North/patients"),
    "a fragment": ("drchrono://north/patients#top", "drchrono://north/patients"),
    "a connection with a colon": ("drchrono://north:1/patients", "drchrono://north%3A1/patients"),
    "a watch": ("drchrono://north/tasks?watch=any&status=3", "drchrono://north/tasks?status=3&watch=any"),
    "spaces": ("drchrono://north/appointments?watch=any&status=Not%20Confirmed", None),
    "a table": (
        "drchrono://north/patients?warehouse=dwh&table=clinic.patients",
        "drchrono://north/patients?table=clinic.patients&warehouse=dwh",
    ),
}


@pytest.mark.parametrize(("written", "spelt"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_uri_has_one_spelling(written: str, spelt: str | None) -> None:
    uri = Asset(written).uri

    assert uri == (spelt or "drchrono://north/appointments?status=Not+Confirmed&watch=any")
    assert str(parse(uri)) == uri
    assert sanitize_uri(urlsplit(uri)) == urlsplit(uri)
    assert Asset(uri).normalized_uri == uri


REFUSED = {
    "no connection": ("drchrono:///patients", "has to name an Airflow connection"),
    "a template": ("drchrono://{{ params.practice }}/patients", "has to name an Airflow connection"),
    "no resource": ("drchrono://north", "has to name a resource"),
    "a misspelt resource": ("drchrono://north/pateints", "did you mean 'patients'"),
    "a field": ("drchrono://north/patients/1", "DrChrono has no resource 'patients/1'"),
    "a query without a kind": ("drchrono://north/patients?doctor=1", "missing: table, warehouse"),
    "a table without a warehouse": ("drchrono://north/patients?table=patients", "missing: warehouse"),
    "a table that is watched": ("drchrono://north/patients?watch=any&table=a&warehouse=b", "does not take 'table'"),
    "a misspelt filter": ("drchrono://north/patients?watch=any&docter=1", "did you mean 'doctor'"),
    "a filter that may name a person": ("drchrono://north/patients?watch=any&email=a", "does not take 'email'"),
    "an option of other lists": ("drchrono://north/lab_orders?watch=any&verbose=true", "does not take 'verbose'"),
    "a change that does not show": ("drchrono://north/lab_orders?watch=created", "watch must be one of any"),
    "a list without changes": ("drchrono://north/doctors?watch=any", "cannot be watched"),
    "a name twice": ("drchrono://north/patients?watch=any&watch=any", "each name after ? needs one value"),
}


@pytest.mark.parametrize(("uri", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_uri_that_cannot_be_right_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(InvalidAssetError) as found:
        Asset(uri)

    assert problem in str(found.value)


def test_a_uri_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidAssetError, match="begins with drchrono://"):
        parse("postgres://north/patients")


@pytest.mark.parametrize("conn_id", ["drchrono_default", "north.east-2", r"a/b\c:d#e!(f)", "praxis_süd"])
def test_a_uri_brings_back_what_it_was_made_of(conn_id: str) -> None:
    made = DrChronoUri(conn_id, "tasks", {"watch": "any", "start": "2026-01-01T08:00:00+00:00", "name": "a b&c=d"})

    assert parse(str(made)) == made
    assert parse(Asset(str(made)).uri) == made


def test_lists_and_tables_have_functions() -> None:
    assert drchrono_list("patients").uri == "drchrono://drchrono_default/patients"
    assert drchrono_list("doctors", drchrono_conn_id="north").name == "drchrono://north/doctors"
    table = drchrono_table("patients", warehouse_conn_id="dwh", table="people", schema="clinic")
    assert table.uri == table.name == "drchrono://drchrono_default/patients?table=clinic.people&warehouse=dwh"
    assert drchrono_table("patients", warehouse_conn_id="dwh").uri.endswith("?table=patients&warehouse=dwh")
    with pytest.raises(InvalidAssetError, match="did you mean 'patients'"):
        drchrono_list("pateints")
    with pytest.raises(InvalidAssetError, match="takes no template"):
        drchrono_table("patients", warehouse_conn_id="{{ params.warehouse }}")


@pytest.mark.parametrize("resource", watched_resources())
def test_no_filter_is_called_like_an_option(resource: str) -> None:
    facts = watched_list(resource)

    assert facts is not None
    assert set(facts.filters) & {"watch", *WATCH_OPTIONS, *TABLE_KEYS} == set()


LIST_MODULES = """
import json, sys
{imports}
import {module}
print(json.dumps(sorted(sys.modules)))
"""


# What takes nothing but the standard library.
LIGHT = {"errors", "filters", "retry", "settings_table", "values"}


def modules_after(module: str, imports: str = "") -> set[str]:
    script = LIST_MODULES.format(module=module, imports=imports)
    listing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(listing.stdout))


def test_the_handler_that_every_process_loads_needs_nothing_but_the_standard_library() -> None:
    loaded = modules_after("airflow_provider_drchrono.assets.uri")

    assert {name.split(".")[0] for name in loaded} & {"airflow", "authlib", "httpx", "pydantic"} == set()
    ours = {name for name in loaded if name.startswith("airflow_provider_drchrono.")}
    assert {name.split(".")[1] for name in ours} == {"assets", "catalog", "client", "common"}
    assert {name.split(".")[2] for name in ours if name.startswith("airflow_provider_drchrono.client.")} <= LIGHT
    assert {name.split(".")[2] for name in ours if name.startswith("airflow_provider_drchrono.common.")} == {"lineage"}


def test_an_asset_is_made_without_the_client_and_the_types_of_editors() -> None:
    make = "import airflow_provider_drchrono.assets as assets; assets.drchrono_asset('patients')"
    ours = {name for name in modules_after("json", make) if name.startswith("airflow_provider_drchrono.")}

    assert "airflow_provider_drchrono.triggers.incremental" in ours
    assert {name.split(".")[1] for name in ours} & {"hooks", "operators", "sensors", "transfers"} == set()
    assert {name.split(".")[2] for name in ours if name.startswith("airflow_provider_drchrono.client.")} <= LIGHT
    assert not [name for name in ours if name.endswith((".overloads", ".options")) or ".types" in name]
