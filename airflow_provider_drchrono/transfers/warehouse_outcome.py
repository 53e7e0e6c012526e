"""Turns what goes wrong around a warehouse into an outcome of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_drchrono.compat import AirflowException, AirflowFailException
from airflow_provider_drchrono.transfers.deletions import DoubtfulReadError
from airflow_provider_drchrono.transfers.staging_files import StagingError
from airflow_provider_drchrono.warehouses.base import WarehouseError


@contextmanager
def warehouse_outcome() -> Iterator[None]:
    """Turn errors of warehouses and staging into outcomes of the task, in one line without any row's values.

    :raises AirflowFailException: a retry would only repeat the error.
    :raises AirflowException: a retry may help.
    """
    try:
        yield
        return
    except (WarehouseError, DoubtfulReadError) as error:
        message, transient = str(error), error.transient
    except StagingError as error:
        message, transient = str(error), True
    raise (AirflowException(message) if transient else AirflowFailException(message)) from None
