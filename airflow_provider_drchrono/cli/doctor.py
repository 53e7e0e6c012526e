"""``airflow drchrono doctor``: what a grant can do of all that the API offers, and what each missing thing needs.

It also says what the hosts of this Airflow should share and do not.

The scopes are known from the answer that brought the token, so that one call, which says who the token belongs to, is
enough. The permissions of that person inside DrChrono show only by trying: ``--probe`` asks one list of each group of
operations that need the same permissions, for one record.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_drchrono.catalog import Catalog, Operation, load
from airflow_provider_drchrono.client.errors import DrChronoError, PermissionDeniedError
from airflow_provider_drchrono.client.synchronous import DrChronoClient
from airflow_provider_drchrono.hooks.authorization import find_authorization
from airflow_provider_drchrono.hooks.many_hosts import quota_problem, staging_problem

Kind = Literal["action", "trigger", "operation"]
Can = Literal["yes", "no", "unknown"]
Probe = Literal["allowed", "refused", "empty", "failed"]
Permissions = tuple[str, ...]

KINDS: tuple[Kind, ...] = ("action", "trigger", "operation")
PROBED = {
    "allowed": "",
    "refused": "DrChrono refused a list that needs the same permissions",
    "empty": "a list that needs the same permissions came back empty, which may mean that one is missing",
    "failed": "DrChrono did not answer the probe",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether a grant can do one thing.

    :param name: the title of the action or trigger, or the operation's id.
    :param scopes: one of these has to be granted and none is; empty if the scopes suffice.
    :param permissions: what the user has to be allowed to do inside DrChrono.
    """

    kind: Kind
    name: str
    operation_id: str
    can: Can
    scopes: tuple[str, ...]
    permissions: Permissions
    note: str = ""


def doctor(args: Namespace) -> None:
    """Print what the connection's grant can do.

    :param args: ``conn_id``, ``output``, ``probe`` and ``all`` (rows of what works, too).
    """
    try:
        authorization = find_authorization(args.conn_id)
        with authorization.client() as client:
            user = _user(client)
            token = authorization.store.load()
            granted = token.scope if token else ()
            probes = probe(client, load(), granted) if args.probe else {}
            calls = client.calls
    except DrChronoError as error:
        raise SystemExit(str(error)) from None
    capabilities = examine(load(), granted, probes)
    problems = [each for each in (quota_problem(authorization.settings), staging_problem(None)) if each]
    if args.output == "json":
        print(json.dumps(_in_json(args.conn_id, user, granted, calls, capabilities, problems), indent=2))
        return
    for line in [*summary(user, granted, calls, capabilities, probed=args.probe), *problems]:
        print(line)
    _print_rows([each for each in capabilities if args.all or each.can != "yes"], args.output)


def examine(
    catalog: Catalog, granted: Sequence[str], probes: Mapping[Permissions, Probe] | None = None
) -> list[Capability]:
    """Return a decision on each action, each trigger, and each operation that is neither.

    :param granted: the scopes of the grant; none means that DrChrono did not say.
    :param probes: what was found by trying, by the permissions that it needs.
    """
    named: list[tuple[Kind, str, Operation]] = [
        ("action", each.action.title, each)
        for each in sorted(catalog.operations.values(), key=lambda each: each.action.number if each.action else 0)
        if each.action
    ]
    named += [("trigger", each.title, catalog.operation(each.operation)) for each in catalog.triggers]
    named += [("operation", each.id, each) for each in catalog.operations.values() if not each.action]
    return [_capability(kind, name, operation, granted, probes or {}) for kind, name, operation in named]


def probe(client: DrChronoClient, catalog: Catalog, granted: Sequence[str]) -> dict[Permissions, Probe]:
    """Ask one list for each group of operations that need the same permissions, and return what came of it.

    Groups without a list that needs no filter, or whose scopes are missing anyway, are not asked.
    """
    found: dict[Permissions, Probe] = {}
    for permissions, operation in _probes(catalog, granted).items():
        try:
            answer = client.call(operation.id, query={"page_size": 1})
        except PermissionDeniedError:
            found[permissions] = "refused"
        except DrChronoError:
            found[permissions] = "failed"
        else:
            found[permissions] = "allowed" if _has_records(answer) else "empty"
    return found


