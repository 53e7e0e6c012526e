"""Operators for lists that DrChrono makes in the background: start, wait, fetch every page, as one step or as two."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.operators.base.reads import Records, RecordsOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.client import BulkResult, DrChronoClient
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.common.results import Output
    from airflow_provider_drchrono.triggers.bulk import BulkEvent

IN_PROGRESS = "In progress"


class BulkOperator(RecordsOperator):
    """What the operators of a pair share.

    :param wait_for_completion: wait until the list is made, and return its records.
    :param deferrable: wait in the triggerer and not on a worker; None leaves it to ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at most, each of which is a call of the quota; the first ones come
        sooner.
    :param timeout: seconds that the whole list may take.
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout

    @property
    def waits_in_triggerer(self) -> bool:
        """Whether to wait in the triggerer."""
        from airflow_provider_drchrono.compat import waits_in_triggerer

        return waits_in_triggerer(self.deferrable)

    @property
    def resource(self) -> str:
        """The resource that is listed."""
        from airflow_provider_drchrono.operators.base.related import bulk_resource

        return bulk_resource(self.operation_id)

    def checked_waiting(self) -> None:
        """Judge how long to wait.

        :raises InvalidArgumentError: it is not possible to wait like that.
        """
        for name in ("poll_interval", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise InvalidArgumentError(f"{self.operation_id}: {name} must be a number of seconds above 0")

    def wait_in_triggerer(self, uuids: Sequence[str], ends: float) -> NoReturn:
        """Give the worker free until all pages are made; :meth:`execute_complete` goes on."""
        from airflow_provider_drchrono.compat import shortest_deferral
        from airflow_provider_drchrono.triggers.bulk import DrChronoBulkListTrigger
        from airflow_provider_drchrono.triggers.waiting import GRACE

        self.log.info("%s: waiting in the triggerer for %d bulk list(s)", self.operation_id, len(uuids))
        self.defer(
            trigger=DrChronoBulkListTrigger(
                drchrono_conn_id=self.drchrono_conn_id,
                resource=self.resource,
                uuids=list(uuids),
                ends=ends,
                poll_interval=self.poll_interval,
                not_before=time.time() + shortest_deferral(),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, ends - time.time())) + GRACE,
        )

    def wait_on_worker(self, drchrono: DrChronoClient, uuid: str, ends: float) -> BulkResult:
        """Ask for a page until it is made.

        :param ends: when to give up, in seconds since the epoch.
        :raises AirflowException: it is not made in time.
        """
        from airflow_provider_drchrono.client import BulkPacing

        result = drchrono.bulk_wait(self.resource, uuid, BulkPacing(ends, longest=self.poll_interval))
        if result is None:
            raise self.timed_out()
        return result

    def timed_out(self) -> AirflowException:
        """Return the error for a list that is not done in time. A retry starts it again."""
        return AirflowException(
            f"{self.operation_id}: DrChrono did not make the list within {self.timeout:g} seconds; retry later, raise "
            "timeout, or narrow the filters"
        )

    def completed(self, event: object) -> BulkEvent:
        """Return the event of a trigger that all pages are made.

        :raises AirflowException: they are not; a retry starts the list again.
        :raises AirflowFailException: they are not, and it would not help.
        """
        from airflow_provider_drchrono.triggers.bulk import BulkEvent

        try:
            read = BulkEvent.read(event)
        except ValueError as error:
            raise AirflowFailException(f"{self.operation_id}: {error}") from None
        if read.status == "timeout":
            raise self.timed_out()
        if read.status == "failed":
            kind = AirflowException if read.transient else AirflowFailException
            raise kind(f"{self.operation_id}: waiting for the list failed: {read.message}")
        return read


