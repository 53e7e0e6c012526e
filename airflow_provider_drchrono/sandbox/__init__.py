"""A stand-in for the DrChrono API on this machine, for demos and tests: every operation, no real person, no network.

Nothing in the provider uses it at run time; ``python -m airflow_provider_drchrono.sandbox`` starts it by hand.
"""

from airflow_provider_drchrono.sandbox.faults import Fault
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.server import Sandbox

__all__ = ["Fault", "Options", "Sandbox"]
