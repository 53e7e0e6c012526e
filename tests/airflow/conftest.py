"""What makes DAGs that run in the test's own process quick."""

from functools import cache, partial

import pytest

from airflow_provider_drchrono.state import lease as variable_lease


@pytest.fixture
def quick_dags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest in ``dag.test``, and proves nothing there."""
    from airflow.sdk.execution_time import supervisor

    # It builds an API in the process for each task.
    monkeypatch.setattr(supervisor, "in_process_api_server", cache(supervisor.in_process_api_server))
    # Tasks run one after another, so a claim need not settle.
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
