"""What ``drchrono_asset`` takes for every list, as a type that editors and type checkers see."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TypedDict


class AssetOptions(TypedDict, total=False):
    """The arguments of ``drchrono_asset`` that are the same for every list; its docstring says what each does."""

    watch_fields: Sequence[str] | None
    start: datetime.date | str
    lookback: datetime.timedelta | float | None
    poll_interval: datetime.timedelta | float
    drchrono_conn_id: str
    name: str | None
