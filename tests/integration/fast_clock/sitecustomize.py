"""For processes under libfaketime, whose ``clock_nanosleep`` fails where the monotonic clock is the true one."""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
