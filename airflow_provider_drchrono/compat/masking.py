"""Airflow's maskers: what each process has Airflow replace by asterisks in all that it writes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from airflow.sdk.log import mask_secret as mask_in_task


def mask_secret(secret: Any) -> None:
    """Have Airflow replace a secret by asterisks in all that this process and its supervisor write.

    :param secret: text; or a mapping, of which the values are masked whose names are those of secrets.
    """
    if not secret:
        return
    mask_in_task(secret)
    # The API server and the command line have a masker of their own. A worker may be without their package.
    with suppress(ImportError):
        from airflow._shared.secrets_masker import mask_secret as mask_in_server

        mask_in_server(secret)
