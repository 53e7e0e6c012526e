"""The event that the watcher of an asset makes of a poll: which list changed and when, never what its records say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

VERSION = 1
"""Of the payload; payloads stay in Airflow's database for as long as asset events do."""

MOST_IDS = 1_000
"""How many ids an event names; a task that reads the records finds the others."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """What a poll found.

    :param asset: name of the asset.
    :param resource: the list that was asked.
    :param since: naive wall-clock time of the practice, in ISO 8601, from which on was asked; None for everything.
    :param until: instant of the poll by the server's clock, in ISO 8601 with an offset. It tells one event of an
        asset from another.
    :param count: how many records there are.
    :param ids: of the records, at most :data:`MOST_IDS`.
    """

    asset: str
    resource: str
    since: str | None
    until: str
    count: int
    ids: tuple[int | str, ...]

    def payload(self) -> dict[str, Any]:
        """Return it as the event of a trigger carries it."""
        return {
            "version": VERSION,
            "asset": self.asset,
            "resource": self.resource,
            "since": self.since,
            "until": self.until,
            "count": self.count,
            "ids": list(self.ids),
        }

    @classmethod
    def read(cls, payload: object) -> ChangeEvent:
        """Return the event that a payload holds.

        :raises ValueError: it holds none; the message names the fields and not what is in them.
        """
        if not isinstance(payload, Mapping):
            raise ValueError(f"no change event: {type(payload).__name__} in place of an object")
        if "version" in payload and payload["version"] != VERSION:
            raise ValueError(
                f"a change event in version {str(payload['version'])[:20]!r}, and this release reads version {VERSION}"
            )
        wrong = [name for name, fits in _FITS.items() if name not in payload or not fits(payload[name])]
        wrong += ["version"] if "version" not in payload else []
        if wrong:
            raise ValueError(f"no change event: nothing that fits under {', '.join(wrong)}")
        return cls(**{name: payload[name] for name in _FITS} | {"ids": tuple(payload["ids"])})


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_wall_clock_time(value: object) -> bool:
    return value is None or _has_zone(value) is False


def _is_instant(value: object) -> bool:
    return _has_zone(value) is True


def _has_zone(value: object) -> bool | None:
    """Tell whether a time in ISO 8601 has a zone; None where it is no time."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None if isinstance(value, str) else None
    except ValueError:
        return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_ids(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, int | str) and not isinstance(each, bool) for each in value
    )


_FITS = {
    "asset": _is_name,
    "resource": _is_name,
    "since": _is_wall_clock_time,
    "until": _is_instant,
    "count": _is_count,
    "ids": _are_ids,
}
