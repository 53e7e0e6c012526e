"""The facts of a list by which the arguments of a watched asset are checked while a DAG is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_provider_drchrono.incremental.lists import Change

Kind = Literal["integer", "boolean", "text", "date", "time", "range"]


@dataclass(frozen=True, slots=True)
class WatchedList:
    """A list that can be asked for changes.

    :param operation_id: the operation that lists it.
    :param since_filter: the filter that a watch sets by itself.
    :param changes: the values that ``change`` may have for this list.
    :param lookback: seconds that a change may take until the list shows it.
    :param verbose: whether the list has a verbose form.
    :param filters: what may be selected, with the kind of value.
    :param private: filters by text that may name a person, which Airflow's database is not to hold.
    """

    operation_id: str
    since_filter: str
    changes: tuple[Change, ...]
    lookback: float
    verbose: bool
    filters: Mapping[str, Kind]
    private: tuple[str, ...]
