"""Judges whether a read that succeeded may have come back with less than there is.

DrChrono answers a list with 200 and nothing, instead of refusing it, to a grant that may not see the records. So a
sensor, a sync or an operator that trusts each success would go on for months without a record and without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.client.permissions import lacks_scope, rights_to_see

log = logging.getLogger(__name__)

OnSuspicious: TypeAlias = Literal["warn", "fail"]
"""What follows where a read may hide records: a warning in the log, or a task that fails and keeps nothing."""

ON_SUSPICIOUS: tuple[OnSuspicious, ...] = get_args(OnSuspicious)

FEWEST_SHARE = 0.5
"""A complete read that returns less than this share of what there was is suspicious."""

LEAST_SEEN = 0.9
"""Of a complete read that sees a smaller share of what is known, nothing is marked as deleted. That takes more than a
warning does, as a mark that is wrong hides a row."""

FEW = 10
"""Fewer missing records are not, unless nothing came at all: people delete as many in a day."""


class SuspiciousReadError(DrChronoError):
    """A read may have come back with less than there is, and nothing was concluded from it.

    ``transient`` says whether the same read may be whole when it is simply made again.
    """


@dataclass(frozen=True, slots=True)
class ReadFacts:
    """What is known of a read, in counts.

    :param records: how many records came.
    :param complete: whether it asked for everything: from the beginning, and without filters.
    :param expected: how many a complete read should return about, such as the rows of a table; None if not known.
    :param gaps: pages in the middle of the list, with others after them, that held no record.
    """

    records: int
    complete: bool = False
    expected: int | None = None
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a read may hide records.

    :param kind: ``rights``: the token lacks the scopes of the list, and nothing came; ``missing``: a complete read
        returned far fewer records than there were; ``gap``: a page in the middle of the list was empty.
    :param text: one line with what was seen, the rights that the list takes, and what to do. It holds counts only.
    """

    kind: Literal["rights", "missing", "gap"]
    text: str

    @property
    def may_pass(self) -> bool:
        """Whether the same read may be whole when it is made again at once."""
        return self.kind == "gap"


def suspicions(operation: Operation, read: ReadFacts, granted: Collection[str]) -> list[Suspicion]:
    """Return why a read may hide records; nothing where there is no reason to think so.

    :param operation: the one that lists the records.
    :param granted: the scopes of the token; empty if they are not known.
    """
    rights = rights_to_see(scopes=operation.scopes, permissions=operation.permissions, granted=granted)
    found = []
    if not read.records and lacks_scope(operation.scopes, granted):
        found.append(Suspicion("rights", f"{operation.id}: the list came back empty. {rights}"))
    elif read.complete and is_far_fewer(read.records, read.expected):
        found.append(
            Suspicion(
                "missing",
                f"{operation.id}: a read of everything returned {read.records:,} records, where there were "
                f"{read.expected:,}. If they were not deleted in DrChrono, the grant may not see them any more. "
                f"{rights}",
            )
        )
    if read.gaps:
        found.append(
            Suspicion(
                "gap",
                f"{operation.id}: pages that came without a record in the middle of the list: {read.gaps:,}; the "
                "records that belong there may be missing. Read the list again",
            )
        )
    return found


def is_far_fewer(records: int, expected: int | None) -> bool:
    """Tell whether a complete read returned so few records that most of the others can hardly have been deleted.

    :param records: how many came.
    :param expected: how many there were; None if that is not known.
    """
    if not expected or records >= expected:
        return False
    return records == 0 or (expected - records > FEW and records < expected * FEWEST_SHARE)


def is_believable(known: int, missing: int) -> bool:
    """Tell whether rows that a complete read did not see may be taken for deleted.

    A grant that may see less than before gets shorter lists, and no error.

    :param known: rows that it should have seen.
    :param missing: those of them that it did not see.
    """
    if not missing:
        return True
    return missing < known and (missing <= FEW or known - missing >= known * LEAST_SEEN)


def act_on(found: Sequence[Suspicion], on_suspicious: OnSuspicious) -> None:
    """Warn of each suspicion, or refuse the read.

    :raises SuspiciousReadError: there is one, and ``on_suspicious`` is ``fail``.
    """
    if not found:
        return
    if on_suspicious == "fail":
        raise refusal_of(found)
    for each in found:
        log.warning("%s", each.text)


def refusal_of(found: Sequence[Suspicion]) -> SuspiciousReadError:
    """Return the error by which a read is refused."""
    return SuspiciousReadError(
        " ".join(f"{each.text}." for each in found)
        + " Nothing of this read was kept; on_suspicious='warn' lets such reads through",
        transient=all(each.may_pass for each in found),
    )
