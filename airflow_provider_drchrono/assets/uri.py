"""What a ``drchrono://`` URI says, and its one spelling: Airflow tells assets apart by their URIs.

Four things have one, all below ``drchrono://<connection>/<resource>``:

- the practice's list, with nothing more;
- the list as an asset watches it, ``?watch=<change>`` with filters and options;
- the copy of the list that a sync keeps, ``?table=<table>&warehouse=<connection>``;
- the files into which the list is exported, ``?export=<folder>``.

Every Airflow process that meets such an asset loads this module, so it imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from airflow_provider_drchrono.assets.facts import WatchedList, watched_list, watched_resources
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.common.lineage import SCHEME

SHAPE = "drchrono://<connection id>/<resource>"

WATCH_OPTIONS = ("name", "start", "verbose", "watch_fields")
"""What the URI of a watched list may say besides ``watch`` and filters."""

TABLE_KEYS = {"table", "warehouse"}

EXPORT_KEY = "export"

# What Airflow takes for the id of a connection.
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")


class InvalidAssetError(InvalidArgumentError, ValueError):
    """An argument of an asset, or its ``drchrono://`` URI, cannot work. The message says what to change."""


@dataclass(frozen=True, slots=True)
class DrChronoUri:
    """What a URI says.

    :param conn_id: id of the Airflow connection to DrChrono.
    :param resource: the resource, such as ``patients``.
    :param query: what distinguishes a watch, a table or an export; nothing for the list itself.
    """

    conn_id: str
    resource: str
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, parts: SplitResult) -> DrChronoUri:
        """Return what a URI says.

        :raises InvalidAssetError: it is not one of the four.
        """
        conn_id, resource = unquote(parts.netloc), parts.path.strip("/")
        if not is_conn_id(conn_id):
            raise InvalidAssetError(f"A {SCHEME} URI has to name an Airflow connection: {SHAPE}")
        if not resource:
            raise InvalidAssetError(f"A {SCHEME} URI has to name a resource, such as patients: {SHAPE}")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        query = dict(pairs)
        if len(query) < len(pairs) or "" in query.values():
            raise InvalidAssetError(f"{SCHEME}://{parts.netloc}/{resource}: each name after ? needs one value")
        check_resource(resource)
        _check_query(resource, query)
        return cls(conn_id, resource, query)

    def parts(self) -> SplitResult:
        """Return the URI taken apart, as Airflow's handlers do."""
        # Airflow sorts queries and escapes them in this way before it asks a handler.
        query = urlencode(sorted(self.query.items()))
        return SplitResult(SCHEME, quote(self.conn_id, safe=""), f"/{self.resource}", query, "")

    def __str__(self) -> str:
        return urlunsplit(self.parts())


def parse(uri: str) -> DrChronoUri:
    """Return what a URI says.

    :raises InvalidAssetError: it is none of DrChrono's, or cannot be right.
    """
    parts = urlsplit(uri)
    if parts.scheme != SCHEME:
        raise InvalidAssetError(f"A URI of DrChrono begins with {SCHEME}://: {SHAPE}")
    return DrChronoUri.read(parts)


def sanitize_uri(parts: SplitResult) -> SplitResult:
    """Return the one spelling of a URI, for Airflow, which calls this for each ``drchrono`` asset.

    :raises InvalidAssetError: the URI cannot be right.
    """
    return DrChronoUri.read(parts).parts()


def is_conn_id(text: object) -> bool:
    """Tell whether Airflow can have a connection of that name; it cannot be a template."""
    return isinstance(text, str) and _CONN_ID.fullmatch(text) is not None


def check_resource(resource: str) -> None:
    """Refuse a resource that DrChrono does not have.

    :raises InvalidAssetError: naming the nearest.
    """
    known = load().resources
    if resource not in known:
        raise InvalidAssetError(f"DrChrono has no resource {resource!r}{did_you_mean(resource, known)}")


def check_watched(resource: str) -> WatchedList:
    """Return the facts of a list that may be watched.

    :raises InvalidAssetError: DrChrono does not have it, or cannot be asked what changed in it.
    """
    check_resource(resource)
    found = watched_list(resource)
    if found is None:
        raise InvalidAssetError(
            f"{resource} cannot be watched: DrChrono does not tell what changed in it. Those that can be: "
            f"{', '.join(watched_resources())}"
        )
    return found


def _check_query(resource: str, query: Mapping[str, str]) -> None:
    if not query:
        return
    if "watch" in query:
        facts = check_watched(resource)
        if query["watch"] not in facts.changes:
            raise InvalidAssetError(f"{resource}: watch must be one of {', '.join(facts.changes)}")
        known = {"watch", *WATCH_OPTIONS, *facts.filters} - (set() if facts.verbose else {"verbose"})
    elif EXPORT_KEY in query:
        known = {EXPORT_KEY}
    else:
        known = TABLE_KEYS
        if missing := sorted(TABLE_KEYS - set(query)):
            raise InvalidAssetError(
                f"{resource}: after ? a URI needs watch, export, or both table and warehouse; missing: "
                f"{', '.join(missing)}"
            )
    if unknown := sorted(set(query) - known):
        raise InvalidAssetError(f"{resource}: a URI does not take {unknown[0]!r}{did_you_mean(unknown[0], known)}")
