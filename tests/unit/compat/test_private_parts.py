"""A private part of Airflow that was renamed stops the import, with an error that names the file to mend."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.execution_time import comms, task_runner

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.compat.private import AirflowChangedError

FOLDER = Path(compat.__file__).parent


def imported_anew(name: str) -> ModuleType:
    """Run a module of compat as an import does, and leave the one that others use alone."""
    spec = importlib.util.spec_from_file_location(
        f"airflow_provider_drchrono.compat.{name}", FOLDER / f"{name}.py", submodule_search_locations=None
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(name: str, problem: str) -> None:
    with pytest.raises(AirflowChangedError, match=problem) as error:
        imported_anew(name)
    assert f"mend airflow_provider_drchrono/compat/{name}.py" in str(error.value)
    assert isinstance(error.value, ImportError)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))
def test_each_module_finds_what_it_needs_in_this_airflow(name: str) -> None:
    assert imported_anew(name).__doc__


def without(patch: pytest.MonkeyPatch, owner: type, name: str) -> type:
    """Take a method away from a class and all its bases, and return the base that had it first."""
    having = [each for each in owner.__mro__ if name in vars(each)]
    for each in having:
        patch.delattr(each, name)
    return having[-1]


def test_a_renamed_method_that_renders_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, BaseOperator, "_do_render_template_fields")

    refused("task_run", "BaseOperator._do_render_template_fields is missing")


def test_other_parameters_of_the_method_that_renders_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: Any, parent: Any, template_fields: Any, context: Any) -> None: ...

    owner = without(monkeypatch, BaseOperator, "_do_render_template_fields")
    monkeypatch.setattr(owner, "_do_render_template_fields", other, raising=False)

    refused("task_run", r"_do_render_template_fields takes \(parent, template_fields, context\)")


def test_a_renamed_method_that_spaces_pokes(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, BaseSensorOperator, "_get_next_poke_interval")

    refused("sensors", "BaseSensorOperator._get_next_poke_interval is missing")


def test_a_renamed_line_to_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(task_runner.__annotations__, "SUPERVISOR_COMMS")
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)

    refused("variables", "airflow.sdk.execution_time.task_runner has no SUPERVISOR_COMMS")


def test_a_renamed_message_to_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(comms, "GetVariable")

    refused("variables", "GetVariable")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("variables", "airflow.sdk.execution_time.comms"),
        ("database", "airflow.models.connection"),
        ("command_line", "airflow.utils.cli"),
    ],
)
def test_a_module_that_has_moved(monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    refused(name, module)


def test_sensors_have_the_last_word_on_their_pokes() -> None:
    from airflow_provider_drchrono.compat.sensors import ChoosesPokeInterval

    class Sensor(ChoosesPokeInterval, BaseSensorOperator):
        def next_poke_interval(self, interval: float, run_duration: Any) -> float:
            return interval + run_duration()

    sensor = Sensor(task_id="a_task", poke_interval=60.0)

    assert sensor._get_next_poke_interval(0.0, lambda: 5.0, 1) == 65.0


def test_operators_know_what_was_rendered() -> None:
    from airflow_provider_drchrono.compat.task_run import NoticesRendering

    class Operator(NoticesRendering, BaseOperator):
        template_fields = ("data",)

        def __init__(self, data: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.data = data
            self.noticed: list[Any] = []

        def after_rendering(self, given: Mapping[str, Any]) -> None:
            self.noticed.append((given, self.data))

    operator = Operator(task_id="a_task", data={"a": "{{ name }}"})
    operator.render_template_fields({"name": "Ana"})

    assert operator.noticed == [({"data": {"a": "{{ name }}"}}, {"a": "Ana"})]