def summary(
    user: str | None, granted: Sequence[str], calls: int, capabilities: Sequence[Capability], *, probed: bool
) -> Iterable[str]:
    """Return the lines that go above the table."""
    yield f"Token of {user}" if user else "DrChrono does not say whose token this is: it takes the scope user:read"
    if granted:
        missing = [scope for scope in load().service.scopes if scope not in granted]
        yield f"Scopes granted: {len(granted)}; not granted: {', '.join(missing) or 'none'}"
    else:
        yield "DrChrono did not say which scopes it granted"
    for kind in KINDS:
        of_kind = [each for each in capabilities if each.kind == kind]
        count = Counter(each.can for each in of_kind)
        unknown = f", {count['unknown']} unknown" if count["unknown"] else ""
        yield f"{kind.capitalize()}s: {count['yes']} of {len(of_kind)} possible{unknown}"
    if not probed:
        yield "Permissions inside DrChrono were not tried; --probe tries them, with one call for each group"
    yield f"Calls made: {calls}"


def _capability(
    kind: Kind, name: str, operation: Operation, granted: Sequence[str], probes: Mapping[Permissions, Probe]
) -> Capability:
    lacking = () if operation.permitted_by(granted) else operation.scopes
    can: Can = "yes"
    note = ""
    if lacking:
        can = "no" if granted else "unknown"
    elif operation.permissions in probes:
        outcome = probes[operation.permissions]
        can = {"allowed": "yes", "refused": "no", "empty": "unknown", "failed": "unknown"}[outcome]  # type: ignore[assignment]
        note = PROBED[outcome]
    return Capability(kind, name, operation.id, can, lacking, operation.permissions, note)


def _probes(catalog: Catalog, granted: Sequence[str]) -> dict[Permissions, Operation]:
    chosen: dict[Permissions, Operation] = {}
    for operation in catalog.operations.values():
        if (
            operation.permissions
            and operation.kind == "list"
            and any(each.name == "page_size" for each in operation.parameters)
            and not any(each.required for each in operation.parameters)
            and not catalog.resource(operation.resource).requires_one_of
            and (not granted or operation.permitted_by(granted))
        ):
            chosen.setdefault(operation.permissions, operation)
    return chosen


def _has_records(answer: Any) -> bool:
    return isinstance(answer, dict) and any(isinstance(each, list) and each for each in answer.values())


def _user(client: DrChronoClient) -> str | None:
    try:
        user = client.current_user()
    except PermissionDeniedError:
        return None
    return f"{user.get('username') or 'a user without a name'} (user {user.get('id')})"


def _in_json(
    conn_id: str,
    user: str | None,
    granted: Sequence[str],
    calls: int,
    capabilities: Sequence[Capability],
    problems: Sequence[str],
) -> dict[str, Any]:
    return {
        "conn_id": conn_id,
        "user": user,
        "scopes_granted": list(granted),
        "scopes_missing": [scope for scope in load().service.scopes if scope not in granted] if granted else None,
        "calls": calls,
        "problems": list(problems),
        "possible": {kind: sum(each.kind == kind and each.can == "yes" for each in capabilities) for kind in KINDS},
        "operations": [
            {
                "kind": each.kind,
                "name": each.name,
                "operation_id": each.operation_id,
                "can": each.can,
                "needs_one_scope_of": list(each.scopes),
                "permissions": list(each.permissions),
                "note": each.note,
            }
            for each in capabilities
        ],
    }


def _print_rows(capabilities: Sequence[Capability], output: str) -> None:
    if not capabilities:
        return
    from airflow.cli.simple_table import AirflowConsole

    rows = [
        {
            "kind": each.kind,
            "name": each.name,
            "can": each.can,
            "scope": " or ".join(each.scopes),
            "permissions": ", ".join(each.permissions),
            "note": each.note,
        }
        for each in capabilities
    ]
    AirflowConsole().print_as(data=rows, output=output)
