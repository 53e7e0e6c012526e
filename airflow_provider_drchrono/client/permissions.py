"""Says which rights a 403, or a list that came back with too little, may lack; often the token's scopes are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence

PLAN = "the endpoint may not be part of the practice's DrChrono plan"


def refused_access(
    operation_id: str, *, scopes: Sequence[str], permissions: Sequence[str], granted: Collection[str] = ()
) -> str:
    """Return one line that names every right whose lack the 403 can mean.

    :param scopes: of these one is enough; empty if the operation needs none.
    :param permissions: permissions inside DrChrono that the user needs.
    :param granted: the scopes of the token; empty if they are not known.
    """
    start = f"{operation_id}: the API refused access (403)"
    if lacks_scope(scopes, granted):
        return f"{start}. {_missing_scope(scopes, permissions, granted)}"
    start += " and does not say why"
    if granted and scopes:
        start += f". {_scopes_suffice(scopes, granted)}"
    needs = _needs(scopes, permissions, granted)
    if not needs:
        return f"{start}. The record may belong to another practice, or {PLAN}"
    given = "both are" if len(needs) > 1 else "that is"
    return f"{start}. It needs {'; and '.join(needs)}. If {given} there, {PLAN}"


def lacks_scope(scopes: Collection[str], granted: Collection[str]) -> bool:
    """Tell whether a token is known to lack all scopes of which an operation needs one.

    :param scopes: of these one is enough; empty if the operation needs none.
    :param granted: the scopes of the token; empty if they are not known.
    """
    return bool(granted and scopes) and set(scopes).isdisjoint(granted)


def rights_to_see(*, scopes: Sequence[str], permissions: Sequence[str], granted: Collection[str] = ()) -> str:
    """Return one line that says which rights the records of a list take, and which of them the token lacks.

    DrChrono may answer a list with nothing, instead of refusing it, to a grant that may not see the records. The
    parameters are those of :func:`refused_access`.
    """
    if lacks_scope(scopes, granted):
        return _missing_scope(scopes, permissions, granted)
    needs = _needs(scopes, permissions, granted)
    if needs:
        return f"It needs {'; and '.join(needs)}"
    return _scopes_suffice(scopes, granted) if scopes else "It needs no right that we know of"


def _missing_scope(scopes: Sequence[str], permissions: Sequence[str], granted: Collection[str]) -> str:
    also = f". It also needs {_user_with(permissions)}" if permissions else ""
    return (
        f"It needs a token with the scope {' or '.join(scopes)}, and the token has only {', '.join(granted)}: "
        f"authorize the application with the missing scope{also}"
    )


def _scopes_suffice(scopes: Sequence[str], granted: Collection[str]) -> str:
    return f"The scopes suffice: it takes {' or '.join(scopes)}, and the token has {', '.join(granted)}"


def _needs(scopes: Sequence[str], permissions: Sequence[str], granted: Collection[str]) -> list[str]:
    needs = []
    if scopes and not granted:
        needs.append(f"a token with the scope {' or '.join(scopes)}: authorize the application with it")
    if permissions:
        needs.append(f"{_user_with(permissions)}, which an administrator gives in DrChrono under the staff permissions")
    return needs


def _user_with(permissions: Sequence[str]) -> str:
    return f"a user with the permission {' and '.join(permissions)}"
