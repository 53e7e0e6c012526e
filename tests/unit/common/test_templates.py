"""A template that finds nothing becomes the word None, which nobody means to store."""

from typing import Any

import pytest

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.templates import rendered_none
from airflow_provider_drchrono.operators.patients import DrChronoListPatientsOperator
from airflow_provider_drchrono.operators.tasks import DrChronoCreateTaskOperator
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from tests.support.running import execute


@pytest.mark.parametrize(
    ("given", "value", "places"),
    [
        pytest.param({"a": "{{ x }}"}, {"a": "None"}, ["data['a']"], id="one"),
        pytest.param({"a": [{"b": "{{ x }}"}]}, {"a": [{"b": " None "}]}, ["data['a'][0]['b']"], id="deep"),
        pytest.param({"a": "{% if x %}{{ x }}{% endif %}"}, {"a": "None"}, ["data['a']"], id="statement"),
        pytest.param("{{ x }}", "None", ["data"], id="the whole"),
        pytest.param('{"a": "{{ x }}"}', '{"a": "None"}', ["data['a']"], id="text of a mapping"),
        pytest.param('[{"a": "{{ x }}"}]', '[{"a": "None"}]', ["data[0]['a']"], id="text of a list"),
        pytest.param({"a": "None"}, {"a": "None"}, [], id="typed by the author"),
        pytest.param({"a": "{{ x }}"}, {"a": None}, [], id="null of a native template"),
        pytest.param({"a": None}, {"a": None}, [], id="null"),
        pytest.param("{{ x }}", "{'a': 'None'}", [], id="output of another task"),
        pytest.param({"a": "about {{ x }}"}, {"a": "about None"}, [], id="part of a text"),
        pytest.param({"a": "{{ x }}"}, {"a": "Nonesuch"}, [], id="another word"),
        pytest.param(object(), {"a": "None"}, [], id="output that was resolved"),
    ],
)
def test_only_what_a_template_made_of_none_is_found(given: Any, value: Any, places: list[str]) -> None:
    assert list(rendered_none(given, value, "data")) == places


@pytest.mark.parametrize(
    ("operator", "place"),
    [
        pytest.param(
            DrChronoCreateTaskOperator(task_id="a", data={"title": "{{ x }}", "status": 1}), "data['title']", id="write"
        ),
        pytest.param(
            DrChronoCreateTaskOperator(
                task_id="a", data={"title": "Call", "status": 1}, extra_fields={"colour": "{{ x }}"}
            ),
            "extra_fields['colour']",
            id="extra fields",
        ),
        pytest.param(
            DrChronoListPatientsOperator(task_id="a", filters={"last_name": "{{ x }}"}),
            "filters['last_name']",
            id="list",
        ),
        pytest.param(
            DrChronoNewOrUpdatedPatientsSensor(task_id="a", filters={"last_name": "{{ x }}"}),
            "filters['last_name']",
            id="sensor",
        ),
    ],
)
def test_it_is_refused_before_any_call(operator: Any, place: str) -> None:
    operator.render_template_fields({"x": None})

    with pytest.raises(InvalidArgumentError) as refused:
        execute(operator)

    assert f"{place}: a template found no value and became the word None" in str(refused.value)
    assert "Nothing was sent" in str(refused.value)
