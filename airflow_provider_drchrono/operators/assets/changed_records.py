"""The operator that reads the records that the events of an asset name: exactly those, in exactly one DAG run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice, check_size
from airflow_provider_drchrono.compat import instance_of, run_of
from airflow_provider_drchrono.compat.cached import cached_property
from airflow_provider_drchrono.incremental.suspicion import ON_SUSPICIOUS, OnSuspicious

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.common.results import Output
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.cursor import CursorName, CursorStore
    from airflow_provider_drchrono.incremental.events.event import ChangeEvent
    from airflow_provider_drchrono.incremental.events.reader import EventReader
    from airflow_provider_drchrono.incremental.lists import Selection
    from airflow_provider_drchrono.incremental.suspicion import ReadFacts
    from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger


class DrChronoChangedRecordsOperator(BaseOperator):
    """Read the records that the events of an asset name as new or updated.

    ``GET`` of the list that the asset stands for. It belongs into a DAG that is scheduled by the asset::

        patients = drchrono_asset("patients")

        with DAG("welcome", schedule=[patients]):
            changed = DrChronoChangedRecordsOperator(task_id="changed", asset=patients)

    A run that the asset triggered is given the records of its events. Another run, such as one by hand, is given the
    events since the first run of this task that no run was given: so it catches up where the DAG was paused, or where
    Airflow kept an event back. The first run of all has nothing to catch up with.

    No event is given to two runs; a retry and a cleared task are given the same again. A record that has changed
    again since the event is left to the run that is given that change. So the list can be empty: where all records
    have changed again, where Airflow got an event twice and an earlier run has read it, and where a DAG with several
    assets was triggered by another one.

    :param asset: what :func:`~airflow_provider_drchrono.assets.drchrono_asset` returned.
    :param fields: return only these fields of each record.
    :param max_records: most records to return. More than that is an error, never a silent cut.
    :param batch_size: return a list of lists of at most so many records, to map over more than Airflow maps single
        ones.
    :param output_path: object-storage path or URL of a file to write the records to, one JSON object a line, gzip if
        it ends in ``.gz``; the result is then its path and count.
    :param on_suspicious: what follows where a list may hide records, as it came back empty to a token that lacks its
        scopes, or a page in the middle of it was empty: ``warn`` in the log, or ``fail``; a retry then reads the same.
    """

    template_fields: Sequence[str] = ("fields", "output_path")

    def __init__(
        self,
        *,
        asset: Asset,
        fields: Sequence[str] | XComArg | str | None = None,
        max_records: int = 10_000,
        batch_size: int | None = None,
        output_path: str | None = None,
        on_suspicious: OnSuspicious = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        watching_trigger(asset)
        check_choice(type(self).__name__, "on_suspicious", on_suspicious, ON_SUSPICIOUS)
        check_size(type(self).__name__, max_records, batch_size, output_path)
        self.asset = asset
        self.fields = fields
        self.max_records = max_records
        self.batch_size = batch_size
        self.output_path = output_path
        self.on_suspicious = on_suspicious

    def execute(self, context: Context) -> Any:
        """Find out what this run is to read, read it, and return it.

        :raises AirflowFailException: it is not remembered any more, or what is remembered cannot be read.
        """
        from airflow_provider_drchrono.common.arguments import checked_fields
        from airflow_provider_drchrono.common.outcomes import airflow_outcome
        from airflow_provider_drchrono.common.results import Output
        from airflow_provider_drchrono.incremental.watched_fields import CHANGE_FIELD

        with airflow_outcome():
            selection = watching_trigger(self.asset).selection(self.hook.catalog, self.hook.hash_key)
            operation_id = selection.incremental_list.operation_id
            fields = checked_fields(operation_id, self.fields, verbose=selection.verbose)
            if fields is not None and selection.watched is not None:
                fields = (*fields, CHANGE_FIELD)
            output = Output(operation_id, fields, self.max_records, self.batch_size, self.output_path or None)
            result = self._read(context, selection, output)
        self.log.info("%s: %s", operation_id, output.summary(result))
        return result

    @cached_property
    def hook(self) -> DrChronoHook:
        """The hook of the asset's connection; its client is closed when all is read."""
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        return DrChronoHook(watching_trigger(self.asset).drchrono_conn_id)

    @cached_property
    def cursor_store(self) -> CursorStore:
        """Where the cursor of the asset's watcher is kept."""
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        return VariableCursorStore()

    @cached_property
    def deliveries_store(self) -> CursorStore:
        """The store of what the runs of this task were given."""
        from airflow_provider_drchrono.state.cursor_store import VariableDeliveriesStore

        return VariableDeliveriesStore()

    def _read(self, context: Context, selection: Selection, output: Output) -> Any:
        from airflow_provider_drchrono.incremental.cursor import CursorError, CursorName, ForgottenRunError
        from airflow_provider_drchrono.incremental.events.deliveries import DeliveriesError
        from airflow_provider_drchrono.incremental.events.reader import LostEventError

        name = CursorName.of_instance(instance_of(context, self))
        operation_id = selection.incremental_list.operation_id
        try:
            delivery = self._reader(context, name, selection).take(self._triggering(context, operation_id))
        except (ForgottenRunError, LostEventError) as error:
            raise AirflowFailException(f"{operation_id}: {error}") from None
        except DeliveriesError as error:
            raise AirflowFailException(
                f"{operation_id}: what runs of {name} have read is stored as {error}. Nothing was read. See it with: "
                f"airflow drchrono cursor show {name.arguments}; delete it with: airflow drchrono cursor reset "
                f"{name.arguments}"
            ) from None
        except CursorError as error:
            watcher = CursorName.of_asset(self.asset.name)
            raise AirflowFailException(f"{operation_id}: {watcher.explain(error)}") from None
        events = delivery.events
        if not events:
            self.log.info("%s: there is no event for this run of %s", operation_id, name)
            return output.deliver(())
        self.log.info("%s: reading %d events, the last until %s", operation_id, len(events), events[-1])
        try:
            return output.deliver(delivery.records(self.hook.get_conn(), selection, partial(self._judge, operation_id)))
        finally:
            self.hook.close()

    def _judge(self, operation_id: str, read: ReadFacts) -> bool:
        from airflow_provider_drchrono.incremental.suspicion import act_on

        found = self.hook.suspicions(operation_id, read)
        act_on(found, self.on_suspicious)
        return bool(found)

    def _reader(self, context: Context, name: CursorName, selection: Selection) -> EventReader:
        from airflow_provider_drchrono.incremental.cursor import cleared_from
        from airflow_provider_drchrono.incremental.events.reader import EventReader

        return EventReader(
            self.asset.name,
            selection.incremental_list.resource,
            cursors=self.cursor_store,
            deliveries=self.deliveries_store,
            name=name,
            run_id=run_of(context),
            cleared_from=cleared_from(context.get("dag_run")),
        )

    def _triggering(self, context: Context, operation_id: str) -> list[ChangeEvent] | None:
        """Return the events of the asset that triggered the run; None where no event did.

        An event that a person made by hand names no records. A run with no other event is treated like a run by hand.
        """
        from airflow_provider_drchrono.incremental.events.event import ChangeEvent

        all_events: Any = context.get("triggering_asset_events", {})
        events = all_events.get(self.asset, ())
        if not events:
            # Looking an asset up adds it, so how many there are says nothing.
            by_another = (
                any(all_events.values()) or getattr(context.get("dag_run"), "run_type", "") == "asset_triggered"
            )
            return [] if by_another else None
        payloads = [event.extra["payload"] for event in events if "payload" in (event.extra or {})]
        try:
            return [ChangeEvent.read(payload) for payload in payloads] or None
        except ValueError as error:
            problem = str(error)
        raise AirflowFailException(
            f"{operation_id}: an event of asset {self.asset.name} holds {problem}. Nothing was read. The asset's "
            "watcher did not make it, or one of another release; trigger a run by hand to read what is not read yet"
        )


def watching_trigger(asset: object) -> DrChronoIncrementalTrigger:
    """Return the trigger that watches an asset.

    :raises InvalidArgumentError: there is none of ours.
    """
    from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

    given = type(asset).__name__
    if isinstance(asset, Asset):
        for watcher in asset.watchers:
            if isinstance(watcher.trigger, DrChronoIncrementalTrigger) and watcher.trigger.watch == asset.name:
                return watcher.trigger
        given = f"asset {asset.name}, which nothing of DrChrono watches"
    raise InvalidArgumentError(
        "DrChronoChangedRecordsOperator: asset must be what drchrono_asset(...) returned, the one that is in the DAG's "
        f"schedule, not {given}"
    )
