"""Where this Airflow keeps files of the provider on the host."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import conf


def quota_folder() -> Path:
    """Return the folder in which the calls of this host are counted."""
    named = conf.get("drchrono", "quota_path", fallback="")
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return (Path(named) if named else home / "drchrono" / "quota").expanduser()


def configured_staging() -> str | None:
    """Return where Airflow's configuration says that pages of syncs are staged; None if it says nothing."""
    return conf.get("drchrono", "staging_path", fallback=None) or None
