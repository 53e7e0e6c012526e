"""Paths of requests past the catalogue, as far as they can be judged while a DAG is parsed: standard library only."""

from __future__ import annotations

import re
from urllib.parse import unquote

from airflow_provider_drchrono.catalog.model import HttpMethod
from airflow_provider_drchrono.client.errors import InvalidArgumentError

METHODS: tuple[HttpMethod, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET",)
"""Methods of which a second arrival does no harm, whatever they are sent to."""

OAUTH = "o"
"""First segment of the addresses that give, renew and revoke tokens."""

NAMED_SEGMENT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""A segment that may be named in messages: it is part of the address, not of somebody's data."""

LONGEST = 2048


def is_whole_address(path: str) -> bool:
    """Tell whether it is an address with scheme and host, and no path alone."""
    return "://" in path.partition("?")[0]


def path_segments(path: object) -> list[str]:
    """Return the decoded segments of a path.

    :raises InvalidArgumentError: it may lead elsewhere, or is no path. It is not repeated, as it may name a patient.
    """
    text = path if isinstance(path, str) else ""
    if not text.startswith("/") or text.startswith("//") or len(text) > LONGEST:
        raise InvalidArgumentError("path must begin with one slash, such as /api/patients")
    if "?" in text or "#" in text:
        raise InvalidArgumentError("path has a query or a fragment; give query parameters in query")
    segments = [unquote(each, errors="replace") for each in text[1:].split("/")]
    # A slash at the end, as older pages of the vendor write it, stays.
    inner = segments[:-1] if segments[-1] == "" else segments
    for each in inner or [""]:
        if each.strip() in ("", ".", "..") or any(mark in each for mark in "/\\%?#") or not each.isprintable():
            raise InvalidArgumentError(
                "path has a segment that is empty, a dot segment, or one with a character that no address has; was an "
                "id looked up from a record that is not there?"
            )
    if inner[0].lower() == OAUTH:
        raise InvalidArgumentError(
            "path leads to the OAuth endpoints, whose answers end the tokens that the connection keeps; use "
            "airflow drchrono authorize, or let the client renew its token by itself"
        )
    return segments
