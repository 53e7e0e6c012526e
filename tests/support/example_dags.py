"""The example DAGs as their readers copy them, but for the pause before a retry."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "example_dags"


def example_dag(name: str) -> str:
    """Return the source of an example DAG whose tasks are retried at once."""
    source, pause = (FOLDER / f"{name}.py").read_text(), "timedelta(minutes=1)"
    assert source.count(pause) == 1
    return source.replace(pause, "timedelta(0)")
