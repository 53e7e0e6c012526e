"""Everything that can go wrong between us and the API, so that a caller can tell what to do next.

Errors of other modules stand in the same tree, with their module in brackets. The catalogue, the sandbox and the code
generator know nothing of the client and have errors of their own.

::

    DrChronoError
    ├── ConfigurationError                                       the connection's settings cannot work
    ├── InvalidArgumentError                                     an argument is wrong; nothing was sent
    │   ├── InvalidArgumentError (common.arguments)              the same, which Airflow does not retry
    │   ├── InvalidAssetError (assets.uri)
    │   └── PolicyError (privacy.policy)                         what may be held cannot be said like this
    ├── TransportError                                           no whole answer arrived
    │   ├── RequestTimeoutError
    │   ├── ConnectionFailedError                                unknown host, refused, or broken off
    │   └── TlsError                                             the certificate or the handshake was refused
    ├── ResponseError                                            the API answered, and the answer is a failure
    │   ├── BadRequestError                                      400; ``field_errors`` says which fields
    │   ├── AuthenticationError                                  401, or no token could be had; ``kind`` says why
    │   │   ├── AuthorizationDeniedError (client.authorization)  the person who was asked said no
    │   │   └── GrantLostError (state.token_store)               the successor of a token was lost
    │   ├── PermissionDeniedError                                403; ``scopes``, ``permissions``, ``granted``
    │   ├── NotFoundError                                        404
    │   ├── ConflictError                                        409
    │   ├── RateLimitedError                                     429, or our own count; ``retry_at`` says when to go on
    │   └── ServerError                                          5xx
    ├── UnexpectedAnswerError                                    a success that cannot be understood
    ├── BulkExpiredError                                         the result of a bulk list is gone
    ├── QuotaStorageError (client.quota.stores)                  calls cannot be counted
    ├── TokenStoreError (state.token_store)                      the token cannot be kept or renewed here
    ├── LeaseUnavailableError (state.lease)                      another process renews, and does not finish
    ├── CursorStoreError (state.cursor_store)                    a cursor cannot be read or kept
    ├── CursorError (incremental.cursor)                         a stored cursor cannot be resumed
    │   ├── ForgottenRunError (incremental.cursor)
    │   ├── OtherPracticeError (incremental.cursor)
    │   └── DeliveriesError (incremental.events.deliveries)
    ├── SuspiciousReadError (incremental.suspicion)              a read may have come back with less than there is
    ├── LostEventError (incremental.events.reader)               it is not known any more what an event was about
    ├── StagingError (transfers.staging_files)                   the staging folder cannot be used
    ├── StagingDamagedError (transfers.staging)
    ├── TableDifferentError (transfers.verification)             a table does not hold what the API has
    ├── ManifestError (transfers.export_manifest)                a file is no manifest of an export
    ├── WarehouseError (warehouses.base)                         the database did not do what was asked
    ├── AirflowChangedError (compat.private)                     Airflow lacks a private part that is needed
    ├── NoDatabaseError (compat.dag_runs)                        a DAG of a test has no database to run in
    ├── OutsideError (common.file_fence)                         a path leads to where tasks may not read or write
    ├── DocumentError (cli.openapi_document)                     a file is no OpenAPI document
    ├── BulkPendingError (transfers.bulk_reading)                the pages of a bulk list are still being made
    ├── BulkUnusableError (transfers.bulk_reading)               a list cannot be read in bulk
    ├── PendingError (plugin.pending)                            an answer that belongs to no pending authorization
    ├── NotAllowedError (plugin.app)                             the user of Airflow's UI may not do this
    ├── StateFileError (conformance.state_file)                  the findings of a conformance run cannot be kept
    ├── BudgetSpentError (conformance.session)                   a conformance run has made as many calls as it may
    ├── UnreadableError (client.responses)                       this one and the rest never leave the package
    ├── _NoLinesError (client.responses)
    ├── SealError (state.sealing)
    ├── BrokenEncodingError (client.bounds)
    ├── TooLargeError (client.bounds)
    ├── InDoubtError (operators.base.own_records)
    └── _UnacknowledgedError (incremental.events.writer)

``transient`` tells whether the same call may succeed, and does no harm, if it is simply made again. It is a fact of
the class, except that an instance is not transient when it cannot be known whether a write was carried out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

AuthenticationKind = Literal["client", "refresh_token", "no_refresh_token", "token_refused"]


class DrChronoError(Exception):
    """Base of all errors that the client raises on purpose.

    :param message: one line: what was asked, what came back, what to do. It never holds secrets, filters or bodies.
    :param operation_id: the operation that was asked for, if it had come to one.
    :param status: the HTTP status that came back, if any did.
    :param transient: overrides what the class says, see the module's docstring.
    """

    transient: bool = False

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        status: int | None = None,
        transient: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.operation_id = operation_id
        self.status = status
        if transient is not None:
            self.transient = transient


class ConfigurationError(DrChronoError):
    """A setting is missing or cannot work; the message names it and the remedy."""


class InvalidArgumentError(DrChronoError):
    """An argument of the call is wrong. Nothing was sent."""


class TransportError(DrChronoError):
    """The request could not be sent, or no whole answer came back."""

    transient = True


class RequestTimeoutError(TransportError):
    """The API did not answer in time."""


class ConnectionFailedError(TransportError):
    """The host is unknown, refused the connection, or broke it off."""


class TlsError(TransportError):
    """The server's certificate was not accepted, or the handshake failed."""

    transient = False


