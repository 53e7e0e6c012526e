"""Tasks that note what they, their callbacks and a listener see of fields that Airflow stores masked."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.listeners import hookimpl
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_drchrono.common.masking import MasksTemplateFields

SEEN: list[tuple[str, Any, Any, Any]] = []


def note(who: str, task: Any) -> None:
    SEEN.append((who, task.data, task.extra_fields, task.filters))


def noting(who: str) -> Any:
    def callback(context: Any) -> None:
        note(who, context["task"])

    return callback


class Listener:
    """What a plugin would register."""

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        note("listener: running", task_instance.task)

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        note("listener: success", task_instance.task)

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        note("listener: failed", task_instance.task)


class NowTrigger(BaseTrigger):
    """Fires at once."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "tests.support.masked_tasks.NowTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent("now")


class Sending(MasksTemplateFields, BaseOperator):
    """An operator of the provider, as far as masking goes."""

    template_fields = ("data", "extra_fields", "filters", "note")
    template_fields_renderers: ClassVar[dict[str, str]] = {"data": "json"}

    def __init__(
        self, *, data: Any, extra_fields: Any = None, filters: Any = None, note: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data = data
        self.extra_fields = extra_fields
        self.filters = filters
        self.note = note

    def execute(self, context: Any) -> None:
        note("execute", self)


class Overriding(Sending):
    """What a user makes of it."""

    def pre_execute(self, context: Any) -> None:
        note("pre_execute", self)

    def execute(self, context: Any) -> None:
        note("own execute", self)
        super().execute(context)


class Deferring(Sending):
    """Goes away, and comes back in another process."""

    def execute(self, context: Any) -> None:
        note("execute", self)
        self.defer(trigger=NowTrigger(), method_name="execute_complete")

    def execute_complete(self, context: Any, event: Any) -> None:
        note("execute_complete", self)


class FailingOnce(Sending):
    """Fails the first time."""

    def execute(self, context: Any) -> None:
        note("execute", self)
        if context["ti"].try_number == 1:
            raise ValueError("the first try")


class Failing(Sending):
    """Fails."""

    def execute(self, context: Any) -> None:
        note("execute", self)
        raise ValueError("for good")
