"""Says what a 403 can mean. The API gives no reason, but the scopes of the token are often known."""

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
    needed = " or ".join(scopes)
    user = f"a user with the permission {' and '.join(permissions)}" if permissions else ""
    if granted and scopes and set(scopes).isdisjoint(granted):
        also = f". It also needs {user}" if user else ""
        return (
            f"{start}. It needs a token with the scope {needed}, and the token has only {', '.join(granted)}: "
            f"authorize the application with the missing scope{also}"
        )
    start += " and does not say why"
    if granted and scopes:
        start += f". The scopes suffice: it takes {needed}, and the token has {', '.join(granted)}"
    needs = [f"a token with the scope {needed}: authorize the application with it"] if scopes and not granted else []
    if user:
        needs.append(f"{user}, which an administrator gives in DrChrono under the staff permissions")
    if not needs:
        return f"{start}. The record may belong to another practice, or {PLAN}"
    given = "both are" if len(needs) > 1 else "that is"
    return f"{start}. It needs {'; and '.join(needs)}. If {given} there, {PLAN}"
