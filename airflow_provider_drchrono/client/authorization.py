"""The two ends of the authorization code flow that take no request: where a person is sent, and what comes back."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.errors import AuthenticationError, ConfigurationError, InvalidArgumentError
from airflow_provider_drchrono.client.settings import ClientSettings, is_loopback

ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class AuthorizationDeniedError(AuthenticationError):
    """The person who was asked said no, or DrChrono did not ask."""


def authorization_url(settings: ClientSettings, redirect_uri: str, state: str) -> str:
    """Return the address at which a person allows the application to act for them.

    The scopes of the settings are asked for; without any, DrChrono grants all.

    :param redirect_uri: where DrChrono sends the browser afterwards; it has to be registered with the application.
    :param state: comes back unchanged, so that the answer can be told from a forged one.
    :raises ConfigurationError: the redirect URI cannot be one.
    """
    check_redirect_uri(redirect_uri)
    query = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if settings.scope:
        query["scope"] = " ".join(settings.scope)
    return f"{settings.base_url}{load().service.authorize_path}?{urlencode(query)}"


def check_redirect_uri(redirect_uri: str) -> None:
    """Refuse what DrChrono would refuse, or what would carry the code unprotected over a network.

    :raises ConfigurationError: it is not an https address, nor one of this machine.
    """
    parts = urlsplit(redirect_uri)
    local = parts.scheme == "http" and parts.hostname is not None and is_loopback(parts.hostname)
    if not local and not (parts.scheme == "https" and parts.hostname):
        raise ConfigurationError(
            "The redirect URI is neither https nor on this machine, so the authorization could be read on its way; "
            "serve Airflow over https and say so in [api] base_url"
        )


def answer_in(text: str) -> Mapping[str, str]:
    """Return the parameters of the address that DrChrono sent the browser to, as it was pasted.

    :param text: the address, or what comes after its question mark.
    :raises InvalidArgumentError: there is neither a code nor an error in it.
    """
    text = text.strip().strip("'\"")
    query = urlsplit(text).query or text.rpartition("?")[2]
    answer = dict(parse_qsl(query))
    if not answer.keys() & {"code", "error"}:
        raise InvalidArgumentError(
            "This is not the address that DrChrono sent the browser to, it holds no code; copy the whole address "
            "from the browser's address bar, even though the page itself may not load"
        )
    return answer


def code_in(answer: Mapping[str, str], state: str) -> str:
    """Return the code of DrChrono's answer.

    :param answer: the parameters with which the browser came back.
    :param state: what it was sent with.
    :raises AuthorizationDeniedError: the person cancelled, or DrChrono refused the request.
    :raises InvalidArgumentError: the answer belongs to another request, or holds no code.
    """
    if not hmac.compare_digest(answer.get("state", "").encode(), state.encode()):
        raise InvalidArgumentError(
            "The answer belongs to another authorization than the one that was begun here, or is forged; nothing was "
            "changed, authorize again"
        )
    if error := answer.get("error"):
        raise denial(error)
    if not (code := answer.get("code")):
        raise InvalidArgumentError("DrChrono's answer holds no code; authorize again")
    return code


def denial(error: str) -> AuthorizationDeniedError:
    """Return what DrChrono's error code, in place of an authorization code, means."""
    shown = error if ERROR_CODE.fullmatch(error) else "no reason that can be shown"
    remedy = {
        "access_denied": "The authorization was cancelled in DrChrono; nothing was changed",
        "invalid_scope": "DrChrono does not know one of the scopes, and then refuses them all (invalid_scope); correct "
        "the scope of the connection",
    }
    return AuthorizationDeniedError(
        remedy.get(error, f"DrChrono refused the authorization ({shown}); check the application's settings there"),
        kind="no_refresh_token",
    )
