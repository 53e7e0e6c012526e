"""Prints which files and functions of the package four routes run through: a create, a poke, a sync, a token refresh.

Files are printed in the order in which the call reaches them. After them come the files that ``docs/contributing.md``
names and the call did not reach: the sandbox needs no token store of Airflow, and a call that succeeds no retry. Any
other is a mistake of the page.

Each route is run in a process of its own on the sandbox, once to load what it needs and once more to be traced.
``routes.py poke`` traces one, ``--names`` lists the functions.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PACKAGE = ROOT / "airflow_provider_drchrono"
IS_FUNCTION = 0x0001
"""Of ``co_flags``: modules and bodies of classes run, too, but have no locals of their own kind."""


@contextlib.contextmanager
def traced() -> Iterator[dict[str, set[str]]]:
    """Collect the functions that this thread calls, by file of the package; the sandbox answers in another thread."""
    found: dict[str, set[str]] = defaultdict(set)

    def note(frame: FrameType, event: str, argument: object) -> None:
        code: CodeType = frame.f_code
        path = Path(code.co_filename)
        if event == "call" and code.co_flags & IS_FUNCTION and path.is_relative_to(PACKAGE):
            found[path.relative_to(PACKAGE).as_posix()].add(code.co_qualname)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def context(run_id: str) -> dict[str, Any]:
    from tests.support.running import MemoryStore

    ti = SimpleNamespace(dag_id="a_dag", task_id="a_task", run_id=run_id, map_index=-1, try_number=1)
    return {"ti": ti, "task_state_store": MemoryStore()}


def create(sandbox: Any, folder: Path) -> Callable[[str], object]:
    from airflow_provider_drchrono.operators.patients import DrChronoCreatePatientOperator
    from tests.support.running import execute

    doctor = sandbox.practice.records("doctors")[0]["id"]

    def run(name: str) -> object:
        data = {"doctor": doctor, "gender": "Other", "first_name": name, "last_name": "Doe"}
        return execute(DrChronoCreatePatientOperator(task_id="a_task", data=data), context(name))

    return run


def poke(sandbox: Any, folder: Path) -> Callable[[str], object]:
    from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor

    def run(name: str) -> object:
        return DrChronoNewOrUpdatedPatientsSensor(task_id="a_task", start="beginning").poke(context(name))  # type: ignore[arg-type]

    return run


def sync(sandbox: Any, folder: Path) -> Callable[[str], object]:
    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
    from tests.support.running import execute

    connection = {"conn_type": "sqlite", "host": str(folder / "warehouse.db")}
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(connection)
    os.environ["AIRFLOW__DRCHRONO__STAGING_PATH"] = str(folder / "staging")

    def run(name: str) -> object:
        operator = DrChronoToWarehouseOperator(task_id="a_task", resource="patients", warehouse_conn_id="warehouse")
        return execute(operator, context(name))

    return run


def refresh(sandbox: Any, folder: Path) -> Callable[[str], object]:
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.sandbox import Fault

    def run(name: str) -> object:
        sandbox.faults.add(Fault(kind="expire_token"))
        hook = DrChronoHook()
        try:
            return hook.get_conn().read("users", "current")
        finally:
            hook.close()

    return run


ROUTES = {"create": create, "poke": poke, "sync": sync, "refresh": refresh}


def trace(route: str) -> dict[str, set[str]]:
    """Run a route twice, the second time under the profiler, and return what it ran through."""
    import pytest

    from tests.support.running import connected_sandbox

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        os.environ["AIRFLOW_HOME"] = folder
        from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore

        cursors = MemoryCursorStore()
        patch.setattr("airflow_provider_drchrono.state.cursor_store.VariableCursorStore", lambda: cursors)
        with connected_sandbox(patch, patients=5, appointments_per_patient=1) as sandbox:
            run = ROUTES[route](sandbox, Path(folder))
            run("first")
            patient = sandbox.practice.records("patients")[0]["id"]
            sandbox.practice.change("patients", patient, {"city": "Springfield"})
            with traced() as found:
                run("second")
    return found


def main() -> int:
    """Print the routes that are named on the command line, or all four."""
    names = "--names" in sys.argv
    routes = [each for each in sys.argv[1:] if each != "--names"]
    if len(routes) != 1:
        for route in routes or ROUTES:
            subprocess.run([sys.executable, __file__, route, *(["--names"] if names else [])], check=True)
        return 0
    from tests.support.pages import route_files

    found = trace(routes[0])
    print(f"{routes[0]}: {len(found)} files, {sum(map(len, found.values()))} functions")
    for path, functions in found.items():
        print(f"  {path}: {len(functions)}{' ' + ', '.join(sorted(functions)) if names else ''}")
    for path in route_files()[routes[0]]:
        if path.removeprefix(f"{PACKAGE.name}/") not in found:
            print(f"  not reached: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
