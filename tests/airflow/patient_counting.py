"""A task, and a trigger with its operator, that count the patients; for the DAGs of the tests beside it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

starts: list[datetime] = []


def count_patients() -> int:
    starts.append(datetime.now(UTC))
    hook = DrChronoHook()
    try:
        with airflow_outcome():
            return sum(1 for _ in hook.get_conn().list("patients"))
    finally:
        hook.close()


class CountingTrigger(BaseTrigger):
    """Counts on the event loop."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.CountingTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        hook = DrChronoHook()
        client = await hook.get_async_conn()
        count = 0
        async for _ in client.list("patients"):
            count += 1
        await hook.aclose()
        yield TriggerEvent({"count": count})


class CountPatients(BaseOperator):
    """Leaves the counting to a trigger."""

    def execute(self, context: Any) -> None:
        self.defer(trigger=CountingTrigger(), method_name="counted")

    def counted(self, context: Any, event: dict[str, int]) -> int:
        return event["count"]
