"""Keeps what a run has found, so that one that is interrupted goes on where it was. It holds no value of any record."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.conformance.findings import Finding

VERSION = 1


class StateFileError(DrChronoError):
    """The file with the state of a conformance run cannot be read or written."""


@dataclass(slots=True)
class RunState:
    """How far a run has come.

    :param identity: of the application and host that are asked; another one begins anew.
    :param findings: by step.
    :param tally: how fields were spelt, see :class:`~airflow_provider_drchrono.conformance.tally.Tally`.
    :param headers: names of headers about limits.
    :param calls: how many calls were made.
    """

    identity: str
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    tally: dict[str, int] = field(default_factory=dict)
    headers: Sequence[str] = ()
    calls: int = 0


def identity_of(settings: ClientSettings) -> str:
    """Return a hash that tells applications and hosts apart."""
    return hashlib.sha256(f"{settings.base_url}#{settings.client_id}".encode()).hexdigest()[:16]


def load_state(path: Path, identity: str) -> RunState:
    """Return how far the last run came; the beginning where there is none, or it was of another connection.

    :raises StateFileError: the file is there and cannot be read.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["version"] != VERSION or raw["identity"] != identity:
            return RunState(identity)
        return RunState(
            identity,
            {step: [Finding.read(each) for each in found] for step, found in raw["findings"].items()},
            raw["tally"],
            raw["headers"],
            raw["calls"],
        )
    except FileNotFoundError:
        return RunState(identity)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        kind = type(error).__name__
    raise StateFileError(f"The state of the last run cannot be read from {path} ({kind}); begin again with --fresh")


def save_state(path: Path, state: RunState) -> None:
    """Store how far a run has come, in a file that only its owner can read.

    :raises StateFileError: it cannot be written.
    """
    text = json.dumps(
        {
            "version": VERSION,
            "identity": state.identity,
            "findings": {step: [asdict(each) for each in found] for step, found in state.findings.items()},
            "tally": state.tally,
            "headers": sorted(state.headers),
            "calls": state.calls,
        }
    )
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # It makes the file for its owner only.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
        return
    except OSError as error:
        reason = error.strerror
        if name is not None:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)
    raise StateFileError(f"The state of the run cannot be written to {path} ({reason}); name another file with --state")
