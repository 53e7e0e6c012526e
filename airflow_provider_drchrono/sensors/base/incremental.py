"""The class that every sensor descends from: it waits until something in a list is new, and hands the records on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_drchrono.assets.outlets import Outlet, list_asset
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.colours import colour_of
from airflow_provider_drchrono.common.lineage import ReportsLineage
from airflow_provider_drchrono.common.masking import MasksTemplateFields
from airflow_provider_drchrono.compat import instance_of, run_of, shortest_deferral, waits_in_triggerer
from airflow_provider_drchrono.compat.cached import cached_property
from airflow_provider_drchrono.compat.sensors import ChoosesPokeInterval
from airflow_provider_drchrono.incremental.suspicion import ON_SUSPICIOUS, OnSuspicious

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.cursor import CursorName, CursorStore
    from airflow_provider_drchrono.incremental.lists import Change, IncrementalList, Selection
    from airflow_provider_drchrono.incremental.poller import Poller
    from airflow_provider_drchrono.incremental.suspicion import ReadFacts
    from airflow_provider_drchrono.sensors.base.explicit_window import ExplicitWindow

log = logging.getLogger(__name__)

POLL_INTERVAL = 360.0
"""Seconds. At that pace all triggers together take 230 calls an hour, less than half of the quota."""

SHORTEST_RESCHEDULE = 60.0
"""Seconds. A task that is due again before its worker process has ended is taken for a failed one by the executor."""

STARTS = ("now", "beginning")

Time = date | str | None


class IncrementalSensor(ReportsLineage, MasksTemplateFields, ChoosesPokeInterval, BaseSensorOperator):
    """Waits for new or updated records.

    Each DAG run is given what has changed since the run before it was; a retry and a cleared task are given the same
    again. With ``since`` it remembers nothing and reads what changed from then on, for backfills and data intervals.

    It returns the records, ready for ``.expand``, or with ``output_path`` the path and count of a file with them.

    :param filters: what to select.
    :param extra_filters: filters that the provider does not know, by name; they are sent as they are. A deferred sensor
        then polls on a worker, for which it is resumed at each poll.
    :param change: ``created``, ``updated``, or ``any``. A record that is created and changed between two polls counts
        as created.
    :param watch_fields: wait until one of these fields has another value, and say which: each record is given
        ``_drchrono_change``, such as ``{"kind": "updated", "fields": ["status"]}``. The kind is ``created`` for a new
        record, and ``first_seen`` for an older one that changes for the first time since the sensor began, of which
        nobody knows what has changed.
    :param fields: return only these fields of each record.
    :param verbose: ask also for the fields that come only with ``verbose=true``.
    :param since: read what changed from this time on, instead of continuing from the cursor: a date, a time of the
        practice's clock, or a time with an offset.
    :param until: read what changed before this time, which has to have passed.
    :param start: where the first run begins: ``now``, ``beginning``, or a time.
    :param lookback: how long a change may take until the list shows it, as a timedelta or in seconds. None: two
        minutes, or a day where the list goes by the time of creation.
    :param max_records: most records to return. More than that is an error, never a silent cut.
    :param batch_size: return a list of lists of at most so many records, to map over more than Airflow maps single
        ones.
    :param output_path: object-storage path or URL of a file to write the records to, one JSON object a line, gzip if
        it ends in ``.gz``.
    :param on_suspicious: what follows where a read may hide records, as the token lacks the scopes of the list or a
        page in the middle of it was empty: ``warn`` in the log, or ``fail`` and give nothing.
    :param deferrable: wait in the triggerer and not on a worker; None leaves it to ``[operators] default_deferrable``.
    :param poke_interval: seconds between two polls, each of which is a call of the quota.
    :param mode: ``reschedule``, which frees the worker between two polls, or ``poke``.
    :param drchrono_conn_id: id of the Airflow connection of type ``drchrono``.
    """

    resource: ClassVar[str]
    operation_id: ClassVar[str]
    _polled_at: datetime | None = None
    _quiet: str = ""
    template_fields: Sequence[str] = (
        "filters",
        "extra_filters",
        "fields",
        "since",
        "until",
        "start",
        "output_path",
        "drchrono_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json", "extra_filters": "json"}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "operation_id" in vars(cls):
            cls.ui_color = colour_of(cls.operation_id)

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | XComArg | str | None = None,
        extra_filters: Mapping[str, Any] | XComArg | str | None = None,
        change: Change = "any",
        watch_fields: Sequence[str] | None = None,
        fields: Sequence[str] | XComArg | str | None = None,
        verbose: bool = False,
        since: Time | XComArg = None,
        until: Time | XComArg = None,
        start: Time | XComArg = "now",
        lookback: timedelta | float | None = None,
        max_records: int = 10_000,
        batch_size: int | None = None,
        output_path: str | None = None,
        on_suspicious: OnSuspicious = "warn",
        deferrable: bool | None = None,
        poke_interval: timedelta | float = POLL_INTERVAL,
        mode: str = "reschedule",
        drchrono_conn_id: str = "drchrono_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, mode=mode, **kwargs)
        arguments.check_extra_filters(self.operation_id, extra_filters)
        known = arguments.incremental_filters(self.resource, has_extra=bool(extra_filters))
        arguments.check_filters(known, filters)
        for name, value, words in (("since", since, ()), ("until", until, ()), ("start", start, STARTS)):
            arguments.check_time(self.operation_id, name, value, words)
        self.filters = filters
        self.extra_filters = extra_filters
        self.change = change
        self.watch_fields = watch_fields
        self.fields = fields
        self.verbose = verbose
        self.since = since
        self.until = until
        self.start = start
        self.lookback = lookback
        self.max_records = max_records
        self.batch_size = batch_size
        self.output_path = output_path
        self.on_suspicious = on_suspicious
        self.deferrable = deferrable
        self.drchrono_conn_id = drchrono_conn_id
        self._list = Outlet(self, list_asset(self.resource, drchrono_conn_id))
        self._check_options()

    def execute(self, context: Context) -> Any:
        """Poll until something is new, and return it; a deferrable sensor waits in the triggerer after the first poll.

        :raises AirflowFailException: an argument, the connection or the stored cursor has to be changed first.
        """
        if "ti" not in context:
            # Somebody's unit test: there is no scheduler that would call again.
            found, result = self._poll(context)
            if found:
                return result
            raise AirflowSensorTimeout(
                f"{self.operation_id}: nothing is new, and without the context of a task the sensor does not wait; "
                "give start='beginning' or since, or change a record between two calls"
            )
        if not self.waits_in_triggerer:
            try:
                return super().execute(context)
            except AirflowSkipException as skipped:
                # With never_fail, Airflow takes a used-up quota for a failure.
                if not isinstance(skipped.__cause__, AirflowRescheduleException):
                    raise
                waits = skipped.__cause__
            raise waits
        with self._soft():
            return self._poll_or_defer(context, time.time() + self.timeout)

    def execute_complete(self, context: Context, event: object) -> Any:
        """Resume when the trigger reports: read the records, or wait again if another run was given them."""
        with self._soft():
            return self._resumed(context, event)

    def _resumed(self, context: Context, event: object) -> Any:
        from airflow_provider_drchrono.client import DrChronoError
        from airflow_provider_drchrono.triggers.incremental import PollEvent

        try:
            read = PollEvent.read(event)
        except ValueError as error:
            raise AirflowFailException(f"{self.operation_id}: {error}") from None
        if read.status == "timeout":
            raise AirflowSensorTimeout(f"{self.operation_id}: nothing changed within {self.timeout:g} seconds")
        if read.status == "failed":
            message = f"{self.operation_id}: waiting for changes failed: {read.message}"
            if read.transient:
                # As on a worker: with soft_fail, Airflow takes each error of its own for a reason to skip.
                raise DrChronoError(message, transient=True)
            raise AirflowFailException(message)
        self.log.info("%s: the trigger saw %d new records", self.operation_id, read.count)
        return self._poll_or_defer(context, read.ends)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Poll once."""
        from airflow_provider_drchrono.common.outcomes import airflow_outcome

        with airflow_outcome():
            found, result = self._poll(context)
        return PokeReturnValue(True, result) if found else False

    @cached_property
    def hook(self) -> DrChronoHook:
        """The hook of the connection, which leaves calls to actions; its client is closed after each poll."""
        from airflow_provider_drchrono.hooks.drchrono import polling_hook

        return polling_hook(self.drchrono_conn_id)

    @cached_property
    def cursor_store(self) -> CursorStore:
        """Where cursors are kept."""
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        return VariableCursorStore()

    @property
    def waits_in_triggerer(self) -> bool:
        """Whether to wait in the triggerer."""
        return waits_in_triggerer(self.deferrable)

    def next_poke_interval(self, interval: float, run_duration: Callable[[], float]) -> float:
        """Return the seconds to the next poke: Airflow's own, or more where the hour's calls run short."""
        from airflow_provider_drchrono.hooks.drchrono import next_interval

        bounds = [self.timeout - run_duration()] + ([self.max_wait.total_seconds()] if self.max_wait else [])
        seconds = max(interval, min(next_interval(self.hook, interval), *bounds))
        self._say_quiet(seconds)
        return seconds

    def _say_quiet(self, seconds: float) -> None:
        """Say that the sensor waits, and for what: without a word it would look as if it hung."""
        if self._quiet:
            log.info("%s: %s; next look in %.0f s", self.operation_id, self._quiet, seconds)

    def _check_options(self) -> None:
        where = self.operation_id
        changes = load().resource(self.resource).changes
        if self.change not in changes:
            why = "" if self.change not in ("created", "updated") else ": the records do not say when they were created"
            raise InvalidArgumentError(
                f"{where}: change must be one of {', '.join(map(repr, changes))}, not {self.change!r}{why}"
            )
        arguments.checked_watch_fields(where, self.watch_fields, change=self.change, verbose=self.verbose)
        if self.watch_fields is not None and self.since is not None:
            raise InvalidArgumentError(
                f"{where}: watch_fields needs the cursor, which knows the earlier values; leave since out"
            )
        arguments.check_choice(where, "on_suspicious", self.on_suspicious, ON_SUSPICIOUS)
        arguments.check_size(where, self.max_records, self.batch_size, self.output_path)
        arguments.checked_lookback(where, self.lookback, timedelta(0))
        if self.until is not None and self.since is None:
            raise InvalidArgumentError(f"{where}: until needs since; without both the sensor continues from its cursor")
        if self.reschedule and not self.deferrable and self.poke_interval < SHORTEST_RESCHEDULE:
            raise InvalidArgumentError(
                f"{where}: poke_interval must be {SHORTEST_RESCHEDULE:g} seconds or more in mode 'reschedule', or the "
                "executor takes a poke that ends late for a failure; for less use mode='poke' or deferrable=True"
            )

    def _poll(self, context: Context) -> tuple[bool, Any]:
        """Poll once; return whether there is anything to hand on, and what."""
        from airflow_provider_drchrono.common.results import Output
        from airflow_provider_drchrono.incremental.cursor import CursorError, ForgottenRunError
        from airflow_provider_drchrono.incremental.lists import IncrementalList
        from airflow_provider_drchrono.incremental.watched_fields import CHANGE_FIELD

        incremental_list = IncrementalList.of(self.hook.catalog, self.resource)
        filters = self._checked_filters()
        fields = arguments.checked_fields(self.operation_id, self.fields, verbose=self.verbose)
        if fields is not None and self.watch_fields is not None:
            fields = (*fields, CHANGE_FIELD)
        output = Output(self.operation_id, fields, self.max_records, self.batch_size, self.output_path or None)
        span: tuple[datetime | None, datetime | None] = (None, None)
        try:
            drchrono = self.hook.get_conn()
            if self.since is not None:
                window = self._window(incremental_list, filters)
                found, result = window.poll(drchrono, output.deliver, self._judge)
                span = (window.since, window.until)
                self._quiet = _quiet_window(window)
            else:
                poller = self._poller(context, incremental_list, filters)
                found, result = poller.poll(drchrono, output.deliver)
                self._polled_at = None if found else poller.polled_at
                since = f"since {poller.quiet_since:%Y-%m-%d %H:%M:%S} UTC" if poller.quiet_since else "so far"
                self._quiet = (
                    f"nothing is new {since} (to read an earlier time again, give since, or begin anew with: airflow "
                    f"drchrono cursor reset {self._name(context).arguments})"
                )
                if poller.window is not None:
                    span = (poller.window.before.since, poller.window.after.until)
        except ForgottenRunError as error:
            raise AirflowFailException(f"{self.operation_id}: {error}") from None
        except CursorError as error:
            raise AirflowFailException(f"{self.operation_id}: {self._name(context).explain(error)}") from None
        finally:
            self.hook.close()
        if found:
            self.log.info("%s: %s", self.operation_id, output.summary(result))
            count = output.count(result)
            self._list.update(self, context, count, since=span[0], until=span[1])
            self.note_read(self.hook.catalog, self.operation_id, count, verbose=bool(self.verbose))
        return found, result

    def _judge(self, read: ReadFacts) -> bool:
        """Tell whether a read may hide records, and say so.

        :raises SuspiciousReadError: it may, and the sensor is to fail then.
        """
        from airflow_provider_drchrono.incremental.suspicion import act_on

        found = self.hook.suspicions(self.operation_id, read)
        act_on(found, self.on_suspicious)
        return bool(found)

    def _poll_or_defer(self, context: Context, ends: float) -> Any:
        from airflow_provider_drchrono.client import RateLimitedError
        from airflow_provider_drchrono.common.outcomes import airflow_outcome

        due = 0.0
        with airflow_outcome(reschedule=False):
            try:
                found, result = self._poll(context)
            except RateLimitedError as error:
                if error.retry_at is None:
                    raise
                self.log.info("%s", error)
                found, result, due = False, None, error.retry_at.timestamp()
        if found:
            return result
        self._defer(context, ends, due)

    def _defer(self, context: Context, ends: float, due: float) -> NoReturn:
        """Free the worker until there is something to read, or time runs out."""
        from airflow_provider_drchrono.incremental.lists import IncrementalList
        from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger
        from airflow_provider_drchrono.triggers.waiting import GRACE

        left = ends - time.time()
        if left <= 0:
            raise AirflowSensorTimeout(f"{self.operation_id}: nothing changed within {self.timeout:g} seconds")
        incremental_list = IncrementalList.of(self.hook.catalog, self.resource)
        filters = self._checked_filters()
        selection = self._selection(incremental_list, filters)
        window = self._window(incremental_list, filters) if self.since is not None else None
        name = self._name(context)
        self._say_quiet(max(self.poke_interval, due - time.time()))
        self.defer(
            trigger=DrChronoIncrementalTrigger(
                drchrono_conn_id=self.drchrono_conn_id,
                resource=self.resource,
                filters=arguments.incremental_filters(self.resource).public(filters),
                change=self.change,
                watch_fields=tuple(self.watch_fields) if self.watch_fields is not None else None,
                verbose=self.verbose,
                cursor=[name.dag_id, name.task_id, name.map_index] if window is None else None,
                since=window.since.isoformat() if window else None,
                timezones=window.timezones if window else (),
                polled_at=self._polled_at.isoformat() if self._polled_at else None,
                lookback=selection.lookback.total_seconds(),
                poll_interval=self.poke_interval,
                on_suspicious=self.on_suspicious,
                not_before=max(
                    due,
                    window.due.timestamp() if window and window.due else 0.0,
                    time.time() + (self.poke_interval if selection.extra_filters else shortest_deferral()),
                ),
                # Nobody knows whether extra filters may be stored, so the trigger is not given them.
                poll=not selection.extra_filters and (window is None or window.due is None),
                ends=ends,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=left) + GRACE,
        )

    def _checked_filters(self) -> dict[str, Any]:
        known = arguments.incremental_filters(
            self.resource, self.hook.catalog, has_extra=bool(self._checked_extra_filters())
        )
        return arguments.checked_filters(known, self.filters, zone=self.hook.settings.timezone)

    def _checked_extra_filters(self) -> dict[str, str]:
        return arguments.checked_extra_filters(self.operation_id, self.extra_filters)

    def _selection(self, incremental_list: IncrementalList, filters: dict[str, Any]) -> Selection:
        from airflow_provider_drchrono.incremental.lists import Selection
        from airflow_provider_drchrono.incremental.watched_fields import WatchedFields

        watched = arguments.checked_watch_fields(
            self.operation_id, self.watch_fields, change=self.change, verbose=self.verbose
        )
        start = self.start.isoformat() if isinstance(self.start, date) else str(self.start or "")
        arguments.check_time(self.operation_id, "start", start, STARTS)
        return Selection(
            incremental_list=incremental_list,
            filters=filters,
            verbose=self.verbose,
            change=self.change,
            lookback=arguments.checked_lookback(self.operation_id, self.lookback, incremental_list.lookback),
            start=start,
            extra_filters=self._checked_extra_filters(),
            watched=None if watched is None else WatchedFields(watched, self.hook.hash_key),
        )

    def _poller(self, context: Context, incremental_list: IncrementalList, filters: dict[str, Any]) -> Poller:
        from airflow_provider_drchrono.incremental.cursor import cleared_from
        from airflow_provider_drchrono.incremental.poller import Poller

        return Poller(
            self._selection(incremental_list, filters),
            store=self.cursor_store,
            name=self._name(context),
            run_id=run_of(context),
            cleared_from=cleared_from(context.get("dag_run")),
            timezones=self.hook,
            now=utcnow,
            source=self.hook.continued_source,
            judge=self._judge,
        )

    def _window(self, incremental_list: IncrementalList, filters: dict[str, Any]) -> ExplicitWindow:
        from airflow_provider_drchrono.incremental.window import current_practice
        from airflow_provider_drchrono.sensors.base.explicit_window import ExplicitWindow

        return ExplicitWindow.of(
            self._selection(incremental_list, filters),
            since=self.since,
            until=self.until,
            timezones=lambda: current_practice(self.hook, None, utcnow(), incremental_list.timezone).timezones,
            now=utcnow(),
        )

    def _name(self, context: Context) -> CursorName:
        from airflow_provider_drchrono.incremental.cursor import CursorName

        return CursorName.of_instance(instance_of(context, self))

    @contextmanager
    def _soft(self) -> Iterator[None]:
        """Skip instead of failing where that is asked for, as Airflow does for sensors that do not defer."""
        try:
            yield
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except (AirflowSensorTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failing: {error}") from None
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failing: {error}") from None
            raise


def _quiet_window(window: ExplicitWindow) -> str:
    """Say what the sensor waits for that reads a window of its own."""
    if window.due is not None:
        return f"the window ends at {window.until} by the practice's clock, and is read after that"
    return f"nothing has changed since {window.since} by the practice's clock"


def utcnow() -> datetime:
    """Return the present by this machine's clock."""
    return datetime.now(UTC)
