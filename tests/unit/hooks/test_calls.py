"""Calls straight from the hook: they are the client's, and leave nothing open."""

import inspect
from collections.abc import Iterator

import pytest

from airflow_provider_drchrono.client import DrChronoClient, InvalidArgumentError, NotFoundError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import connected_sandbox

VERBS = ("call", "pages", "list", "read", "create", "update", "replace", "delete")


class Counted:
    """How many clients were opened and closed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened = self.closed = 0
        begin, close = DrChronoClient.__init__, DrChronoClient.close

        def counted_begin(client: DrChronoClient, *args: object, **kwargs: object) -> None:
            self.opened += 1
            begin(client, *args, **kwargs)  # type: ignore[arg-type]

        def counted_close(client: DrChronoClient) -> None:
            self.closed += 1
            close(client)

        patch.setattr(DrChronoClient, "__init__", counted_begin)
        patch.setattr(DrChronoClient, "close", counted_close)

    @property
    def open(self) -> int:
        return self.opened - self.closed


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=3) as running:
        yield running


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.mark.parametrize("verb", VERBS)
def test_they_take_what_the_client_takes(verb: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, verb)) for kind in (DrChronoHook, DrChronoClient))

    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert ours.return_annotation == theirs.return_annotation


def test_a_block_gives_the_client_and_closes_it(clients: Counted) -> None:
    hook = DrChronoHook()

    with hook as drchrono:
        assert isinstance(drchrono, DrChronoClient)
        assert len(list(hook.list("patients"))) == 3
        assert hook.get_conn() is drchrono
        assert clients.open == 1

    assert (clients.opened, clients.closed) == (1, 1)


def test_single_calls_do_what_they_say_and_leave_nothing_open(clients: Counted, sandbox: Sandbox) -> None:
    hook = DrChronoHook("drchrono_default")
    patient = next(iter(sandbox.practice.records("patients")))
    status = sandbox.practice.records("task_statuses")[0]["id"]

    created = hook.create("tasks", {"title": "Call back", "status": status})
    assert hook.read("tasks", created["id"])["title"] == "Call back"
    hook.update("tasks", created["id"], {"title": "Called"})
    hook.replace("tasks", created["id"], {"title": "Done", "status": status})
    assert hook.call("tasks_read", path={"id": created["id"]})["title"] == "Done"
    assert [page.records[0]["id"] for page in hook.pages("patients", page_size=1)][:1] == [patient["id"]]
    assert clients.open == 0


def test_a_list_closes_when_it_ends_and_when_it_is_left(clients: Counted) -> None:
    hook = DrChronoHook()

    assert len(list(hook.list("patients"))) == 3
    assert clients.open == 0

    left = hook.list("patients")
    next(left)
    assert clients.open == 1
    left.close()  # type: ignore[attr-defined]
    assert clients.open == 0


def test_lists_side_by_side_share_one_client(clients: Counted) -> None:
    hook = DrChronoHook()

    pairs = list(zip(hook.list("patients"), hook.list("patients"), strict=True))

    assert [one["id"] for one, _ in pairs] == [other["id"] for _, other in pairs]
    assert clients.open == 0


def test_a_client_that_was_asked_for_is_kept(clients: Counted) -> None:
    hook = DrChronoHook()
    records = hook.list("patients")
    next(records)
    drchrono = hook.get_conn()

    list(records)
    hook.read("users", "current")

    assert hook.get_conn() is drchrono
    assert clients.open == 1
    hook.close()
    assert clients.open == 0


def test_errors_are_the_clients_and_leave_nothing_open(clients: Counted) -> None:
    hook = DrChronoHook()

    with pytest.raises(NotFoundError):
        hook.read("patients", 999_999_999)
    with pytest.raises(InvalidArgumentError):
        hook.list("patiens")

    assert clients.open == 0
