"""Makes a change in Airflow's private parts stop the import, with an error that names the file to mend.

Private parts may be renamed in any release of Airflow. Without these checks an overridden method that is not called
any more would store patient data in clear, and a missing attribute would pass for an answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError


class AirflowChangedError(DrChronoError, ImportError):
    """The installed Airflow lacks a private part that this provider needs."""


@contextmanager
def mended_in(module: str) -> Iterator[None]:
    """Turn a failure to import a part of Airflow, in the block, into an error that names the file to mend.

    :param module: the module of ``compat`` that needs the part.
    :raises AirflowChangedError: the part is not there.
    """
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise _changed(str(error), module) from error


def check_annotation(owner: Any, name: str, module: str) -> None:
    """See that a module of Airflow declares a global that it sets later.

    :param module: the module of ``compat`` that needs it.
    :raises AirflowChangedError: it does not.
    """
    if name not in getattr(owner, "__annotations__", {}) and not hasattr(owner, name):
        raise _changed(f"{owner.__name__} has no {name}", module)


def check_method(owner: type, name: str, parameters: tuple[str, ...], module: str) -> None:
    """See that a class of Airflow has a method that we override, with the parameters that we pass on.

    :param parameters: their names without ``self``, in order.
    :param module: the module of ``compat`` that overrides it.
    :raises AirflowChangedError: it has not.
    """
    method = getattr(owner, name, None)
    found = tuple(inspect.signature(method).parameters)[1:] if callable(method) else None
    if found != parameters:
        what = "is missing" if found is None else f"takes ({', '.join(found)})"
        raise _changed(f"{owner.__name__}.{name} {what}", module)


def _changed(problem: str, module: str) -> AirflowChangedError:
    return AirflowChangedError(
        f"airflow-provider-drchrono does not work with {_airflow()}: {problem}. Use a release of Airflow that "
        f"this provider is tested with, or mend {module.replace('.', '/')}.py"
    )


def _airflow() -> str:
    try:
        return f"Airflow {version('apache-airflow-core')}"
    except PackageNotFoundError:
        # A worker may have the task SDK alone.
        return f"Airflow's task SDK {version('apache-airflow-task-sdk')}"
