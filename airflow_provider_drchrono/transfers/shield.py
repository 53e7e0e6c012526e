"""Keeps what may not be held from staging, tables and files: the policy of a transfer, its key, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Resource, load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, is_template
from airflow_provider_drchrono.compat import BaseHook
from airflow_provider_drchrono.incremental.canonical import canonical, parsed
from airflow_provider_drchrono.privacy import FieldPolicy, Masker, PolicyError
from airflow_provider_drchrono.privacy.policy import check_arguments
from airflow_provider_drchrono.state.sealing import Seal, SealError
from airflow_provider_drchrono.warehouses.base import Warehouse, WarehouseError
from airflow_provider_drchrono.warehouses.table import DIGEST, Table

SHORTEST_KEY = 32
"""Characters. A key that can be guessed gives every id away, as there are few ids."""

NEW_KEY = 'python -c "import secrets; print(secrets.token_hex(32))"'

_PLACE = "next page"


class RecordShield:
    """Hides what a policy hides, before a record is written anywhere.

    :param masker: the policy with its key.
    :param key: the same key, which also seals addresses of pages; None where the policy does without.
    """

    def __init__(self, masker: Masker, key: str | None) -> None:
        self._masker = masker
        # An address may hold the place of a record in the list, or a filter that names a patient.
        self._seal = Seal("staging", key) if key else None
        self._is_keyless = not masker.policy.key

    @property
    def policy(self) -> FieldPolicy:
        """What may be held of the records."""
        return self._masker.policy

    @property
    def identity(self) -> str:
        """What tells the policy and its key from others."""
        return self._masker.identity

    @property
    def masks_the_key(self) -> bool:
        """Whether rows have other ids than the records."""
        return self._masker.policy.masks_the_key

    def line(self, record: Mapping[str, Any] | bytes) -> bytes:
        """Return what may be held of a record, as JSON in one line."""
        content = parsed(record) if isinstance(record, bytes) else record
        if not isinstance(content, Mapping):
            return b"{}"
        held = self._masker.apply(content)
        if self._is_keyless:
            held[DIGEST] = self._masker.fingerprint(canonical(content))
        return canonical(held)

    def masked_key(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values of a record's key as its row has them."""
        return self._masker.masked_key(values)

    def sealed(self, address: str) -> str:
        """Return the address of a page such that nobody can read it who has not the key."""
        return self._seal.close(address, _PLACE) if self._seal else address

    def opened(self, text: str) -> str | None:
        """Return the address that was sealed; None where it was sealed with another key."""
        if self._seal is None:
            return text
        try:
            return str(self._seal.open(text, _PLACE))
        except SealError:
            return None


def checked_policy(
    resource: object,
    *,
    columns: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    mask: Mapping[str, str] | None = None,
    profile: str | None = None,
    privacy_conn_id: str | None = None,
    verbose: bool = False,
    history: bool = False,
    catalog: Catalog | None = None,
) -> FieldPolicy | None:
    """Return what the arguments of a transfer let it hold; None where they say nothing, or the list is not known yet.

    :param resource: the list, or a template of it.
    :param privacy_conn_id: Airflow connection with the key as its password.
    :param history: whether each version of a row is kept.
    :raises InvalidArgumentError: they cannot be right; the message names the argument and the remedy.
    """
    try:
        check_arguments(columns, exclude, mask, profile)
        if not isinstance(resource, str) or is_template(resource):
            return None
        found = catalog or load()
        policy = _policy(
            found, found.resource(resource), columns, exclude, mask, profile, verbose=verbose, history=history
        )
    except PolicyError as error:
        problem = str(error)
    else:
        if policy is None or not policy.needs_key or privacy_conn_id:
            return policy
        problem = (
            f"{resource}: what is held is masked with a key, so privacy_conn_id has to name an Airflow connection "
            f"whose password is one; make it with {NEW_KEY}"
        )
    raise InvalidArgumentError(problem)


def _policy(
    catalog: Catalog,
    resource: Resource,
    columns: Iterable[str] | None,
    exclude: Iterable[str] | None,
    mask: Mapping[str, str] | None,
    profile: str | None,
    *,
    verbose: bool,
    history: bool,
) -> FieldPolicy | None:
    policy = FieldPolicy.of(
        catalog, resource, columns=columns, exclude=exclude, mask=mask, profile=profile, verbose=verbose
    )
    if policy is not None and policy.hides_times and history:
        raise PolicyError(
            f"{resource.name}: a history says when each version was read, which tells the days that are masked; leave "
            "history out"
        )
    return policy


def shield_of(policy: FieldPolicy | None, privacy_conn_id: str | None) -> RecordShield | None:
    """Return what hides what a policy hides, with the key of a connection.

    :raises InvalidArgumentError: the connection holds no key that is long enough.
    """
    if policy is None:
        return None
    if not policy.needs_key:
        return RecordShield(policy.masker(), None)
    key = BaseHook.get_connection(privacy_conn_id or "").password or ""
    if len(key) < SHORTEST_KEY:
        raise InvalidArgumentError(
            f"The password of connection {privacy_conn_id}, which privacy_conn_id names, has to be a key of at least "
            f"{SHORTEST_KEY} characters; make one with {NEW_KEY}"
        )
    return RecordShield(policy.masker(key), key)


def check_held(warehouse: Warehouse, table: Table, shield: RecordShield | None) -> None:
    """Refuse a table that holds what this sync may not, or other ids for the same records.

    :raises WarehouseError: it was filled with other columns, masks or keys.
    """
    if warehouse.holds_as(table, shield.identity if shield else ""):
        return
    history = f" and {table.history.label}" if warehouse.keeps_history(table) else ""
    raise WarehouseError(
        f"Table {table.label} holds rows that were loaded with other columns, exclude, mask, profile or key, and would "
        f"keep what they show. Drop {table.label}{history} and run once with full_refresh=True, or give the sync "
        f"another table name",
        transient=False,
    )
