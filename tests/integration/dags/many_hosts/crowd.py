"""Tasks that call at the same time, many of them and one."""

from airflow.sdk import DAG, task


def calls(times: int) -> int:
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

    with DrChronoHook() as drchrono:
        for _ in range(times):
            list(drchrono.list("offices"))
        return drchrono.calls


# Without retries, a single failure fails the run.
with DAG("crowd", schedule=None, max_active_tasks=60):
    task(calls, task_id="call").partial(times=3).expand_kwargs([{} for _ in range(60)])

with DAG("single", schedule=None):
    task(calls, task_id="call")(1)