class BulkListOperator(BulkOperator):
    """Has DrChrono make a list, waits for it, and returns the records of all its pages.

    It costs three calls for each thousand records, verbose or not. With ``wait_for_completion=False`` it only starts
    the first page and returns ``{"uuid": ..., "status": "In progress"}`` for the operator that fetches it.

    :param order_by: the field to order by.
    """

    template_fields: Collection[str] = ("filters", "order_by", "fields", "output_path", "drchrono_conn_id")

    def __init__(self, *, order_by: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.order_by = order_by

    def execute(self, context: Context) -> Records | dict[str, Any]:
        """Start the list, wait for it, and return its records, or what ``output_path`` or not waiting makes of it."""
        self.checked_waiting()
        with self.calling() as drchrono:
            output = self.checked_output()
            filters = self.checked_filters()
            if self.wait_for_completion and not self.waits_in_triggerer:
                return self.deliver(self._records(drchrono, filters, output), output)
            uuid = self._start(drchrono, filters)
        if not self.wait_for_completion:
            return {"uuid": uuid, "status": IN_PROGRESS}
        self.wait_in_triggerer([uuid], time.time() + self.timeout)

    def execute_complete(self, context: Context, event: object) -> Records | dict[str, Any]:
        """Go on when the trigger says that the started pages are made.

        The first time, only the first page was started, as nobody knew how many there are.
        """
        made = self.completed(event)
        uuids = list(made.uuids)
        with self.calling() as drchrono:
            output = self.checked_output()
            output.check_bound(made.count or 0)
            filters = self.checked_filters()
            if len(uuids) == made.pages or made.pages <= 1:
                return self.deliver(self._fetched(drchrono, uuids, filters, made.ends), output)
            uuids += [self._start(drchrono, filters, page) for page in range(len(uuids) + 1, made.pages + 1)]
        self.wait_in_triggerer(uuids, made.ends)

    def _start(self, drchrono: DrChronoClient, filters: dict[str, Any], page: int = 1) -> str:
        return drchrono.bulk_start(self.resource, filters, verbose=self.verbose, order_by=self.order_by, page=page)

    def _records(self, drchrono: DrChronoClient, filters: dict[str, Any], output: Output) -> Iterator[Record]:
        ends = time.time() + self.timeout
        page, pages = 1, 1
        while page <= pages:
            result = self._made(drchrono, filters, page, ends)
            if page == 1:
                output.check_bound(result.count or 0)
            pages = result.pages
            yield from result.records
            page += 1

    def _made(self, drchrono: DrChronoClient, filters: dict[str, Any], page: int, ends: float) -> BulkResult:
        uuid = self._start(drchrono, filters, page)
        return self.wait_on_worker(drchrono, uuid, ends)

    def _fetched(
        self, drchrono: DrChronoClient, uuids: list[str], filters: dict[str, Any], ends: float
    ) -> Iterator[Record]:
        from airflow_provider_drchrono.client import BulkExpiredError

        for page, uuid in enumerate(uuids, start=1):
            try:
                result = drchrono.bulk_result(self.resource, uuid)
            except BulkExpiredError:
                result = None
            # A result lives for an hour: one that went while others were fetched is made again.
            yield from (result or self._made(drchrono, filters, page, ends)).records


class BulkResultOperator(BulkOperator):
    """Fetches a list that another task had DrChrono start, and returns its records.

    With ``wait_for_completion=False`` it looks once, and returns ``{"uuid": ..., "status": "In progress"}`` if the list
    is not made yet.

    :param uuid: what the operator that started the list returned as ``uuid``.
    """

    template_fields: Collection[str] = ("uuid", "fields", "output_path", "drchrono_conn_id")
    takes_filters = False

    def __init__(self, *, uuid: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.uuid = uuid

    def execute(self, context: Context) -> Records | dict[str, Any]:
        """Look, wait if need be, and return the records."""
        self.checked_waiting()
        uuid = self._checked_uuid()
        with self.calling() as drchrono:
            output = self.checked_output()
            result = drchrono.bulk_result(self.resource, uuid)
            if result is None and self.wait_for_completion and not self.waits_in_triggerer:
                result = self.wait_on_worker(drchrono, uuid, time.time() + self.timeout)
            if result is not None:
                return self._deliver_page(result, output)
        if not self.wait_for_completion:
            return {"uuid": uuid, "status": IN_PROGRESS}
        self.wait_in_triggerer([uuid], time.time() + self.timeout)

    def execute_complete(self, context: Context, event: object) -> Records | dict[str, Any]:
        """Go on when the trigger says that the list is made."""
        made = self.completed(event)
        (uuid,) = made.uuids
        with self.calling() as drchrono:
            output = self.checked_output()
            result = drchrono.bulk_result(self.resource, uuid)
            if result is None:
                result = self.wait_on_worker(drchrono, uuid, made.ends)
            return self._deliver_page(result, output)

    def _checked_uuid(self) -> str:
        uuid = str(self.uuid or "").strip()
        if uuid in ("", "None"):
            raise InvalidArgumentError(
                f"{self.operation_id}: uuid is empty; give the uuid that the operator which started the list returned"
            )
        return uuid

    def _deliver_page(self, result: BulkResult, output: Output) -> Records | dict[str, Any]:
        if result.pages > 1:
            raise InvalidArgumentError(
                f"{self.operation_id}: the list has {result.pages} pages, of which a uuid stands for one only: let the "
                "operator that starts the list wait for it (wait_for_completion=True), which fetches them all"
            )
        output.check_bound(result.count or 0)
        return self.deliver(iter(result.records), output)
