from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_drchrono.common.masking import MaskedValue, MasksTemplateFields, unmask
from tests.support.running import execute


class Sending(MasksTemplateFields, BaseOperator):
    template_fields = ("data", "extra_fields", "filters", "note")

    def __init__(
        self, *, data: Any = None, extra_fields: Any = None, filters: Any = None, note: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data = data
        self.extra_fields = extra_fields
        self.filters = filters
        self.note = note


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param('{"first_name": "Canary"}', "***", id="text"),
        pytest.param({"first_name": "Canary", "doctor": 7}, {"first_name": "***", "doctor": "***"}, id="record"),
        pytest.param([{"id": 1}, {"id": 2}], [{"id": "***"}, {"id": "***"}], id="list"),
        pytest.param({"insurance": {"photo": b"Canary"}}, {"insurance": {"photo": "***"}}, id="nested"),
    ],
)
def test_only_the_shape_is_shown(value: Any, shape: Any) -> None:
    assert MaskedValue(value).serialize() == shape
    assert "Canary" not in repr(MaskedValue(value))
    assert unmask(MaskedValue(value)) == unmask(value) == value


def test_what_is_rendered_is_masked_and_what_is_not_sent_is_left() -> None:
    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task", data={"first_name": "{{ name }}"}, note="{{ name }}")

    task.render_template_fields({"name": "Canary"})

    assert isinstance(task.data, MaskedValue)
    assert unmask(task.data) == {"first_name": "Canary"}
    assert (task.filters, task.note) == (None, "Canary")


@pytest.mark.parametrize("field", ["data", "extra_fields", "filters"])
def test_whatever_is_sent_of_patients_is_masked(field: str) -> None:
    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task", **{field: {"last_name": "{{ name }}", "nested": [{"nick": "{{ name }}"}]}})

    task.render_template_fields({"name": "Canary"})

    shown = getattr(task, field)
    assert "Canary" not in repr(shown)
    assert unmask(shown) == {"last_name": "Canary", "nested": [{"nick": "Canary"}]}
    assert shown.serialize() == {"last_name": "***", "nested": [{"nick": "***"}]}


def test_what_has_templates_of_its_own_inside_a_field_is_left_to_its_owner() -> None:
    class Letter:
        template_fields = ("data",)

        def __init__(self) -> None:
            self.data = "{{ name }}"

    letter = Letter()
    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task", note=letter)

    task.render_template_fields({"name": "Canary"})

    assert letter.data == "Canary"


def test_a_field_is_plain_again_once_airflow_has_asked_what_to_store() -> None:
    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task", data=[{"first_name": "{{ name }}"}], filters={"name": "{{ name }}"})
    task.render_template_fields({"name": "Canary"})

    assert task.data.serialize() == [{"first_name": "***"}]

    assert task.data == [{"first_name": "Canary"}]
    assert isinstance(task.filters, MaskedValue)


def test_a_task_that_is_rendered_and_executed_without_airflow_sees_plain_values() -> None:
    seen: list[Any] = []

    class Overriding(Sending):
        def execute(self, context: Any) -> None:
            seen.append((self.data, context))

        def resumed(self, context: Any) -> None:
            seen.append((self.data, context))

    with DAG("a_dag", schedule=None):
        task = Overriding(task_id="a_task", data={"first_name": "{{ name }}"})

    task.render_template_fields({"name": "Canary"})
    execute(task, {"try": 1})
    task.render_template_fields({"name": "Canary"})
    task.resume_execution("resumed", None, {"try": 2})

    assert seen == [({"first_name": "Canary"}, {"try": 1}), ({"first_name": "Canary"}, {"try": 2})]


def test_what_would_store_plain_values_after_the_task_has_run_is_refused() -> None:
    with pytest.raises(TypeError, match="Storing: overwrite_rtif_after_execution would store data"):
        type("Storing", (Sending,), {"overwrite_rtif_after_execution": True})

    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task")
    with pytest.raises(AttributeError, match="would store data"):
        task.overwrite_rtif_after_execution = True


def test_rendering_twice_shields_once() -> None:
    with DAG("a_dag", schedule=None):
        task = Sending(task_id="a_task", data="{{ name }}")

    task.render_template_fields({"name": "Canary"})
    task.render_template_fields({"name": "Canary"})

    assert unmask(task.data) == "Canary"
