"""One DAG of all named actions, for the test that runs it against a sandbox of the same process."""

from airflow.sdk import DAG

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.examples import BEFORE, example, operations, operator_class

served: list[Sandbox] = []
"""The sandbox that the running test serves; a DAG file is imported anew and can be handed nothing else."""


def named_actions() -> list[Operation]:
    """Return the operations of the named actions, by number."""
    named = [(each.action.number, each) for each in operations() if each.action]
    return [operation for _, operation in sorted(named, key=lambda pair: pair[0])]


def build() -> DAG:
    """Return the DAG: what needs a state comes after what brings it about, and deletes come last."""
    (sandbox,) = served
    with DAG("all_actions", schedule=None, render_template_as_native_obj=True) as dag:
        tasks = {
            each.id: operator_class(each.id)(
                task_id=each.id,
                **(
                    example(sandbox, each, full=False).arguments
                    | ({"poll_interval": 0.01} if each.kind == "bulk_start" else {})
                ),
            )
            for each in named_actions()
        }
        for later, earlier in BEFORE.items():
            tasks[earlier] >> tasks[later]
        tasks["patients_onpatient_access_read"] >> tasks["patients_onpatient_access_delete"]
        last = [tasks[each.id] for each in named_actions() if each.kind == "delete"]
        for task in tasks.values():
            if task not in last:
                task >> last
    return dag
