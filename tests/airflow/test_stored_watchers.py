"""The trigger of a watcher on its way through Airflow's database, which each version does in its own way."""

from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.encoders import encode_trigger
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize("filters", [{}, {"doctor": 7}], ids=["everything", "filtered"])
def test_it_comes_back_as_it_was(filters: dict[str, Any], airflow_db: object) -> None:
    (watcher,) = drchrono_asset(
        "patients", filters=filters, start="beginning", watch_fields=["email", "cell_phone"]
    ).watchers
    encoded = encode_trigger(watcher.trigger)
    row = Trigger(**encoded)

    # Airflow compares these at each parse, and begins a trigger anew where they differ.
    assert BaseEventTrigger.hash(row.classpath, row.kwargs) == BaseEventTrigger.hash(**encoded)
    again = DrChronoIncrementalTrigger(
        **{name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()}
    )
    assert again.serialize() == watcher.trigger.serialize()
    assert again.filters == filters
