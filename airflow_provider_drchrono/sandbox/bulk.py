"""Background lists: a POST takes a ticket, a GET asks whether the page is there, and a result lives one hour."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.filters import Filters
from airflow_provider_drchrono.sandbox.paging import render
from airflow_provider_drchrono.sandbox.practice import Key, Row, Table
from airflow_provider_drchrono.sandbox.wire import TRUE, Response, answer, bad_fields, detail, whole

LIFETIME = timedelta(hours=1)
IN_PROGRESS = "In progress"
EXPIRED = "Invalid uuid specified"


@dataclass(slots=True)
class _Job:
    ready_at: datetime
    polls_left: int
    body: bytes
    resource: str


class BulkLists:
    """The background lists that are being made or wait to be fetched.

    :param polls: how many times a result is asked for before it is there.
    :param seconds: how long a list takes by the sandbox's clock.
    """

    def __init__(self, clock: Clock, seed: int, *, polls: int, seconds: float) -> None:
        self.clock = clock
        self.polls = polls
        self.seconds = seconds
        self._random = random.Random(f"{seed}:bulk")  # noqa: S311 - tickets of a sandbox
        self._jobs: dict[str, _Job] = {}

    def start(
        self,
        table: Table,
        filters: Filters,
        given: Mapping[str, str],
        *,
        resource: str,
        largest: int,
        order: str = "",
        link: str = "",
    ) -> Response:
        """Take a list as it is now and answer with the ticket for one page of it.

        :param given: parameters of the request; ``page``, ``page_size``, ``order_by`` and ``verbose`` are used here.
        :param resource: the resource whose GET fetches the result.
        :param order: field that the rows are ordered by unless ``order_by`` says otherwise.
        :param link: where the result is fetched, without the ticket.
        """
        keys = _ordered(table, table.matching(filters.token, filters.keep, "id"), given.get("order_by") or order)
        size = min(_number(given, "page_size", largest), largest)
        page = _number(given, "page", 1)
        chosen = keys[(page - 1) * size : page * size]
        rows = render(table, chosen, verbose=given.get("verbose", "").lower() in TRUE)
        now = self.clock.now()
        self._jobs = {each: job for each, job in self._jobs.items() if now < job.ready_at + LIFETIME}
        ticket = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        head = (
            f'{{"status":"Complete","uuid":"{ticket}","pagination":{{"count":{len(keys)},'
            f'"pages":{math.ceil(len(keys) / size)},"page_size":{size},"page":{page}}},"results":['
        )
        self._jobs[ticket] = _Job(
            now + timedelta(seconds=self.seconds),
            self.polls,
            head.encode() + b",".join(rows) + b"]}",
            resource,
        )
        description = f"The list is being prepared. Fetch it at {link}?uuid={ticket}"
        return answer(201, {"status": IN_PROGRESS, "uuid": ticket, "description": description})

    def result(self, resource: str, ticket: str | None) -> Response:
        """Return the page of a ticket, or that it is not there yet.

        :raises Refusal: 400 without a ticket, or for one that is unknown, of another list or older than an hour.
        """
        if not ticket:
            raise bad_fields({"uuid": ["This field is required."]})
        job = self._jobs.get(ticket)
        now = self.clock.now()
        if job is None or job.resource != resource or now >= job.ready_at + LIFETIME:
            raise detail(400, EXPIRED)
        if job.polls_left > 0 or now < job.ready_at:
            job.polls_left = max(0, job.polls_left - 1)
            return answer(200, {"status": IN_PROGRESS, "uuid": ticket})
        return Response(200, job.body, {"content-type": "application/json"})


def _ordered(table: Table, keys: Sequence[Key], order_by: str) -> Sequence[Key]:
    name = order_by.removeprefix("-")
    if not name:
        return keys
    if name == "id" and table.key:
        # Clinical notes have no id of their own: their key is the visit's.
        name = table.key
    if name not in table.plain:
        raise bad_fields({"order_by": [f'"{name}" is not a field of the list.']})

    def place(key: Key) -> tuple[bool, Any]:
        row: Row = table.listed(key) or {}
        value = row.get(name)
        return value is None, value if isinstance(value, (int, float)) else str(value)

    return sorted(keys, key=place, reverse=order_by.startswith("-"))


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    number = whole(text) if text else default
    if number is None or number < 1:
        raise bad_fields({name: ["Enter a whole number from 1 up."]})
    return number
