"""The hook: finds the connection, keeps one client for it, and says whether it works."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.compat import BaseHook
from airflow_provider_drchrono.compat.cached import cached_property
from airflow_provider_drchrono.hooks.calls import CallsDirectly

if TYPE_CHECKING:
    from airflow_provider_drchrono.catalog import Catalog
    from airflow_provider_drchrono.client import AsyncDrChronoClient, CallQuota, ClientSettings, DrChronoClient
    from airflow_provider_drchrono.incremental.cursor import CursorSource
    from airflow_provider_drchrono.incremental.suspicion import ReadFacts, Suspicion
    from airflow_provider_drchrono.state.lease import Timing
    from airflow_provider_drchrono.state.token_store import VariableTokenStore

# Seconds beyond the longest time that a renewal can take, after which others take its process for dead.
LEASE_MARGIN = 30.0


UNDER_TEST = "connection test"
"""Whose calls they are that the test of a connection makes; they count for the application as all others do."""


class DrChronoHook(CallsDirectly, BaseHook):
    """Reach DrChrono through an Airflow connection of type ``drchrono``.

    ``with DrChronoHook("drchrono_default") as drchrono:`` gives the client and closes it at the end. A single call
    needs no block: ``DrChronoHook("drchrono_default").read("patients", 42)``.

    :param drchrono_conn_id: the connection.
    :param quota_reserve: calls of each hour that this hook leaves to others; for what can wait, such as sensors.
    """

    conn_name_attr = "drchrono_conn_id"
    default_conn_name = "drchrono_default"
    conn_type = "drchrono"
    hook_name = "DrChrono"

    def __init__(self, drchrono_conn_id: str = default_conn_name, *, quota_reserve: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drchrono_conn_id = drchrono_conn_id
        self.quota_reserve = quota_reserve
        self._counted_as = drchrono_conn_id
        self._client: DrChronoClient | None = None
        self._async_client: AsyncDrChronoClient | None = None
        self._timezones: tuple[str, ...] | None = None

    @cached_property
    def settings(self) -> ClientSettings:
        """The client's settings, read from the connection once. Do not use it on an event loop: it blocks.

        :raises ConfigurationError: the connection cannot work.
        """
        from airflow_provider_drchrono.hooks.connection import mask_secrets_of, settings_of

        connection = self.get_connection(self.drchrono_conn_id)
        settings = settings_of(connection)
        mask_secrets_of(connection)
        return settings

    @cached_property
    def catalog(self) -> Catalog:
        """The facts of the API, with those of the connection in place of what is inferred.

        Do not ask for it on an event loop before :attr:`settings` was read: it blocks.

        :raises ConfigurationError: the connection cannot work.
        """
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.catalog.overrides import with_facts

        return with_facts(load(), self.settings.facts)

    @cached_property
    def hash_key(self) -> bytes:
        """The key by which values are compared that may not be kept; it is made of the client secret.

        :raises ConfigurationError: the connection cannot work.
        """
        from airflow_provider_drchrono.state.sealing import hash_key

        return hash_key(self.settings.client_id, self.settings.client_secret.get_secret_value())

    @cached_property
    def token_store(self) -> VariableTokenStore:
        """Where the connection's tokens are kept, shared with every process of this Airflow."""
        return token_store_of(self.settings, self.drchrono_conn_id)

    @cached_property
    def quota(self) -> CallQuota | None:
        """The calls that the connection may make, counted with all processes of this host, or of all hosts.

        None means that there is no limit.
        """
        from airflow_provider_drchrono.hooks.connection import quota_of

        return quota_of(self.settings, self._counted_as, reserve=self.quota_reserve)

    def get_conn(self) -> DrChronoClient:
        """Return the client of this hook, the same one each time. :meth:`close` closes it; do not close it yourself.

        :raises ConfigurationError: the connection cannot work.
        """
        self._is_kept = True
        return self._open()

    def close(self) -> None:
        """Close the client, if there is one; the next call of :meth:`get_conn` makes another."""
        self._is_kept = False
        self._close()

    def __enter__(self) -> DrChronoClient:
        return self.get_conn()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> DrChronoClient:
        from airflow_provider_drchrono.client import DrChronoClient

        if self._client is None:
            self._client = DrChronoClient(self.settings, token_store=self.token_store, quota=self.quota)
        return self._client

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def get_async_conn(self) -> AsyncDrChronoClient:
        """Return the asynchronous client of this hook, the same one each time. :meth:`aclose` closes it.

        :raises ConfigurationError: the connection cannot work.
        """
        if self._async_client is None:
            # Airflow's own asynchronous look-up does not work in ``airflow dags test``; a thread does everywhere. And
            # it takes tens of milliseconds to load the certificates.
            self._async_client = await asyncio.to_thread(self._new_async_client)
        return self._async_client

    def _new_async_client(self) -> AsyncDrChronoClient:
        from airflow_provider_drchrono.client import AsyncDrChronoClient

        return AsyncDrChronoClient(self.settings, token_store=self.token_store, quota=self.quota)

    async def aclose(self) -> None:
        """Close the asynchronous client, if there is one."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    def practice_timezones(self) -> tuple[str, ...]:
        """Return the IANA names of the zones in which the practice keeps its times.

        It is the connection's ``timezone``, or else the distinct zones of the practice's doctors, which takes a call
        of the API the first time.

        :raises ConfigurationError: neither names a zone that exists.
        """
        if self.settings.timezone:
            return (self.settings.timezone,)
        if self._timezones is None:
            self._timezones = _valid_zones(
                {str(doctor.get("timezone") or "") for doctor in self.get_conn().list("doctors")}
            )
        return self._timezones

    @cached_property
    def practice_key(self) -> str:
        """Text that tells the connection's practice from others; keep state of its records apart by it.

        It is ``practice_group:<id>``, of the user whose grant the connection has, for which the API is called once
        for each hook (``GET /api/users/current``). It stays the same when somebody authorizes again and when
        the application changes, and is no secret. Two users of one practice share it, although they may be allowed to
        see different records.

        Where DrChrono names no practice group, or does not let the user ask, it is ``grant:<id>``. That one changes
        when a person authorizes again, so that what is kept under it begins anew.

        :raises DrChronoError: the API cannot be asked.
        """
        from airflow_provider_drchrono.client import PermissionDeniedError

        try:
            group = self.get_conn().current_user().get("practice_group")
        except PermissionDeniedError:
            group = None
        if group:
            return f"practice_group:{group}"
        return f"grant:{self.grant_id}"

    @property
    def grant_id(self) -> str:
        """What tells the connection's grant from others of the application; it is no secret, and no call is made.

        :raises TokenStoreError: the token cannot be read.
        """
        from airflow_provider_drchrono.client.tokens import grant_id_of

        if token := self.token_store.load():
            return token.grant_id
        refresh_token = self.settings.refresh_token
        return grant_id_of(refresh_token.get_secret_value()) if refresh_token else self.token_store.grant_id

    def continued_source(self, known: CursorSource | None) -> CursorSource:
        """Return whose list this connection reads, given what a cursor remembers of that.

        :raises CursorError: the cursor is of another practice.
        """
        from airflow_provider_drchrono.incremental.cursor import continued_source

        return continued_source(known, self.drchrono_conn_id, self.grant_id, lambda: self.practice_key)

    @property
    def granted_scopes(self) -> tuple[str, ...]:
        """The scopes that the connection's token was granted; empty if they are not known.

        :raises TokenStoreError: the token cannot be read.
        """
        token = self.token_store.load()
        return token.scope if token else ()

    def suspicions(self, operation_id: str, read: ReadFacts) -> list[Suspicion]:
        """Return why a read of a list may hide records, with what the connection's token may see.

        :param operation_id: the operation that lists the records.
        """
        from airflow_provider_drchrono.incremental.suspicion import suspicions

        found = suspicions(self.catalog.operation(operation_id), read, self.granted_scopes)
        return [each if each.may_pass else replace(each, text=f"{each.text}. {self._see_doctor}") for each in found]

    def why_empty(self, operation_id: str) -> str:
        """Say, in one line, which rights a list takes that came back empty: without them it comes back empty, too."""
        from airflow_provider_drchrono.client.permissions import rights_to_see

        operation = self.catalog.operation(operation_id)
        rights = rights_to_see(scopes=operation.scopes, permissions=operation.permissions, granted=self.granted_scopes)
        return f"{operation_id}: the list came back empty. If there should be something in it: {rights}. " + (
            self._see_doctor
        )

    @property
    def _see_doctor(self) -> str:
        return f"See: airflow drchrono doctor {self.drchrono_conn_id} --probe"

    def test_connection(self) -> tuple[bool, str]:
        """Say, in one line, whose token the connection has and which scopes it lacks.

        A token that has run out is renewed and stored as in a task; where it could not be stored it is not renewed,
        and the line says so.

        :return: whether the connection works, and the line.
        """
        from airflow_provider_drchrono.client import DrChronoError

        # The Test button gives the connection a random id, which would come up among those that have spent calls.
        self._counted_as = UNDER_TEST
        try:
            user = self.get_conn().current_user()
            token = self.token_store.load()
        except DrChronoError as error:
            # The Test button gives the connection a random id for the time of the test.
            return False, str(error).replace(f" {self.drchrono_conn_id} ", " ")
        finally:
            self.close()
        works, scopes = self._judge_scopes(token.scope if token else ())
        return works, f"Authorized as {_describe(user)}. {scopes}"

    def _judge_scopes(self, granted: tuple[str, ...]) -> tuple[bool, str]:
        from airflow_provider_drchrono.catalog import load

        if not granted:
            return True, "DrChrono did not say which scopes it granted."
        wanted = self.settings.scope
        missing = [scope for scope in wanted or load().service.scopes if scope not in granted]
        if not missing:
            return True, "All scopes of the connection are granted." if wanted else "All scopes are granted."
        if not wanted:
            return True, f"Not granted: {', '.join(missing)}; authorize again with them if you need them."
        return False, (
            f"The connection's scope asks for what is not granted: {', '.join(missing)}; authorize the application "
            f"again with them, or take them out of the connection's scope"
        )


def token_store_of(
    settings: ClientSettings,
    conn_id: str,
    *,
    grant_id: str | None = None,
    patience: float | None = None,
    team: str | None = None,
) -> VariableTokenStore:
    """Return where the tokens of a connection are kept.

    :param settings: the connection's.
    :param conn_id: the connection's id, by which its grant goes if it has no refresh token.
    :param grant_id: the grant that the store is for; by default that of the connection's refresh token.
    :param patience: seconds to wait for a process that renews a token; by default as long as it may take twice.
    :param team: the Airflow team of the connection, where the process does not belong to one by itself.
    """
    from airflow_provider_drchrono.client.tokens import grant_id_of
    from airflow_provider_drchrono.state.token_store import VariableTokenStore
    from airflow_provider_drchrono.state.variables import AirflowVariables

    if grant_id is None:
        grant_id = grant_id_of(settings.refresh_token.get_secret_value() if settings.refresh_token else None)
    timing = lease_timing(settings)
    return VariableTokenStore(
        settings.client_id,
        settings.client_secret.get_secret_value(),
        grant_id,
        connection=conn_id,
        variables=AirflowVariables(team),
        timing=timing if patience is None else replace(timing, patience=patience),
    )


def lease_timing(settings: ClientSettings) -> Timing:
    """Return how long the renewal of a token may take before others take its process for dead."""
    from airflow_provider_drchrono.state import lease as variable_lease

    # Each request to the token endpoint ends by its own deadline, however slowly the answer comes.
    hold = settings.max_attempts * (settings.token_timeout + settings.max_wait) + LEASE_MARGIN
    return variable_lease.Timing(hold=hold, patience=2 * hold)


def _valid_zones(names: set[str]) -> tuple[str, ...]:
    from airflow_provider_drchrono.client import ConfigurationError

    remedy = "set timezone on the connection to an IANA name such as America/New_York"
    known = sorted(names - {""})
    for name in known:
        try:
            ZoneInfo(name)
        except (LookupError, OSError, ValueError):
            raise ConfigurationError(
                f"A doctor's time zone in DrChrono is {name[:40]!r}, which is not one; {remedy}"
            ) from None
    if not known:
        raise ConfigurationError(f"No doctor that this user may see has a time zone; {remedy}")
    return tuple(known)


def _describe(user: dict[str, Any]) -> str:
    details = [f"user {user['id']}"] if user.get("id") else []
    if group := user.get("practice_group"):
        details.append(f"practice group {group}")
    name = user.get("username") or "a user without a name"
    return f"{name} ({', '.join(details)})" if details else str(name)


log = logging.getLogger(__name__)

RESERVED_SHARE = 5
"""Sensors and triggers leave one in so many of the hour's calls to other tasks."""

