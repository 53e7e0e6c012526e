"""The DrChrono API in plain Python, without Airflow: for notebooks and scripts, and under the hook.

The HTTP and validation libraries are loaded by the first name that needs them, so that a DAG file may import what is
light, such as the errors, without paying for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.asynchronous import AsyncDrChronoClient
    from airflow_provider_drchrono.client.bulk_lists import BulkPacing, BulkResult
    from airflow_provider_drchrono.client.download import Download
    from airflow_provider_drchrono.client.errors import (
        AuthenticationError,
        BadRequestError,
        BulkExpiredError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DrChronoError,
        InvalidArgumentError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitedError,
        RequestTimeoutError,
        ResponseError,
        ServerError,
        TlsError,
        TransportError,
        UnexpectedAnswerError,
    )
    from airflow_provider_drchrono.client.files import FileArgument
    from airflow_provider_drchrono.client.paging import Page, RawPage
    from airflow_provider_drchrono.client.quota import CallQuota, Quota
    from airflow_provider_drchrono.client.settings import ClientOptions, ClientSettings
    from airflow_provider_drchrono.client.synchronous import DrChronoClient
    from airflow_provider_drchrono.client.tokens import (
        FileTokenStore,
        MemoryTokenStore,
        Token,
        TokenStore,
        grant_id_of,
    )

__all__ = [
    "AsyncDrChronoClient",
    "AuthenticationError",
    "BadRequestError",
    "BulkExpiredError",
    "BulkPacing",
    "BulkResult",
    "CallQuota",
    "ClientOptions",
    "ClientSettings",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Download",
    "DrChronoClient",
    "DrChronoError",
    "FileArgument",
    "FileTokenStore",
    "InvalidArgumentError",
    "MemoryTokenStore",
    "NotFoundError",
    "Page",
    "PermissionDeniedError",
    "Quota",
    "RateLimitedError",
    "RawPage",
    "RequestTimeoutError",
    "ResponseError",
    "ServerError",
    "TlsError",
    "Token",
    "TokenStore",
    "TransportError",
    "UnexpectedAnswerError",
    "grant_id_of",
]

_MODULES = {
    "AsyncDrChronoClient": "asynchronous",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BulkExpiredError": "errors",
    "BulkPacing": "bulk_lists",
    "BulkResult": "bulk_lists",
    "CallQuota": "quota",
    "ClientOptions": "settings",
    "ClientSettings": "settings",
    "ConfigurationError": "errors",
    "ConflictError": "errors",
    "ConnectionFailedError": "errors",
    "DrChronoClient": "synchronous",
    "Download": "download",
    "DrChronoError": "errors",
    "FileArgument": "files",
    "FileTokenStore": "tokens",
    "InvalidArgumentError": "errors",
    "MemoryTokenStore": "tokens",
    "NotFoundError": "errors",
    "Page": "paging",
    "RawPage": "paging",
    "PermissionDeniedError": "errors",
    "Quota": "quota",
    "RateLimitedError": "errors",
    "RequestTimeoutError": "errors",
    "ResponseError": "errors",
    "ServerError": "errors",
    "TlsError": "errors",
    "Token": "tokens",
    "TokenStore": "tokens",
    "TransportError": "errors",
    "UnexpectedAnswerError": "errors",
    "grant_id_of": "tokens",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
