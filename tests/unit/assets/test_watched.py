"""``drchrono_asset``: what it makes of its arguments, and what it says to those that cannot work."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_drchrono import assets
from airflow_provider_drchrono.assets.facts import watched_list, watched_resources
from airflow_provider_drchrono.assets.uri import InvalidAssetError, parse
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.cursor import CursorName
from airflow_provider_drchrono.operators.assets.changed_records import watching_trigger
from airflow_provider_drchrono.state.cursor_store import variable_of
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger


def drchrono_asset(*arguments: Any, **options: Any) -> Asset:
    """Call it as somebody does who runs no type checker."""
    make: Any = assets.drchrono_asset
    asset: Asset = make(*arguments, **options)
    return asset


def trigger_of(asset: Asset) -> Mapping[str, Any]:
    (watcher,) = asset.watchers
    assert isinstance(watcher.trigger, DrChronoIncrementalTrigger)
    arguments = watcher.trigger.serialize()[1]
    return arguments | {"filters": json.loads(arguments["filters"])}


def test_an_asset_says_what_its_trigger_watches() -> None:
    asset = drchrono_asset(
        "tasks",
        filters={"status": 3, "due_at_since": date(2026, 1, 1)},
        change="created",
        verbose=True,
        start="2026-01-31T08:00:00",
        lookback=timedelta(minutes=5),
        poll_interval=60,
        drchrono_conn_id="north",
    )

    assert trigger_of(asset) == {
        "drchrono_conn_id": "north",
        "resource": "tasks",
        "filters": {"due_at_since": "2026-01-01", "status": 3},
        "change": "created",
        "watch_fields": None,
        "verbose": True,
        "poll_interval": 60.0,
        "lookback": 300.0,
        "watch": asset.name,
        "start": "2026-01-31T08:00:00",
    }
    assert asset.watchers[0].name == asset.name
    uri = parse(asset.uri)
    assert (uri.conn_id, uri.resource) == ("north", "tasks")
    assert uri.query == {
        "watch": "created",
        "due_at_since": "2026-01-01",
        "status": "3",
        "start": "2026-01-31T08:00:00",
        "verbose": "true",
    }


def test_defaults_leave_no_trace() -> None:
    asset = drchrono_asset("patients")

    assert asset.name == "drchrono_default/patients:any"
    assert asset.uri == "drchrono://drchrono_default/patients?watch=any"
    assert trigger_of(asset)["start"] == "now"
    # So that the facts of a connection, which are known when the list is polled, can change it.
    assert trigger_of(asset)["lookback"] is None
    assert watching_trigger(asset).selection(load()).lookback == timedelta(minutes=2)
    assert watching_trigger(drchrono_asset("prescription_messages")).selection(load()).lookback == timedelta(days=1)


EQUAL = {
    "defaults": [{}, {"filters": {}, "change": "any", "start": "now", "lookback": 120, "poll_interval": 360.0}],
    "no value": [{}, {"filters": {"doctor": None}}],
    "ids as text": [{"filters": {"doctor": 42}}, {"filters": {"doctor": "42"}}, {"filters": {"doctor": " 42 "}}],
    "switches as text": [{"filters": {"show_archived": True}}, {"filters": {"show_archived": "True"}}],
    "order": [{"filters": {"doctor": 1, "office": 2}}, {"filters": {"office": 2, "doctor": 1}}],
    "order of fields": [{"watch_fields": ["status", "office"]}, {"watch_fields": ("office", "status")}],
    "ranges": [
        {"filters": {"date_range": "2026-01-01/2026-12-31"}},
        {"filters": {"date_range": [date(2026, 1, 1), date(2026, 12, 31)]}},
    ],
    "seconds": [{"lookback": 300}, {"lookback": 300.0}, {"lookback": timedelta(minutes=5)}],
    "days": [
        {"start": "2026-01-31"},
        {"start": date(2026, 1, 31)},
        {"start": "2026-01-31T00:00:00"},
        {"start": datetime(2026, 1, 31)},
    ],
    "instants": [
        {"start": "2026-01-31T08:00:00+00:00"},
        {"start": datetime(2026, 1, 31, 3, tzinfo=timezone(timedelta(hours=-5)))},
    ],
}


@pytest.mark.parametrize("ways", EQUAL.values(), ids=EQUAL)
def test_equal_watches_are_one_asset_with_one_trigger(ways: list[dict[str, Any]]) -> None:
    made = [drchrono_asset("appointments", **way) for way in ways]

    assert len({(each.name, each.uri) for each in made}) == 1
    assert len({BaseEventTrigger.hash(*each.watchers[0].trigger.serialize()) for each in made}) == 1


def test_tuning_leaves_an_asset_what_it_is() -> None:
    made = [drchrono_asset("tasks", **way) for way in ({}, {"poll_interval": 20}, {"lookback": 60})]

    assert len({(each.name, each.uri) for each in made}) == 1
    assert [trigger_of(each)["poll_interval"] for each in made] == [360.0, 20.0, 360.0]
    # What the catalogue says is left to the facts of the connection, which are known when the list is polled.
    assert [trigger_of(each)["lookback"] for each in made] == [None, None, 60.0]


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"drchrono_conn_id": "north"},
    {"change": "created"},
    {"change": "updated"},
    {"verbose": True},
    {"filters": {"doctor": 42}},
    {"filters": {"office": 42}},
    {"filters": {"status": "42"}},
    {"filters": {"status": "a:doctor=42"}},
    {"filters": {"status": "a", "doctor": 42}},
    {"start": "beginning"},
    {"start": "2026-01-31"},
    {"start": "2026-01-31T08:00:00"},
    {"start": "2026-01-31T08:00:00+00:00"},
    {"watch_fields": ["status"]},
    {"watch_fields": ["status", "office"]},
    {"name": "visits"},
    {"name": "visits of the north"},
]


def test_different_watches_are_different_assets() -> None:
    made = [drchrono_asset("appointments", **way) for way in DIFFERENT] + [drchrono_asset("appointments_list")]
    # A sensor's outlet and a sync's table are no watched assets: Airflow would switch the watcher on and off.
    made += [assets.drchrono_list("appointments"), assets.drchrono_table("appointments", warehouse_conn_id="dwh")]

    for one, other in combinations(made, 2):
        assert one.uri != other.uri
        assert one.name != other.name


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt resource": ({"resource": "apointments"}, "did you mean 'appointments'"),
    "a list without changes": ({"resource": "doctors"}, "doctors cannot be watched"),
    "a templated resource": ({"resource": "{{ params.list }}"}, "resource of an asset must be text"),
    "a misspelt filter": ({"filters": {"docter": 1}}, "no filter 'docter' (did you mean 'doctor'"),
    "a filter of another list": ({"filters": {"gender": "Female"}}, "no filter 'gender'"),
    "a filter that may name a person": (
        {"resource": "patients", "filters": {"last_name": "Canary"}},
        "last_name may name a person, and Airflow stores and shows what an asset watches: use the sensor",
    ),
    "the filter that the watch sets": (
        {"filters": {"since": "2026-01-01"}},
        "use the argument since or start, not the filter",
    ),
    "the filter of that kind of messages": (
        {"resource": "messages", "filters": {"updated_since": "2026-01-01"}},
        "use the argument since or start, not the filter",
    ),
    "a misspelt field": ({"watch_fields": ["statuss"]}, "no field 'statuss' (did you mean 'status'"),
    "fields of what is created": (
        {"watch_fields": ["status"], "change": "created"},
        "watch_fields needs change='any' or 'updated'",
    ),
    "templated filters": ({"filters": "{{ params.filters }}"}, "filters must be a mapping"),
    "a template in a filter": ({"filters": {"doctor": "{{ params.doctor }}"}}, "filters['doctor'] must be a value"),
    "an empty filter": ({"filters": {"status": " "}}, "filters['status'] is empty"),
    "an id that is none": ({"filters": {"doctor": "Canary"}}, "filters['doctor'] must be a whole number"),
    "a switch as an id": ({"filters": {"doctor": True}}, "filters['doctor'] must be a whole number"),
    "a word as a switch": ({"filters": {"show_archived": "maybe"}}, "filters['show_archived'] must be true or false"),
    "a day that is none": ({"filters": {"date": "2026-02-30"}}, "filters['date'] must be a date"),
    "half a range": ({"filters": {"date_range": "2026-01-01"}}, "filters['date_range'] must be two dates"),
    "a range that runs backwards": ({"filters": {"date_range": "2026-02-01/2026-01-01"}}, "ends before it begins"),
    "a time with an offset": ({"filters": {"occurred_since": "2026-01-01T00:00:00Z"}}, "without one, as in"),
    "an unknown change": ({"change": "deleted"}, "change must be one of 'any', 'created', 'updated', not 'deleted'"),
    "a change that does not show": ({"resource": "lab_orders", "change": "created"}, "change must be one of 'any'"),
    "a verbose form that is not there": ({"resource": "documents", "verbose": True}, "verbose must be False"),
    "a start that is none": ({"start": "yesterday"}, "start must be 'now', 'beginning', or a date or time"),
    "a templated start": ({"start": "{{ ds }}"}, "an asset takes no template"),
    "a start in the future": ({"start": "2999-01-01"}, "start is in the future"),
    "an instant in the future": ({"start": datetime.now(UTC) + timedelta(hours=1)}, "start is in the future"),
    "a negative lookback": ({"lookback": -1}, "lookback must be a timedelta or seconds, 0 or more"),
    "a poll a second": ({"poll_interval": 1}, "poll_interval must be a timedelta or seconds, 10 or more"),
    "an interval without end": ({"poll_interval": float("inf")}, "poll_interval must be"),
    "an interval as text": ({"poll_interval": "60"}, "poll_interval must be"),
    "a templated connection": ({"drchrono_conn_id": "{{ params.practice }}"}, "drchrono_conn_id of an asset must be"),
    "a connection with a space": ({"drchrono_conn_id": "north east"}, "has to name an Airflow connection"),
    "a long name": ({"name": "x" * 181}, "name must be 180 printable characters at most"),
    "a name that ends in a space": ({"name": "visits "}, "with no space at an end"),
    "a name of two lines": ({"name": "visits\nof all"}, "printable"),
    "a long status": ({"filters": {"status": "x" * 180}}, "give the asset a short name="),
}


@pytest.mark.parametrize(("arguments", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_while_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as found:
        drchrono_asset(**{"resource": "appointments"} | arguments)

    assert "Canary" not in str(found.value)
    assert "\n" not in str(found.value)


def test_a_start_today_is_not_in_the_future_anywhere() -> None:
    east = (datetime.now(UTC) + timedelta(hours=13)).replace(tzinfo=None, microsecond=0)

    assert trigger_of(drchrono_asset("patients", start=east))["start"] == east.isoformat()


def test_a_long_watch_can_be_given_a_name() -> None:
    asset = drchrono_asset("appointments", filters={"status": "x" * 180}, name="visits")

    assert asset.name == "visits"
    assert parse(asset.uri).query["name"] == "visits"


def test_the_variable_of_the_longest_name_bears_it() -> None:
    name = drchrono_asset("patients", name="x" * 180).name

    assert variable_of(CursorName.of_asset(name)).endswith(name)


def test_a_zone_is_refused_with_what_helps_there() -> None:
    """A zone of the connection does not: the asset is defined while no connection is known."""
    with pytest.raises(InvalidAssetError, match=r"has a time zone.* wall clock: give it without one") as refused:
        drchrono_asset("tasks", filters={"due_at_since": datetime(2026, 1, 1, tzinfo=UTC)})
    assert "connection" not in str(refused.value)


@pytest.mark.parametrize("resource", watched_resources())
def test_every_list_takes_each_of_its_filters(resource: str) -> None:
    examples = {
        "boolean": False,
        "date": "2026-01-31",
        "date-range": "2026-01-01/2026-01-31",
        "date-time": "2026-01-31T08:00:00",
        "integer": 7,
        "string": "a, b & c = 100%",
    }
    facts = watched_list(resource)
    assert facts is not None
    operation = load().operation(facts.operation_id)
    parameters = [operation.parameter(name) for name in facts.filters]
    filters = {each.name: next(iter(each.enum), examples[each.format or each.type]) for each in parameters}

    made = [drchrono_asset(resource, filters=filters, change=change, name="it") for change in facts.changes]

    for change, asset in zip(facts.changes, made, strict=True):
        assert trigger_of(asset)["filters"] == filters
        assert trigger_of(asset)["change"] == parse(asset.uri).query["watch"] == change
        assert set(parse(asset.uri).query) == {"watch", "name", *filters}
