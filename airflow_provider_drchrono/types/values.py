"""What a value in ``data`` or ``filters`` may be: the value itself, a template, or another task's output."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from os import PathLike
from typing import TypeAlias, TypedDict, TypeVar

from airflow.sdk import ObjectStoragePath, XComArg

T = TypeVar("T")


class FileContent(TypedDict):
    """A file that comes without a place of its own: its name, and its bytes or those bytes as base64 text."""

    name: str
    content: bytes | str


Text: TypeAlias = str | XComArg
Whole: TypeAlias = int | str | XComArg
Number: TypeAlias = int | float | Decimal | str | XComArg
Flag: TypeAlias = bool | str | XComArg
Date: TypeAlias = datetime.date | str | XComArg
Moment: TypeAlias = datetime.datetime | str | XComArg
Time: TypeAlias = datetime.time | str | XComArg
Given: TypeAlias = T | XComArg | str
OneOrMany: TypeAlias = T | Sequence[T] | XComArg | str
File: TypeAlias = PathLike[str] | ObjectStoragePath | FileContent | bytes | str | XComArg
