"""Whole practices in one line: DAGs, or a group of tasks of one's own DAG, that keep many tables up to date."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from airflow.sdk import DAG, TaskGroup

from airflow_provider_drchrono.catalog import Resource, UnknownNameError, load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.base.list_arguments import check_arguments
from airflow_provider_drchrono.transfers.drchrono_sync_plan import DrChronoSyncPlanOperator, OnOverrun
from airflow_provider_drchrono.transfers.drchrono_sync_report import DrChronoSyncReportOperator
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from airflow_provider_drchrono.transfers.extraction import ListFacts
from airflow_provider_drchrono.transfers.verification import check_verification

Schedule: TypeAlias = str | timedelta

Overrides: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Arguments of :class:`DrChronoToWarehouseOperator` for single resources, by the resource's name."""

REST: Literal["rest"] = "rest"
"""Of a tier: all resources that no other tier names."""

START = datetime(2026, 1, 1, tzinfo=UTC)

_RUNS_COMPARED = 32

# What the group says itself for each sync.
_OURS = frozenset({"resource", "warehouse_conn_id", "drchrono_conn_id", "kwargs", "self"})
_CHECKED_EARLY = (
    "filters", "extra_filters", "read_by", "complete_every", "on_suspicious",
    "columns", "exclude", "mask", "profile", "privacy_conn_id", "verbose", "history",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyncTier:
    """Resources that are synced on one schedule.

    :param schedule: a cron expression, a preset such as ``@hourly``, or a timedelta.
    :param resources: names of resources, those that matter most first; or ``rest``.
    """

    schedule: Schedule
    resources: Sequence[str] | Literal["rest"] = REST


def drchrono_sync(
    *,
    warehouse_conn_id: str,
    resources: Sequence[str] | Literal["all"] = "all",
    exclude: Collection[str] = (),
    schedule: Schedule = "@hourly",
    nightly_schedule: Schedule | None = "30 2 * * *",
    tiers: Mapping[str, SyncTier] | None = None,
    drchrono_conn_id: str = DrChronoHook.default_conn_name,
    dag_id: str = "drchrono_sync",
    overrides: Overrides | None = None,
    report_path: str | None = None,
    on_overrun: OnOverrun = "warn",
    pool: str | None = None,
    parallel: int | None = 4,
    start_date: datetime = START,
    default_args: Mapping[str, Any] | None = None,
    tags: Collection[str] = ("drchrono", "warehouse"),
    **sync_arguments: Any,
) -> dict[str, DAG]:
    """Create the DAGs that keep tables of a warehouse up to date: one for each tier.

    Lists that tell what has changed are cheap to follow and are read on ``schedule``; the others are read whole each
    time, on ``nightly_schedule``. A file with this one call is a whole DAG file::

        from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

        drchrono_sync(warehouse_conn_id="warehouse", schedule="@hourly")

    Each DAG has the tasks of :func:`drchrono_sync_group`. No connection, database or network is needed to parse it.

    :param warehouse_conn_id: Airflow connection of the database.
    :param resources: what to sync, those that matter most first; or ``all`` that can be listed without a filter.
    :param exclude: resources to leave out of ``all``.
    :param schedule: when lists that tell what has changed are read: a cron expression, a preset or a timedelta.
    :param nightly_schedule: when the others are read; None: on ``schedule``, too.
    :param tiers: the tiers by name, instead of the two schedules.
    :param drchrono_conn_id: Airflow connection of DrChrono.
    :param dag_id: begins the ids of the DAGs: ``<dag_id>_hourly`` and ``<dag_id>_nightly``, or the names of ``tiers``.
    :param overrides: arguments of single syncs, as in ``{"patients": {"history": True}}``.
    :param report_path: file for the report of each run, ``.md`` or ``.html``; a template such as
        ``/reports/{{ dag.dag_id }}/{{ run_id }}.html``.
    :param on_overrun: ``warn`` or ``fail`` where a run takes more calls than DrChrono allows until the next one.
    :param pool: Airflow pool of the syncs.
    :param parallel: how many syncs of one run are underway at a time; None: as many as Airflow lets.
    :param start_date: of the DAGs. Runs of the past are not made up for: one run brings everything up to date.
    :param default_args: Airflow's arguments of all tasks; by default three retries, a minute apart.
    :param tags: tags of the DAGs.
    :param sync_arguments: arguments of :class:`DrChronoToWarehouseOperator` for all syncs, such as ``schema``.
    :return: the DAGs by the names of their tiers. Airflow finds them without a variable.
    :raises InvalidArgumentError: a resource, a tier or an argument cannot be right.
    """
    chosen, left_out = _chosen(resources, exclude, overrides)
    syncs = _syncs(chosen, overrides or {}, sync_arguments)
    divided = _divided(chosen, tiers, schedule, nightly_schedule, everything=resources == "all")
    dags = {}
    for name, (tier_schedule, tier_resources) in divided.items():
        with DAG(
            dag_id=f"{dag_id}_{name}",
            schedule=tier_schedule,
            start_date=start_date,
            catchup=False,
            max_active_runs=1,
            default_args={"retries": 3, "retry_delay": timedelta(minutes=1), **(default_args or {})},
            tags=list(tags),
            doc_md=f"Keeps {len(tier_resources)} tables up to date with DrChrono: {', '.join(tier_resources)}.",
        ) as dag:
            _group(
                syncs={each: syncs[each] for each in tier_resources},
                left_out=left_out,
                warehouse_conn_id=warehouse_conn_id,
                drchrono_conn_id=drchrono_conn_id,
                interval=interval_of(tier_schedule),
                report_path=report_path,
                on_overrun=on_overrun,
                pool=pool,
                parallel=parallel,
                group_id="drchrono",
            )
        dags[name] = dag
    return dags


def drchrono_sync_group(
    *,
    warehouse_conn_id: str,
    resources: Sequence[str] | Literal["all"],
    exclude: Collection[str] = (),
    drchrono_conn_id: str = DrChronoHook.default_conn_name,
    interval: timedelta | None = None,
    overrides: Overrides | None = None,
    report_path: str | None = None,
    on_overrun: OnOverrun = "warn",
    pool: str | None = None,
    parallel: int | None = 4,
    group_id: str = "drchrono",
    **sync_arguments: Any,
) -> TaskGroup:
    """Create the tasks that keep tables up to date, as a group of the DAG that is being defined.

    ``plan`` says what the run will cost, ``sync`` has a mapped instance for each resource, and ``report`` says what
    they came to, also when some have failed. The report is a teardown: what comes after the group waits for the syncs,
    and the DAG run fails if one of them does::

        with DAG("practice", schedule="@daily"):
            drchrono_sync_group(warehouse_conn_id="warehouse", resources=["patients", "appointments"]) >> dbt_run

    :param interval: time between two runs, for the plan's arithmetic; None: nothing is judged.
    :param group_id: name of the group, and prefix of the ids of its tasks.
    :raises InvalidArgumentError: a resource or an argument cannot be right.

    The other parameters are those of :func:`drchrono_sync`.
    """
    chosen, left_out = _chosen(resources, exclude, overrides)
    return _group(
        syncs=_syncs(chosen, overrides or {}, sync_arguments),
        left_out=left_out,
        warehouse_conn_id=warehouse_conn_id,
        drchrono_conn_id=drchrono_conn_id,
        interval=interval,
        report_path=report_path,
        on_overrun=on_overrun,
        pool=pool,
        parallel=parallel,
        group_id=group_id,
    )


def interval_of(schedule: object) -> timedelta | None:
    """Return the shortest time between two runs; None where the schedule does not say it.

    :raises InvalidArgumentError: it is text, and no cron expression.
    """
    if isinstance(schedule, timedelta):
        return schedule
    if not isinstance(schedule, str) or schedule in ("@once", "@continuous"):
        return None
    # One of Airflow's own dependencies, which carries no types.
    from croniter import CroniterBadCronError, croniter  # type: ignore[import-untyped]

    try:
        times = croniter(schedule, START)
        runs: list[datetime] = [times.get_next(datetime) for _ in range(_RUNS_COMPARED)]
    except (CroniterBadCronError, ValueError):
        raise InvalidArgumentError(
            f"drchrono_sync: schedule {schedule!r} is no cron expression and no preset such as @hourly"
        ) from None
    return min(later - earlier for earlier, later in pairwise(runs))


def _group(
    *,
    syncs: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, str],
    warehouse_conn_id: str,
    drchrono_conn_id: str,
    interval: timedelta | None,
    report_path: str | None,
    on_overrun: OnOverrun,
    pool: str | None,
    parallel: int | None,
    group_id: str,
) -> TaskGroup:
    tables = {name: _table_of(name, given) for name, given in syncs.items()}
    options = {} if pool is None else {"pool": pool}
    with TaskGroup(group_id) as group:
        plan = DrChronoSyncPlanOperator(
            task_id="plan",
            tables=tables,
            warehouse_conn_id=warehouse_conn_id,
            drchrono_conn_id=drchrono_conn_id,
            schemas={name: given["schema"] for name, given in syncs.items() if given.get("schema")},
            interval=interval,
            on_overrun=on_overrun,
        )
        sync = DrChronoToWarehouseOperator.partial(
            task_id="sync",
            warehouse_conn_id=warehouse_conn_id,
            drchrono_conn_id=drchrono_conn_id,
            map_index_template="{{ task.table or task.resource }}",
            max_active_tis_per_dagrun=parallel,
            **options,
        ).expand_kwargs([{"resource": name, **given} for name, given in syncs.items()])
        report = DrChronoSyncReportOperator(
            task_id="report",
            sync_task_id=sync.task_id,
            tables=tables,
            left_out=left_out,
            report_path=report_path,
            drchrono_conn_id=drchrono_conn_id,
        ).as_teardown()
        plan >> sync >> report
    return group


