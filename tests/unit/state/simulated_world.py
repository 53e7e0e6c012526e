"""Runs the processes of a test in simulated time, so that every order of their steps can be tried and repeated.

Each process is a thread, but only one runs at a time: whoever waits, or talks to the shared variables, hands over to
whichever process is due next.
"""

import heapq
import random
import threading
from collections.abc import Callable


class Killed(BaseException):
    """Ends a process on the spot, as kill -9 would."""


class World:
    """Simulated time, and the variables that all processes share.

    :param seed: decides how long each step takes.
    :param slow: how many of a hundred requests take far longer than usual.
    """

    def __init__(self, seed: int, slow: int = 0) -> None:
        self.values: dict[str, str] = {}
        self.now = 0.0
        self._dice = random.Random(seed)
        self._slow = slow
        self._due: list[tuple[float, int, threading.Semaphore]] = []
        self._turn = threading.Semaphore(0)
        self._order = 0
        self._errors: list[BaseException] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        woken = threading.Semaphore(0)
        self._schedule(seconds, woken)
        self._turn.release()
        woken.acquire()

    def read(self, key: str) -> str | None:
        self.sleep(self._latency())
        value = self.values.get(key)
        self.sleep(self._latency())
        return value

    def write(self, key: str, value: str, description: str) -> None:
        self.sleep(self._latency())
        self.values[key] = value
        self.sleep(self._latency())

    def run(self, *processes: Callable[[], None]) -> None:
        """Run the processes to their ends, starting each at a moment of its own in the first second."""
        threads = [threading.Thread(target=self._live, args=(each,), daemon=True) for each in processes]
        for thread in threads:
            thread.start()
            self._turn.acquire()
        while self._due:
            self.now, _, woken = heapq.heappop(self._due)
            woken.release()
            self._turn.acquire()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _live(self, process: Callable[[], None]) -> None:
        self.sleep(self._dice.random())
        try:
            process()
        except Killed:
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._turn.release()

    def _latency(self) -> float:
        if self._dice.randrange(100) < self._slow:
            return self._dice.uniform(1, 20)
        return self._dice.uniform(0.001, 0.3)

    def _schedule(self, seconds: float, woken: threading.Semaphore) -> None:
        self._order += 1
        heapq.heappush(self._due, (self.now + seconds, self._order, woken))
