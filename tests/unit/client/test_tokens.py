import json
import multiprocessing
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from airflow_provider_drchrono.client import ConfigurationError, FileTokenStore, MemoryTokenStore, Token, grant_id_of

TOKEN = Token(
    "access-canary", "refresh-canary", 1_800_000_000.0, ("patients:read",), grant_id_of("first"), 1_799_000_000.0
)


def test_repr_shows_no_secret() -> None:
    assert "canary" not in repr(TOKEN)


def test_a_token_survives_json() -> None:
    assert Token.from_dict(json.loads(json.dumps(TOKEN.to_dict()))) == TOKEN


def test_keys_of_later_versions_are_left_out() -> None:
    assert Token.from_dict({**TOKEN.to_dict(), "invented": 1}) == TOKEN


def test_values_without_an_access_token_are_no_token() -> None:
    with pytest.raises(ValueError, match="no access token"):
        Token.from_dict({"refresh_token": "refresh-canary"})


def test_seeds_tell_refresh_tokens_apart_and_reveal_nothing() -> None:
    assert grant_id_of("one") != grant_id_of("two")
    assert "refresh-canary" not in grant_id_of("refresh-canary")
    assert grant_id_of(None) == grant_id_of("") == ""


def test_file_keeps_the_token_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    store = FileTokenStore(path)
    assert store.load() is None
    with store.lease():
        store.save(TOKEN)
    assert FileTokenStore(path).load() == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {"token.json", "token.json.lock"}


def test_file_is_nobody_elses_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    before = os.umask(0)
    try:
        with FileTokenStore(path).lease():
            FileTokenStore(path).save(TOKEN)
    finally:
        os.umask(before)
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {
        "token.json": 0o600,
        "token.json.lock": 0o600,
    }


def test_file_that_others_could_read_is_closed_by_the_next_token(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    FileTokenStore(path).save(TOKEN)
    path.chmod(0o644)
    FileTokenStore(path).save(TOKEN)
    assert FileTokenStore(path).load() == TOKEN


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"access_token": ""}', "null"])
def test_file_with_something_else(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no token; delete it"):
        FileTokenStore(path).load()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601], ids=oct)
def test_file_that_others_can_reach(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token.json"
    FileTokenStore(path).save(TOKEN)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        FileTokenStore(path).load()


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        FileTokenStore(tmp_path).load()


def test_folder_that_is_not_there_is_noticed_before_a_refresh_token_is_spent(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "nowhere" / "token.json")
    with pytest.raises(ConfigurationError, match="make its folder writable"), store.lease():
        raise AssertionError("the lease was given")
    with pytest.raises(ConfigurationError, match="authorize the application again"):
        store.save(TOKEN)


def _enter_and_leave(path: Path, order: Path) -> None:
    with FileTokenStore(path).lease():
        with order.open("a") as file:
            file.write("in ")
        time.sleep(0.05)
        with order.open("a") as file:
            file.write("out ")


def test_file_lease_excludes_other_processes(tmp_path: Path) -> None:
    order = tmp_path / "order"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_enter_and_leave, args=(tmp_path / "t.json", order)) for _ in range(3)]
    for each in others:
        each.start()
    for each in others:
        each.join(30)
    assert order.read_text().split() == ["in", "out"] * 3


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_lease_excludes_other_threads(tmp_path: Path, kind: str) -> None:
    store = MemoryTokenStore() if kind == "memory" else FileTokenStore(tmp_path / "token.json")
    inside = 0
    most = 0

    def enter() -> None:
        nonlocal inside, most
        with store.lease():
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 1


def test_a_token_that_cannot_take_its_place_leaves_no_copy_behind(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()

    with pytest.raises(ConfigurationError, match="cannot be written to"):
        FileTokenStore(tmp_path / "token").save(TOKEN)

    assert [each.name for each in tmp_path.iterdir()] == ["token"]
