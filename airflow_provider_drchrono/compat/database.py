"""Airflow's database, for the API server and the command line. Never import it in a task or a trigger."""

from __future__ import annotations

from airflow_provider_drchrono.compat.private import mended_in

with mended_in(__name__):
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

__all__ = ["Connection", "Variable", "create_session", "select"]
