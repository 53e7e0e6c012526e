"""What a DAG file with all named actions costs to parse, beside as many plain operators, and what an import costs.

Each measurement has a process of its own, as in Airflow's DAG processor, and the two DAG files take turns. The plain
operators are subclasses of BaseOperator with a constructor of six arguments, in one module. Run it alone on the
machine: ``make bench ARGS=operators``.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.codegen.examples import example
from airflow_provider_drchrono.codegen.plan import plan

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 7
LARGEST_RATIO = 3.0
LONGEST_IMPORT = 30.0
"""Milliseconds."""

# Airflow's DAG processor freezes what it has loaded before it forks the process that parses a file. Without that, a
# garbage collection over all of Airflow (about 100 ms) falls into one of the two parses, by chance.
PARSE = """
import gc, json, sys, time
from airflow.dag_processing.dagbag import BundleDagBag
folder, file = sys.argv[1:]
sys.path.insert(0, folder)
gc.freeze()
started = time.perf_counter()
bag = BundleDagBag(dag_folder=file, bundle_path=folder, bundle_name="dags-folder")
seconds = time.perf_counter() - started
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
print(json.dumps([seconds, len(dag.tasks)]))
"""

IMPORT = """
import json, sys, time
import airflow.sdk
from airflow.sdk import BaseOperator
started = time.perf_counter()
__import__(sys.argv[1])
print(json.dumps([time.perf_counter() - started, 1]))
"""

PLAIN_OPERATOR = """
class PlainOperator{number}(BaseOperator):
    template_fields = ("record_id", "data", "filters")

    def __init__(self, *, record_id=None, data=None, filters=None, fields=None, verbose=False, conn_id="", **kwargs):
        super().__init__(**kwargs)
        self.record_id = record_id
        self.data = data
        self.filters = filters
        self.fields = fields
        self.verbose = verbose
        self.conn_id = conn_id
"""


def write_dags(folder: Path) -> int:
    """Write the two DAG files and the module of plain operators; return how many tasks each has."""
    facts = catalog.load()
    actions = [each for each in plan(facts).operators if each.operation.action]
    imports = [f"from {each.dotted_path.rsplit('.', 1)[0]} import {each.class_name}" for each in actions]
    tasks = [example(facts, each).replace("\n", "\n    ") for each in actions]
    numbers = range(len(actions))
    (folder / "plain_operators.py").write_text(
        "from airflow.sdk import BaseOperator\n" + "".join(PLAIN_OPERATOR.format(number=each) for each in numbers)
    )
    _write_dag(folder / "actions.py", imports, tasks)
    _write_dag(
        folder / "plain.py",
        [f"from plain_operators import PlainOperator{each}" for each in numbers],
        [f'PlainOperator{each}(task_id="plain_{each}", record_id=42, data={{"doctor": 42}})' for each in numbers],
    )
    return len(actions)


def _write_dag(file: Path, imports: list[str], tasks: list[str]) -> None:
    body = "\n    ".join(tasks)
    file.write_text("\n".join(["from airflow.sdk import DAG", *imports, "", f'with DAG("{file.stem}"):\n    {body}\n']))


def measure(script: str, *arguments: str, expected: int, environment: dict[str, str]) -> float:
    """Return the milliseconds that a script prints, after looking that it did all of the work."""
    finished = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(finished.stderr)
    seconds, done = json.loads(finished.stdout.splitlines()[-1])
    if done != expected:
        raise RuntimeError(f"{done} tasks instead of {expected}")
    return float(seconds) * 1000


def main() -> int:
    """Print the medians and return 1 if one misses its bound."""
    with tempfile.TemporaryDirectory(prefix="drchrono-bench-") as name:
        folder = Path(name)
        count = write_dags(folder)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def parse(file: str) -> Callable[[], float]:
            path = str(folder / file)
            return lambda: measure(PARSE, name, path, expected=count, environment=environment)

        domain = "airflow_provider_drchrono.operators.patients"
        sides = {
            "actions": parse("actions.py"),
            "plain": parse("plain.py"),
            "import": lambda: measure(IMPORT, domain, expected=1, environment=environment),
        }
        for side in sides.values():  # Python compiles the modules once, as an installation does.
            side()
        taken: dict[str, list[float]] = {key: [] for key in sides}
        for _ in range(ROUNDS):
            for key, side in sides.items():
                taken[key].append(side())
    medians = {key: statistics.median(values) for key, values in taken.items()}
    ratio = medians["actions"] / medians["plain"]
    print(f"DAG with {count} actions        {medians['actions']:8.1f} ms   {_spread(taken['actions'])}")
    print(f"DAG with {count} plain operators{medians['plain']:8.1f} ms   {_spread(taken['plain'])}")
    print(f"ratio                         {ratio:8.2f}      under {LARGEST_RATIO}")
    print(f"import of {domain.rsplit('.', 1)[1]:<20}{medians['import']:8.1f} ms   {_spread(taken['import'])}", end="")
    print(f"   under {LONGEST_IMPORT:.0f} ms over Airflow's own")
    return int(ratio >= LARGEST_RATIO or medians["import"] >= LONGEST_IMPORT)


def _spread(values: list[float]) -> str:
    return f"({min(values):.1f} to {max(values):.1f}, {len(values)} rounds)"


if __name__ == "__main__":
    sys.exit(main())
