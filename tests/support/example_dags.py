"""The example DAGs as their readers copy them, but for the pause before a retry."""

from pathlib import Path

from airflow_provider_drchrono.sandbox import Sandbox

SURNAME = "Canary-Zq7-Surname"
"""Of the patients that are registered; it may be in no log."""

FOLDER = Path(__file__).resolve().parents[2] / "example_dags"


def example_dag(name: str) -> str:
    """Return the source of an example DAG whose tasks are retried at once."""
    source, pause = (FOLDER / f"{name}.py").read_text(), "timedelta(minutes=1)"
    assert source.count(pause) == 1
    return source.replace(pause, "timedelta(0)")


def register(sandbox: Sandbox, count: int, **fields: str) -> list[int]:
    """Add so many patients to the practice, and return their ids.

    :param fields: what is the same in all of them, in place of the surname.
    """
    doctor = sandbox.practice.records("doctors")[0]["id"]
    names = ({"first_name": f"Ada{number}", "last_name": SURNAME, **fields} for number in range(count))
    return [sandbox.practice.create("patients", {"doctor": doctor, "gender": "Other", **each})["id"] for each in names]
