"""Offers the name that somebody may have meant; every layer may use it, as it stands below them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

CUTOFF = 0.6
"""How alike two names have to be, from 0 to 1."""


def nearest(name: object, known: Iterable[str], *, most: int = 1, cutoff: float = CUTOFF) -> list[str]:
    """Return the known names that are most like a name, the best first.

    :param most: how many at most.
    :param cutoff: how alike they have to be, from 0 to 1.
    """
    return difflib.get_close_matches(str(name), list(known), n=most, cutoff=cutoff)


def did_you_mean(name: object, known: Iterable[str], *, most: int = 1) -> str:
    """Return ``" (did you mean 'first_name'?)"`` to put behind an unknown name; empty where no known name is near."""
    return offered(nearest(name, known, most=most))


def offered(names: Sequence[str]) -> str:
    """Return ``" (did you mean 'one' or 'other'?)"``; empty without names."""
    return f" (did you mean {' or '.join(map(repr, names))}?)" if names else ""