class ResponseError(DrChronoError):
    """The API answered with a failure."""


class BadRequestError(ResponseError):
    """The API refused the values of the request.

    :param field_errors: the API's messages by field name. They may repeat values of the record, so they are kept out
        of the message; do not log them.
    :param rules: those of the messages that say which parameters are needed; they hold no values.
    """

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        status: int | None = None,
        field_errors: Mapping[str, Sequence[str]] | None = None,
        rules: Sequence[str] = (),
    ) -> None:
        super().__init__(message, operation_id=operation_id, status=status)
        self.field_errors = dict(field_errors or {})
        self.rules = tuple(rules)


class AuthenticationError(ResponseError):
    """There is no usable access token.

    :param kind: ``client``: client id or secret is wrong; ``refresh_token``: the refresh token is used up, revoked or
        belongs to another application; ``no_refresh_token``: the stored token has run out and there is nothing to
        renew it with; ``token_refused``: a fresh token was refused too.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: AuthenticationKind = "token_refused",
        operation_id: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, operation_id=operation_id, status=status)
        self.kind = kind


class PermissionDeniedError(ResponseError):
    """A scope of the token or a permission of the user is missing; the API does not say which.

    :param scopes: OAuth scopes of which any one is enough.
    :param permissions: permissions in the DrChrono web application that the user needs.
    :param granted: the scopes of the token; empty if they are not known.
    """

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        status: int | None = None,
        scopes: Sequence[str] = (),
        permissions: Sequence[str] = (),
        granted: Sequence[str] = (),
    ) -> None:
        super().__init__(message, operation_id=operation_id, status=status)
        self.scopes = tuple(scopes)
        self.permissions = tuple(permissions)
        self.granted = tuple(granted)


class NotFoundError(ResponseError):
    """There is no such record, or the user may not see it."""


class ConflictError(ResponseError):
    """The record contradicts one that is there; for a new patient: a possible duplicate."""


class RateLimitedError(ResponseError):
    """The quota is used up for now, and the wait is too long to be slept inside a call.

    :param retry_at: the time (aware, UTC, on this machine's clock) from which a call may succeed.
    """

    transient = True

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime | None = None,
        operation_id: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, operation_id=operation_id, status=status)
        self.retry_at = retry_at


class ServerError(ResponseError):
    """The API failed to answer."""

    transient = True


class UnexpectedAnswerError(DrChronoError):
    """The API reported success with something that cannot be understood, or that must not be followed."""


class BulkExpiredError(DrChronoError):
    """The API no longer knows the bulk list: its result lives for an hour. Start it again."""

    transient = True
