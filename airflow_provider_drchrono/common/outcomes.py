"""Decides what an error of the client means for the task in which it happened.

====================================  ==========================================================================
the error                             the task
====================================  ==========================================================================
``RateLimitedError`` with a time      gives its slot back, and starts again from its beginning when calls are left
another one that is ``transient``     fails with the error itself, and is retried if it has retries left
any other                             fails for good: a retry would only repeat the error
====================================  ==========================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from airflow_provider_drchrono.compat import AirflowFailException, AirflowRescheduleException

log = logging.getLogger(__name__)

# The executor takes a task for failed if it is due again before its worker process has ended.
SHORTEST_RESCHEDULE = timedelta(seconds=60)


@contextmanager
def airflow_outcome(*, reschedule: bool = True) -> Iterator[None]:
    """Turn errors of the client, raised in the block, into outcomes of the task that runs it.

    :param reschedule: whether the task may be started again from its beginning when the quota is used up. False where
        it cannot, as in a trigger, or where it would repeat writes that went through.
    :raises AirflowFailException: a retry would only repeat the error; the message is that of the error.
    :raises AirflowRescheduleException: the quota is used up until the time that it carries, in UTC.
    :raises DrChronoError: a retry may help.
    """
    from airflow_provider_drchrono.client import DrChronoError, RateLimitedError

    try:
        yield
        return
    except RateLimitedError as error:
        if not reschedule or error.retry_at is None:
            raise
        message, retry_at = str(error), error.retry_at
    except DrChronoError as error:
        # The argument error of an operator is an AirflowFailException already.
        if error.transient or isinstance(error, AirflowFailException):
            raise
        message, retry_at = str(error), None
    if retry_at is None:
        raise AirflowFailException(message) from None
    raise put_off(message, retry_at) from None


def put_off(message: str, retry_at: datetime) -> AirflowRescheduleException:
    """Return what makes the task start again later, without a worker until then, and say so in the log.

    :param message: why, in one line without a value.
    """
    due = max(retry_at, datetime.now(UTC) + SHORTEST_RESCHEDULE)
    log.info("%s. The task goes on at %s", message.rstrip("."), due.isoformat(timespec="seconds"))
    return AirflowRescheduleException(due)  # type: ignore[no-untyped-call]
