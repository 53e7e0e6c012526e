"""A sensor, and a DAG that Airflow runs when the sensor has found something."""

from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_drchrono.sensors.tasks import DrChronoNewOrUpdatedTaskNotesSensor

with DAG("notes", schedule=None):
    DrChronoNewOrUpdatedTaskNotesSensor(task_id="changes", fields=["id"], deferrable=True, poke_interval=2)

with DAG("after_notes", schedule=[Asset("drchrono://drchrono_default/task_notes")]):

    @task
    def events(triggering_asset_events: Any = None) -> list[Any]:
        """Return what the events say."""
        return [event.extra for events in triggering_asset_events.values() for event in events]

    events()
