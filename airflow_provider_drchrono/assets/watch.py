"""Checks the arguments of a watched asset, and spells them in one way: equal arguments are one asset to Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_drchrono.assets.uri import DrChronoUri, InvalidAssetError, check_watched
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.client.filters import Filters
from airflow_provider_drchrono.client.values import SET_TIMEZONE

if TYPE_CHECKING:
    from airflow_provider_drchrono.incremental.lists import Change

POLL_INTERVAL = 360.0
"""Seconds. At that pace all lists of a practice together take less than half of the quota."""

SHORTEST_POLL_INTERVAL = 10.0
"""Seconds. One watch that polls more often uses the whole quota up, and lists show changes later than that."""

LONGEST_NAME = 180
"""Characters of an asset's name: the variable that remembers how far its watch has come bears it too."""

WORDS = ("now", "beginning")

PRIVATE = "may name a person, and Airflow stores and shows what an asset watches: use the sensor of the list instead"

# Where a time has no zone it is the practice's, which may be ahead of UTC by as much.
_FARTHEST_EAST = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and how, in canonical form.

    :param filters: values as JSON has them.
    :param watch_fields: in the order of the alphabet, as their order means nothing; None for any change.
    :param start: ``now``, ``beginning``, or a time in ISO 8601.
    :param lookback: seconds.
    :param poll_interval: seconds.
    :param given_name: the asset's name, where it was given one.
    """

    conn_id: str
    resource: str
    filters: Mapping[str, Any]
    change: Change
    watch_fields: tuple[str, ...] | None
    verbose: bool
    start: str
    lookback: float
    poll_interval: float
    given_name: str | None

    @classmethod
    def of(
        cls,
        resource: object,
        *,
        filters: object,
        change: object,
        watch_fields: object,
        verbose: object,
        start: object,
        lookback: object,
        poll_interval: object,
        drchrono_conn_id: object,
        name: object,
    ) -> Watch:
        """Check the arguments of ``drchrono_asset``.

        :raises InvalidAssetError: an argument cannot work.
        :raises InvalidAssetError: the resource cannot be watched.
        """
        facts = check_watched(_text("resource", resource))
        chosen = next((each for each in facts.changes if each == change), None)
        if chosen is None:
            options = ", ".join(map(repr, facts.changes))
            raise InvalidAssetError(f"{facts.operation_id}: change must be one of {options}, not {change!r}")
        if verbose not in (True, False) or (verbose and not facts.verbose):
            raise InvalidAssetError(f"{facts.operation_id}: verbose must be False; the list has no verbose form")
        watch = cls(
            conn_id=_text("drchrono_conn_id", drchrono_conn_id),
            resource=str(resource),
            filters=_filters(str(resource), filters),
            change=chosen,
            watch_fields=_watch_fields(facts.operation_id, watch_fields, chosen, verbose=bool(verbose)),
            verbose=bool(verbose),
            start=_start(start),
            lookback=facts.lookback if lookback is None else _seconds("lookback", lookback, 0.0),
            poll_interval=_seconds("poll_interval", poll_interval, SHORTEST_POLL_INTERVAL),
            given_name=None if name is None else _text("name", name),
        )
        watch._check_name()
        return watch

    @property
    def own_lookback(self) -> float | None:
        """The lookback in seconds; None where it is that of the list, which a connection may know better."""
        return None if self.lookback == check_watched(self.resource).lookback else self.lookback

    @property
    def options(self) -> dict[str, str]:
        """What differs from the defaults, as text.

        How often is polled, and how far back, is not among them: it says nothing of what is watched, and an asset of
        another name would begin anew.
        """
        all_options = (
            ("name", self.given_name or "", ""),
            ("start", self.start, WORDS[0]),
            ("verbose", _spelt(self.verbose), _spelt(False)),
            ("watch_fields", ",".join(self.watch_fields or ()), ""),
        )
        return {name: value for name, value, default in all_options if value != default}

    @property
    def selection(self) -> dict[str, str]:
        """The filters, as text."""
        return {name: _spelt(value) for name, value in self.filters.items()}

    @property
    def uri(self) -> str:
        """The asset's URI."""
        query = {"watch": self.change, **self.selection, **self.options}
        return str(DrChronoUri(self.conn_id, self.resource, query))

    @property
    def name(self) -> str:
        """The asset's name: the one it was given, or one that says what is watched and needs no quotes in a shell."""
        if self.given_name is not None:
            return self.given_name
        details = [f"{key}={quote(value, safe=',/:')}" for key, value in (self.selection | self.options).items()]
        return ":".join([f"{quote(self.conn_id, safe='')}/{self.resource}", self.change, *details])

    def _check_name(self) -> None:
        if self.name != self.name.strip() or not self.name.isprintable() or len(self.name) > LONGEST_NAME:
            whose = "name" if self.given_name is not None else "the name that is made of the arguments"
            raise InvalidAssetError(
                f"{self.resource}: {whose} must be {LONGEST_NAME} printable characters at most, with no space at an "
                "end; give the asset a short name="
            )


def _filters(resource: str, given: object) -> dict[str, Any]:
    """Return the filters of an asset in canonical form, by name."""
    from airflow_provider_drchrono.common.arguments import incremental_filters, is_template

    private = {each.name: PRIVATE for each in incremental_filters(resource).parameters.values() if not each.public}
    filters = Filters.of_incremental(load(), resource, reserved=private)
    if not isinstance(given, Mapping | None):
        raise InvalidAssetError(
            f"{filters.operation_id}: filters must be a mapping of names to values; an asset takes no template"
        )
    if templates := [name for name, value in (given or {}).items() if is_template(value)]:
        raise InvalidAssetError(
            f"{filters.operation_id}: filters[{templates[0]!r}] must be a value; an asset takes no template"
        )
    try:
        checked = filters.checked(given)
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        return dict(sorted(checked.items()))
    # An asset is told from others by its values, before anything knows the connection.
    raise InvalidAssetError(problem.removesuffix(". Nothing was sent").replace(SET_TIMEZONE, ""))


def _watch_fields(operation_id: str, given: object, change: str, *, verbose: bool) -> tuple[str, ...] | None:
    from airflow_provider_drchrono.common.arguments import checked_watch_fields

    try:
        names = checked_watch_fields(operation_id, given, change=change, verbose=verbose)
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        return None if names is None else tuple(sorted(names))
    raise InvalidAssetError(problem)


def _text(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value or "{" in value:
        raise InvalidAssetError(f"{argument} of an asset must be text; an asset takes no template and no task's output")
    return value


def _seconds(argument: str, value: object, least: float) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise InvalidAssetError(f"{argument} must be a timedelta or seconds, {least:g} or more")
    return float(value)


def _start(start: object) -> str:
    """Return where a watch begins; equal times in one spelling."""
    if start in WORDS:
        return str(start)
    moment = _moment(start)
    if moment is None:
        raise InvalidAssetError(
            "start must be 'now', 'beginning', or a date or time such as 2026-01-31T08:00:00, by the practice's clock "
            "or with an offset; an asset takes no template"
        )
    if (moment - _FARTHEST_EAST if moment.tzinfo is None else moment) > datetime.now(UTC).replace(tzinfo=moment.tzinfo):
        raise InvalidAssetError("start is in the future, where nothing has changed yet; leave it out to begin now")
    return moment.date().isoformat() if moment.tzinfo is None and moment.time() == time() else moment.isoformat()


def _moment(value: object) -> datetime | None:
    """Return a time in UTC, or without a zone where it had none; None where it is no time."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _spelt(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
