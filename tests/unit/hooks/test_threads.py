"""Hooks in the threads of a triggerer: what one of them waits for must not stop another one."""

import ast
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow_provider_drchrono
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

PACKAGE = Path(airflow_provider_drchrono.__file__).parent


class SlowHook(DrChronoHook):
    """Its connection is read when the event loop has time for it."""

    def __init__(self, read: threading.Event) -> None:
        super().__init__("slow")
        self.asked = threading.Event()
        self.read = read

    @property
    def settings(self) -> Any:  # type: ignore[override]
        self.asked.set()
        assert self.read.wait(30)
        return SimpleNamespace(facts={})


def test_no_hook_waits_for_the_connection_of_another_one() -> None:
    read = threading.Event()
    slow, quick = SlowHook(read), DrChronoHook("quick")
    vars(quick)["settings"] = SimpleNamespace(facts={})
    in_thread = threading.Thread(target=lambda: slow.catalog, daemon=True)
    in_thread.start()
    assert slow.asked.wait(30)

    in_loop = threading.Thread(target=lambda: quick.catalog, daemon=True)
    in_loop.start()
    in_loop.join(10)
    stands_still = in_loop.is_alive()
    read.set()
    in_thread.join(30)

    assert not stands_still
    assert vars(quick)["catalog"] is quick.catalog


def test_nothing_that_knows_airflow_uses_the_property_with_a_lock() -> None:
    with_lock = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if "catalog" not in file.parts and file.name != "cached.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "functools"
        if "cached_property" in [each.name for each in node.names]
    ]

    assert with_lock == []
