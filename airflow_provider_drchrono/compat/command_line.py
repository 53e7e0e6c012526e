"""What Airflow's command line offers its commands beyond its public interface."""

from __future__ import annotations

from airflow_provider_drchrono.compat.private import mended_in

with mended_in(__name__):
    from airflow.utils.cli import action_cli

__all__ = ["action_cli"]
