"""Operators that only look: one record, a list of them, or a report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice
from airflow_provider_drchrono.common.lineage import ReportsLineage
from airflow_provider_drchrono.incremental.suspicion import ON_SUSPICIOUS, OnSuspicious, ReadFacts
from airflow_provider_drchrono.operators.base.operation import ON_MISSING, DrChronoOperationOperator, OnMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.client import Page
    from airflow_provider_drchrono.common.results import Output

Records: TypeAlias = "list[dict[str, Any]] | list[list[dict[str, Any]]]"
"""A list, or with ``batch_size`` lists of it."""

MAX_RECORDS = 10_000
"""The bound of a list that goes to XCom. Ten thousand patients are some 16 MB in Airflow's database, or 60 verbose."""

LARGEST_SHARE = 0.5
"""Of an hour's quota. A list that has taken more than this when the quota runs out would not fit into the next hour."""


class GetOperator(DrChronoOperationOperator):
    """Reads one record and returns it.

    :param verbose: ask also for the fields that come only with ``verbose=true``.
    :param fields: return only these fields.
    :param on_missing: what a record that is not there (404) means: ``fail``, ``skip`` the task, or return ``none``.
    """

    template_fields: Collection[str] = ("fields", "drchrono_conn_id")

    def __init__(
        self,
        *,
        verbose: bool = False,
        fields: Sequence[str] | None = None,
        on_missing: OnMissing = "fail",
        **kwargs: Any,
    ) -> None:
        check_choice(self.operation_id, "on_missing", on_missing, ON_MISSING)
        super().__init__(**kwargs)
        self.verbose = verbose
        self.fields = fields
        self.on_missing = on_missing

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Make the call and return the record, or None where it is missing and may be."""
        from airflow_provider_drchrono.client import NotFoundError
        from airflow_provider_drchrono.common.arguments import checked_fields
        from airflow_provider_drchrono.common.results import only

        with self.calling() as drchrono:
            fields = checked_fields(self.operation_id, self.fields, verbose=self.verbose)
            path = self.checked_path()
            query = self.checked_query() | ({"verbose": True} if self.verbose else {})
            try:
                record = drchrono.call(self.operation_id, path=path, query=query)
            except NotFoundError:
                if self.on_missing == "fail":
                    raise
                record = None
        if record is None:
            self.note_missing(self.on_missing)
            return None
        return only(record, fields) if isinstance(record, dict) else record


class SelectingOperator(DrChronoOperationOperator):
    """What operators with filters share.

    :param filters: what to select.
    """

    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json"}
    takes_filters: ClassVar[bool] = True

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | XComArg | str | None = None,
        **kwargs: Any,
    ) -> None:
        if self.takes_filters:
            arguments.check_filters(arguments.operation_filters(self.operation_id), filters)
        super().__init__(**kwargs)
        self.filters = filters

    def checked_filters(self, *, has_extra: bool = False) -> dict[str, Any]:
        """Return the filters, coerced to what the API reads.

        :param has_extra: whether filters are given beside that the catalogue does not know.
        :raises InvalidArgumentError: a name or a value is wrong.
        """
        known = arguments.operation_filters(self.operation_id, self.hook.catalog, has_extra=has_extra)
        return arguments.checked_filters(known, self.filters, zone=self.zone)


class RecordsOperator(ReportsLineage, SelectingOperator):
    """What operators share that return many records.

    :param verbose: ask also for the fields that come only with ``verbose=true``; pages get smaller.
    :param fields: return only these fields of each record.
    :param max_records: most records to return. More than that is an error, never a silent cut.
    :param batch_size: return a list of lists of at most so many records, to map over more than Airflow maps single
        ones.
    :param output_path: object-storage path or URL of a file to write the records to, one JSON object a line, gzip if it
        ends in ``.gz``. There is no bound then, and the result is ``{"path": ..., "count": ...}``.
    :param on_suspicious: what follows where a list may hide records, as it came back empty to a token that lacks its
        scopes, or a page in the middle of it was empty: ``warn`` in the log, or ``fail`` and return nothing.
    """

    links_to_record: ClassVar[bool] = False
    template_fields: Collection[str] = ("filters", "fields", "output_path", "drchrono_conn_id")

    def __init__(
        self,
        *,
        verbose: bool = False,
        fields: Sequence[str] | None = None,
        max_records: int = MAX_RECORDS,
        batch_size: int | None = None,
        output_path: str | None = None,
        on_suspicious: OnSuspicious = "warn",
        **kwargs: Any,
    ) -> None:
        arguments.check_size(self.operation_id, max_records, batch_size, output_path)
        check_choice(self.operation_id, "on_suspicious", on_suspicious, ON_SUSPICIOUS)
        super().__init__(**kwargs)
        self.verbose = verbose
        self.fields = fields
        self.max_records = max_records
        self.batch_size = batch_size
        self.output_path = output_path
        self.on_suspicious = on_suspicious

    def checked_output(self) -> Output:
        """Return how the records are to be handed on.

        :raises InvalidArgumentError: an option cannot work.
        """
        from airflow_provider_drchrono.common.arguments import checked_fields
        from airflow_provider_drchrono.common.results import Output

        fields = checked_fields(self.operation_id, self.fields, verbose=self.verbose)
        path = self.output_path or None
        return Output(self.operation_id, fields, self.max_records, self.batch_size, path, are_new=False)

    def deliver(self, records: Iterable[dict[str, Any]], output: Output) -> Records | dict[str, Any]:
        """Return the records, or write them and return where."""
        counted = _Counted(records)
        result: Records | dict[str, Any] = output.deliver(counted)
        self._judge(counted.facts)
        self.log.info("%s: %s", self.operation_id, output.summary(result))
        self.note_read(self.hook.catalog, self.operation_id, counted.facts.records, verbose=bool(self.verbose))
        return result

    def _judge(self, read: ReadFacts) -> None:
        """Warn of a list that may hide records, or refuse it.

        :raises SuspiciousReadError: it may, and the task is to fail then.
        """
        from airflow_provider_drchrono.incremental.suspicion import act_on

        found = self.hook.suspicions(self.operation_id, read)
        act_on(found, self.on_suspicious)
        if not read.records and not found:
            self.log.info("%s", self.hook.why_empty(self.operation_id))


class _Counted:
    """Records as they are handed on, and what is known of the read in the end."""

    def __init__(self, records: Iterable[dict[str, Any]]) -> None:
        self._records = records
        self._count = 0
        self._gaps = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._count = 0
        for record in self._records:
            self._count += 1
            yield record

    @property
    def facts(self) -> ReadFacts:
        return ReadFacts(self._count, gaps=getattr(self._records, "gaps", 0))


class _Pages:
    """The records of pages, and how many pages in the middle held none."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages = pages
        self.gaps = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for page in self._pages:
            self.gaps += page.gaps
            yield from page.records


