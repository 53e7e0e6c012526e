"""The DrChrono API in plain Python, without Airflow: for notebooks and scripts, and under the hook."""

from airflow_provider_drchrono.client.asynchronous import AsyncDrChronoClient
from airflow_provider_drchrono.client.bulk import BulkResult
from airflow_provider_drchrono.client.errors import (
    AuthenticationError,
    BadRequestError,
    BulkExpiredError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    DrChronoError,
    InvalidRequestError,
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
from airflow_provider_drchrono.client.paging import Page
from airflow_provider_drchrono.client.quota import CallQuota, Quota
from airflow_provider_drchrono.client.settings import ClientOptions, ClientSettings
from airflow_provider_drchrono.client.synchronous import DrChronoClient
from airflow_provider_drchrono.client.tokens import (
    FileTokenStore,
    MemoryTokenStore,
    Token,
    TokenStore,
    seed_of,
)

__all__ = [
    "AsyncDrChronoClient",
    "AuthenticationError",
    "BadRequestError",
    "BulkExpiredError",
    "BulkResult",
    "CallQuota",
    "ClientOptions",
    "ClientSettings",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DrChronoClient",
    "DrChronoError",
    "FileArgument",
    "FileTokenStore",
    "InvalidRequestError",
    "MemoryTokenStore",
    "NotFoundError",
    "Page",
    "PermissionDeniedError",
    "Quota",
    "RateLimitedError",
    "RequestTimeoutError",
    "ResponseError",
    "ServerError",
    "TlsError",
    "Token",
    "TokenStore",
    "TransportError",
    "UnexpectedAnswerError",
    "seed_of",
]
