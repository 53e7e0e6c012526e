"""Keeps tasks to the folders and object stores whose files they may use, where the deployment names any.

The author of a DAG can read whatever the worker can, with or without this provider. But a path may also come while a
task runs, from the configuration of a DAG run, another task or a record, and then whoever wrote that could have any
file of the worker sent to DrChrono, or overwritten. So the fence stands in Airflow's configuration, where neither can
move it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from airflow.sdk import ObjectStoragePath, conf

from airflow_provider_drchrono.client.errors import ConfigurationError, DrChronoError

SECTION = "drchrono"
OPTION = "allowed_file_roots"

LOCAL = ("", "file", "local")
"""Schemes of paths on the worker itself."""

OUTSIDE = (
    f"is outside of the folders that tasks may use; take a path in one of them, or have its folder added to {OPTION} "
    f"in the section [{SECTION}] of Airflow's configuration"
)


class OutsideError(DrChronoError, ValueError):
    """A path leads to where tasks may not read or write. The message does not repeat it."""


class _Place(NamedTuple):
    """A folder or a file in an object store; an empty host or connection stands for any."""

    scheme: str
    connection: str
    host: str
    folders: tuple[str, ...]


def place_of(text: str) -> Path | ObjectStoragePath:
    """Return what a path of this machine, or a URL of an object store, names.

    :raises ValueError: it is on a kind of storage that is not installed. The message does not repeat it.
    """
    if "://" not in text:
        return Path(text).expanduser()
    try:
        return ObjectStoragePath(text)
    except (ValueError, ImportError):
        pass
    # Raised out here: the original error repeats the path.
    raise ValueError("is on a kind of storage that is not installed; install the Airflow provider for its URL scheme")


def inside_fence(place: Path | ObjectStoragePath) -> Path | ObjectStoragePath:
    """Return a path that a task may use: one of this machine without links and ``..``, once there is a fence.

    :raises OutsideError: it leads out of the folders and object stores that the deployment names.
    :raises ConfigurationError: the deployment names something that is neither.
    """
    roots = _roots()
    if not roots:
        return place
    if isinstance(place, Path) or place.protocol in LOCAL:
        return _local(place if isinstance(place, Path) else Path(place.path), roots)
    found = _place(str(place))
    if any(isinstance(root, _Place) and _holds(root, found) for root in roots):
        return place
    raise OutsideError(OUTSIDE)


def _local(path: Path, roots: Iterable[Path | _Place]) -> Path:
    try:
        real = path.resolve()
        if any(real.is_relative_to(root.resolve()) for root in roots if isinstance(root, Path)):
            return real
    except (OSError, RuntimeError, ValueError):
        # A link that leads to itself, or a character that no path may have.
        pass
    raise OutsideError(OUTSIDE)


def _roots() -> list[Path | _Place]:
    text = conf.get(SECTION, OPTION, fallback="") or ""
    return [_root(each.strip()) for each in re.split(r"[,\n]", text) if each.strip()]


def _root(text: str) -> Path | _Place:
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in LOCAL:
        return _place(text)
    path = Path(rest if separator else text).expanduser()
    if not path.is_absolute():
        raise ConfigurationError(
            f"{OPTION} in the section [{SECTION}] of Airflow's configuration has {text!r}, which is neither an "
            f"absolute path nor a URL such as s3://bucket/folder; correct it"
        )
    return path


def _place(url: str) -> _Place:
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    connection, _, host = authority.rpartition("@")
    return _Place(scheme.lower(), connection, host.lower(), tuple(each for each in path.split("/") if each))


def _holds(root: _Place, place: _Place) -> bool:
    return (
        root.scheme == place.scheme
        and root.connection in ("", place.connection)
        and root.host in ("", place.host)
        and root.folders == place.folders[: len(root.folders)]
        and not any(map(_leads_up, place.folders))
    )


def _leads_up(folder: str) -> bool:
    """Tell whether some server could take a part of a path for the folder above; servers decode, some of them twice."""
    while (plain := unquote(folder)) != folder:
        folder = plain
    return bool({".", ".."} & set(re.split(r"[/\\]", folder)))
