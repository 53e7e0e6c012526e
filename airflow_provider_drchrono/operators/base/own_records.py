"""Tells the record that a create made from the records of others, when the create's answer was lost.

A record counts as the task's own only if it was not there before the create was sent, is not older where it shows its
creation, has the values that were sent, and no other record could be meant. Everything else is in doubt. What cannot
be told apart is a record with the same values in every field that somebody else created at the same time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import Resource
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.operators.base.lookup import Lookup, Record
from airflow_provider_drchrono.state.sent_marker import SentCreate

CLOCKS_DIFFER = timedelta(minutes=2)
"""So much the clocks of the API's servers may differ."""

FARTHEST_ZONE = timedelta(hours=12)
"""The farthest that local time is behind UTC. Records show the practice's wall clock without its zone."""


class InDoubtError(DrChronoError):
    """Records that may be the task's own, or somebody else's.

    :param ids: their ids, as far as they have any.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"{len(ids)} records may be meant")
        self.ids = ids


def fingerprint_of(secret: str, lookups: Sequence[Lookup], records: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of the values that are looked for, in any order, that says nothing to who lacks the secret."""
    keys = sorted(repr(lookup.key(record)) for lookup, record in zip(lookups, records, strict=True))
    return hmac.new(secret.encode(), "\0".join(keys).encode(), hashlib.sha256).hexdigest()[:16]


def identity_of(resource: Resource, record: Mapping[str, Any]) -> str | None:
    """Return what tells a record from others of its resource; None where nothing does."""
    parts = [record.get(name) for name in resource.key]
    return None if not parts or None in parts else "/".join(map(str, parts))


class OwnRecords:
    """Picks the records that a lost create made.

    :param resource: of the records.
    :param sent: what was known before the create was sent.
    :param zone: IANA name of the practice's time zone, if it is known.
    """

    def __init__(self, resource: Resource, sent: SentCreate, zone: str | None) -> None:
        self._resource = resource
        self._sent = sent
        self._zone = zone

    def pick(
        self, lookups: Sequence[Lookup], records: Sequence[Mapping[str, Any]], found: Sequence[Sequence[Record]]
    ) -> list[Record | None]:
        """Return for each of ``records`` what the create made of it, and None where it made nothing.

        :param records: what was sent.
        :param found: for each of them, all records that are the same by the look-up.
        :raises InDoubtError: a match may be ours or somebody else's.
        """
        own: list[Record | None] = [None] * len(records)
        same: dict[tuple[object, ...], list[int]] = {}
        for index, (lookup, record) in enumerate(zip(lookups, records, strict=True)):
            same.setdefault(lookup.key(record), []).append(index)
        for indexes in same.values():
            new = sorted((each for each in found[indexes[0]] if self._may_be_new(each)), key=age)
            ids = [str(identity_of(self._resource, each)) for each in new]
            if new and (self._sent.existing is None or len(new) > len(indexes) or not self._resource.key):
                raise InDoubtError(ids)
            free = list(indexes)
            for record in new:
                fitting = [at for at in free if not lookups[at].contradicts(records[at], record)]
                if not fitting:
                    raise InDoubtError(ids)
                own[fitting[0]] = record
                free.remove(fitting[0])
        return own

    def _may_be_new(self, record: Record) -> bool:
        if self._sent.existing is not None and identity_of(self._resource, record) in self._sent.existing:
            return False
        return not self._is_older(record.get("created_at"))

    def _is_older(self, created_at: object) -> bool:
        """Tell whether a record was certainly created before the create was sent."""
        if self._sent.checked_at is None or not isinstance(created_at, str):
            return False
        try:
            created = datetime.fromisoformat(created_at)
        except ValueError:
            return False
        if created.tzinfo is None and self._zone:
            # In the hour that the clock is set back, the later of the two moments.
            created = created.replace(tzinfo=ZoneInfo(self._zone), fold=1)
        elif created.tzinfo is None:
            created = created.replace(tzinfo=UTC) + FARTHEST_ZONE
        return created + CLOCKS_DIFFER < self._sent.checked_at


def age(record: Record) -> tuple[int, str]:
    """Order records by when they were made: ids are given out in ascending order, and are text in some lists."""
    identity = str(record.get("id"))
    # An occurrence of a recurring visit has its day before the number of the series.
    number = identity.rpartition("_")[2]
    return (int(number) if number.isdecimal() else -1), identity
