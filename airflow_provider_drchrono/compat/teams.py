"""Airflow's teams: whose a connection or a variable is, where ``[core] multi_team`` is on."""

from __future__ import annotations

from airflow.sdk.configuration import conf


def team_of_connection(conn_id: str) -> str | None:
    """Return the team of a connection in Airflow's database; None where it has none or there are no teams."""
    if not has_teams():
        return None
    from airflow_provider_drchrono.compat.database import Connection

    team: str | None = Connection.get_team_name(conn_id)
    return team


def team_of_variable(key: str, team: str | None) -> str | None:
    """Return the team that a variable is to be written for.

    :param team: the team of a new variable. One that is there keeps its team: Airflow 3.2 would hand it to the one that
        it is written for.
    """
    if not has_teams():
        return None
    from airflow_provider_drchrono.compat.database import Variable, create_session, select

    with create_session() as session:
        found = session.execute(select(Variable.team_name).where(Variable.key == key)).first()
    return team if found is None else found.team_name


def has_teams() -> bool:
    """Return whether this Airflow tells teams apart."""
    return bool(conf.getboolean("core", "multi_team", fallback=False))