LOGGED_DELAY = 1.0
"""Seconds; a poll that is later than asked for by less is not logged."""


def polling_hook(drchrono_conn_id: str) -> DrChronoHook:
    """Return a hook that leaves a fifth of the connection's calls of each hour to others. It reads the connection.

    :raises ConfigurationError: the connection cannot work.
    """
    hook = DrChronoHook(drchrono_conn_id)
    hook.quota_reserve = (hook.settings.quota_per_hour or 0) // RESERVED_SHARE
    return hook


def next_interval(hook: DrChronoHook, poll_interval: float) -> float:
    """Return the seconds to wait after a poll: the interval, or more where calls run short. It blocks for a moment.

    Call it once after each poll: the caller is counted among those who share the calls that are left, until its next
    poll. Where the count of the calls cannot be reached, it is the interval.

    :param hook: of :func:`polling_hook`.
    :param poll_interval: seconds between two polls while there are enough calls.
    """
    from airflow_provider_drchrono.client import DrChronoError

    try:
        pace = hook.quota.pace(poll_interval) if hook.quota else None
    except DrChronoError as error:
        log.info("The pace of polling is not adapted to the quota. %s", error)
        return poll_interval
    if pace is None:
        return poll_interval
    if pace.seconds - poll_interval >= LOGGED_DELAY:
        log.info(
            "%s: %s calls are left for polling until %s UTC; next poll in %.0f seconds",
            hook.drchrono_conn_id,
            pace.left,
            pace.until.strftime("%H:%M"),
            pace.seconds,
        )
    return pace.seconds
