"""A page that a practice takes its time to send, and what people do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_drchrono.sandbox import Fault, Sandbox

DELAY = 2.0
"""Seconds between the look-up of a page's records and its date, of which only whole seconds are told."""


@contextmanager
def working_while_answered(
    sandbox: Sandbox, resource: str, work: Callable[[], object], *, skip: int = 0
) -> Iterator[None]:
    """Let one page of a list be slow, and somebody work after its records were looked up and before it is dated.

    :param skip: pages before it, which are quick.
    """
    first = len(sandbox.journal)
    last = sandbox.journal[-1].index if first else -1

    def work_in_time() -> None:
        while len(sandbox.journal.calls(resource=resource, status=200, since_index=last + 1)) <= skip:
            if given_up.wait(0.005):
                return
        work()
        done.append(time.monotonic())

    done: list[float] = []
    given_up = threading.Event()
    sandbox.faults.add(Fault(kind="slow", resource=resource, seconds=DELAY, skip=skip))
    # The work is dated in the same second as the request, and the answer in a later one.
    sandbox.clock.set(sandbox.clock.now().replace(microsecond=0))
    person = threading.Thread(target=work_in_time, daemon=True)
    person.start()
    try:
        yield
    finally:
        given_up.set()
        person.join()
    assert done, f"no page of {resource} was asked for"