class ListOperator(RecordsOperator):
    """Reads all pages of a list, one call each.

    When the quota runs out on the way, the task is rescheduled and begins again, unless it had used so much of the
    quota that it would never come to an end; then it fails and says what to use instead.

    :param extra_filters: filters that the provider does not know, by name; they are sent as they are.
    """

    # They are checked together with those that the catalogue does not know.
    takes_filters = False
    template_fields: Collection[str] = ("filters", "extra_filters", "fields", "output_path", "drchrono_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json", "extra_filters": "json"}

    def __init__(
        self,
        *,
        extra_filters: Mapping[str, Any] | XComArg | str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments.check_extra_filters(self.operation_id, extra_filters)
        known = arguments.operation_filters(self.operation_id, has_extra=bool(extra_filters))
        arguments.check_filters(known, kwargs.get("filters"))
        super().__init__(**kwargs)
        self.extra_filters = extra_filters

    def execute(self, context: Context) -> Records | dict[str, Any]:
        """Make the calls and return the records, or path and count of the file with them."""
        from airflow_provider_drchrono.client import RateLimitedError

        with self.calling() as drchrono:
            output = self.checked_output()
            extra = arguments.checked_extra_filters(self.operation_id, self.extra_filters)
            filters = self.checked_filters(has_extra=bool(extra))
            pages = drchrono.pages(self.operation_id, filters, extra_filters=extra, verbose=self.verbose)
            records = _Pages(pages)
            try:
                return self.deliver(records, output)
            except RateLimitedError as error:
                self._refuse_endless(drchrono.calls, str(error))
                raise

    def _refuse_endless(self, calls: int, reason: str) -> None:
        from airflow_provider_drchrono.catalog import load

        quota = self.hook.settings.quota_per_hour or load().service.calls_per_hour
        if calls > quota * LARGEST_SHARE:
            raise AirflowFailException(
                f"{self.operation_id}: the quota ran out after {calls} calls of this list alone ({reason}). Narrow the "
                "filters, use the bulk list where there is one, or DrChronoToWarehouseOperator, which goes on where it "
                "stopped"
            ) from None


class ReportOperator(SelectingOperator):
    """Asks for a report or document and returns it.

    :param output_path: object-storage path or URL to write it to; the result is then ``{"path": ..., "bytes": ...}``.
    """

    template_fields: Collection[str] = ("filters", "output_path", "drchrono_conn_id")

    def __init__(self, *, output_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path

    def execute(self, context: Context) -> Any:
        """Make the call and return the report: decoded JSON, or the text of a document."""
        from airflow_provider_drchrono.common.result_files import check_output_path, write_document

        with self.calling() as drchrono:
            if self.output_path:
                check_output_path(self.output_path)
            path = self.checked_path()
            query = self.checked_query() | self.checked_filters()
            report = drchrono.call(self.operation_id, path=path, query=query)
            if self.output_path:
                return write_document(self.output_path, report)
        if isinstance(report, bytes):
            raise InvalidArgumentError(
                f"{self.operation_id}: the answer is a binary document, which XCom cannot hold; give output_path"
            )
        return report
