"""A lease whose variables are in memory, as in tests of DAGs: threads of one process still have it one at a time."""

import threading
import time

from airflow_provider_drchrono.compat.variables import variables_in_memory
from airflow_provider_drchrono.state.lease import VariableLease
from airflow_provider_drchrono.state.variables import AirflowVariables


def test_one_thread_at_a_time_has_it_and_none_waits_for_long() -> None:
    began = time.monotonic()
    holders, most = 0, 0
    lock = threading.Lock()

    def take(variables: AirflowVariables) -> None:
        nonlocal holders, most
        lease = VariableLease(variables, "drchrono:lease:test", "")
        for _ in range(20):
            holding = None
            while holding is None:
                holding = lease.acquire(lambda: True)
            with lock:
                holders += 1
                most = max(most, holders)
            time.sleep(0.001)
            with lock:
                holders -= 1
            holding.give_back()

    with variables_in_memory():
        variables = AirflowVariables()
        threads = [threading.Thread(target=take, args=(variables,)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert most == 1
    assert time.monotonic() - began < 30
