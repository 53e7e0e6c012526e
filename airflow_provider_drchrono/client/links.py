"""Decides which links of the API are followed, and where: always at the connection's own origin.

The vendor's links may name a sister host, ``http`` in place of ``https``, or no port. Of such a link only the path and
the query are believed, so that neither the token nor a filter ever goes to another host.
"""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from airflow_provider_drchrono.client.settings import DEFAULT_PORTS, is_host

API_PATH = "/api/"


def same_origin(base_url: str, url: str) -> bool:
    """Tell whether an address has the scheme, host and port of the base URL, and nothing to hide its host behind."""
    try:
        own, other = urlsplit(base_url), urlsplit(url)
        return _origin(own) == _origin(other) and _is_plain(url, other)
    except ValueError:
        return False


def own_link(base_url: str, link: str, found_at: str | None = None) -> str | None:
    """Return the address, at the own origin, that a link stands for; None if the link must not be followed.

    :param base_url: scheme, host and, if it is unusual, port of the connection.
    :param link: absolute or relative, as the API sent it.
    :param found_at: the address that a relative link starts from; the base URL if left out.
    """
    try:
        url = urljoin(found_at or f"{base_url}/", link)
        parts = urlsplit(url)
        if not same_origin(base_url, url) and not _is_of_api(link, parts):
            return None
    except ValueError:
        return None
    path = parts.path or "/"
    return f"{base_url}{path}?{parts.query}" if parts.query else f"{base_url}{path}"


def _is_of_api(link: str, parts: SplitResult) -> bool:
    """Tell whether a link with another origin is one of the API's own, as far as its form goes."""
    segments = unquote(parts.path).split("/")
    return (
        parts.scheme in DEFAULT_PORTS
        and not link.lstrip().startswith("/")
        and is_host(parts.hostname or "")
        and _is_plain(link, parts)
        and parts.path.startswith(API_PATH)
        and not {".", ".."} & set(segments)
        # Reading the port raises for one that is none.
        and parts.port != 0
    )


def _is_plain(url: str, parts: SplitResult) -> bool:
    return "@" not in parts.netloc and "\\" not in url and url.isprintable() and " " not in url


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