def _syncs(resources: Sequence[str], overrides: Overrides, for_all: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the arguments of each sync, by resource.

    :raises InvalidArgumentError: one of them cannot be right, or two syncs would fill the same table.
    """
    syncs: dict[str, Mapping[str, Any]] = {}
    filled: dict[tuple[Any, str], str] = {}
    for name in resources:
        given = {**for_all, **overrides.get(name, {})}
        _check_sync(name, given)
        table = _table_of(name, given)
        other = filled.setdefault((given.get("schema"), table), name)
        if other != name:
            raise InvalidArgumentError(
                f"drchrono_sync: {other} and {name} would fill the table {table}; give one of them another table in "
                "overrides"
            )
        syncs[name] = given
    return syncs


def _table_of(resource: str, given: Mapping[str, Any]) -> str:
    return str(given.get("table") or resource)


def _check_sync(resource: str, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in _sync_parameters():
            raise InvalidArgumentError(
                f"drchrono_sync: a sync has no argument {name!r}{did_you_mean(name, sorted(_sync_parameters()))}"
            )
    early = {name: given[name] for name in _CHECKED_EARLY if name in given}
    check_arguments("drchrono_sync", resource=resource, **early)
    check_verification("drchrono_sync", given.get("verify"), given.get("verify_sample", 0))


@cache
def _sync_parameters() -> frozenset[str]:
    return frozenset(inspect.signature(DrChronoToWarehouseOperator.__init__).parameters) - _OURS


def _chosen(
    resources: Sequence[str] | Literal["all"], exclude: Collection[str], overrides: Overrides | None
) -> tuple[list[str], dict[str, str]]:
    """Return the resources to sync, and why others are left out.

    :raises InvalidArgumentError: a name is unknown, or none is left.
    """
    if isinstance(exclude, str) or (isinstance(resources, str) and resources != "all"):
        raise InvalidArgumentError(
            "drchrono_sync: resources and exclude are lists of names; resources may also be 'all'"
        )
    for argument, names in (("resources", () if resources == "all" else resources), ("exclude", exclude)):
        _check_names(argument, names)
    _check_names("overrides", overrides or {})
    if resources != "all" and exclude:
        raise InvalidArgumentError("drchrono_sync: exclude goes with resources='all'; leave the names out instead")
    chosen, left_out = _all(exclude, overrides or {}) if resources == "all" else (list(dict.fromkeys(resources)), {})
    if not chosen:
        raise InvalidArgumentError("drchrono_sync: resources names none; name one, or say 'all'")
    if unused := [name for name in overrides or {} if name not in chosen]:
        raise InvalidArgumentError(f"drchrono_sync: overrides are for {unused[0]}, which is not synced")
    return chosen, left_out


def _all(exclude: Collection[str], overrides: Overrides) -> tuple[list[str], dict[str, str]]:
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for resource in load().tables:
        assert resource.list_operation is not None  # noqa: S101 - it would be no table
        given = overrides.get(resource.name, {}).get("filters") or {}
        missing = [each.name for each in resource.list_operation.filters if each.required and each.name not in given]
        if resource.name in exclude:
            left_out[resource.name] = "excluded"
        elif missing:
            named = ", ".join(f"'{name}': ..." for name in missing)
            left_out[resource.name] = f"needs overrides={{'{resource.name}': {{'filters': {{{named}}}}}}}"
        else:
            chosen.append(resource.name)
    return chosen, left_out


def _check_names(argument: str, names: Collection[str]) -> None:
    for name in names:
        try:
            load().resource(name)
        except UnknownNameError as error:
            raise InvalidArgumentError(f"drchrono_sync: {argument}: {error}") from None


def _divided(
    chosen: Sequence[str],
    tiers: Mapping[str, SyncTier] | None,
    schedule: Schedule,
    nightly_schedule: Schedule | None,
    *,
    everything: bool,
) -> dict[str, tuple[Schedule, list[str]]]:
    """Return the schedule and the resources of each tier that has any."""
    if tiers is None:
        whole = [] if nightly_schedule is None else [name for name in chosen if not _tells_changes(name)]
        changes = [name for name in chosen if name not in whole]
        found = {"hourly": (schedule, changes), "nightly": (nightly_schedule or schedule, whole)}
        return {name: tier for name, tier in found.items() if tier[1]}
    named: dict[str, str] = {}
    for tier, each in tiers.items():
        for resource in () if each.resources == REST else each.resources:
            if resource not in chosen:
                _check_names(f"tiers[{tier!r}]", [resource])
                raise InvalidArgumentError(f"drchrono_sync: tiers[{tier!r}] names {resource}, which is not synced")
            if named.setdefault(resource, tier) != tier:
                raise InvalidArgumentError(f"drchrono_sync: {resource} is in two tiers, {named[resource]} and {tier}")
    rest = [name for name in chosen if name not in named]
    rests = [tier for tier, each in tiers.items() if each.resources == REST]
    if len(rests) > 1:
        raise InvalidArgumentError(f"drchrono_sync: the tiers {' and '.join(rests)} cannot both have the rest")
    if rest and not rests and not everything:
        raise InvalidArgumentError(f"drchrono_sync: {rest[0]} is in no tier; name it in one, or give one the 'rest'")
    divided = {}
    for tier, each in tiers.items():
        members = rest if each.resources == REST else list(each.resources)
        if members:
            divided[tier] = (each.schedule, members)
    return divided


def _tells_changes(name: str) -> bool:
    resource: Resource = load().resource(name)
    return ListFacts.of(load(), resource).by_change
