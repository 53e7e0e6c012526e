"""What all sensors share: one class, which the generated sensors only fill with names."""

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.sensors.base.incremental import IncrementalSensor

__all__ = ["IncrementalSensor", "InvalidArgumentError"]
