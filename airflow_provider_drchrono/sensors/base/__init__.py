"""What all sensors share: one class, which the generated sensors only fill with names."""

from airflow_provider_drchrono.hooks.arguments import InvalidArgumentError
from airflow_provider_drchrono.sensors.base.changes import ChangesSensor

__all__ = ["ChangesSensor", "InvalidArgumentError"]
