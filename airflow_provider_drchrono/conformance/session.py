"""One run against the service: counts its calls, and keeps of the answers what the questions need while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import Catalog, Operation, Resource
from airflow_provider_drchrono.client.errors import (
    AuthenticationError,
    BadRequestError,
    DrChronoError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.paging import ENVELOPE_KEYS
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.synchronous import DrChronoClient
from airflow_provider_drchrono.client.tokens import TokenStore
from airflow_provider_drchrono.client.transport import Reply
from airflow_provider_drchrono.conformance.tally import Tally

MOST_CALLS = 59
"""Of one conformance run, however often it is interrupted and resumed."""

RATE_WORDS = ("rate", "limit", "quota", "retry", "throttle", "remaining")

Record = dict[str, Any]


class BudgetSpentError(DrChronoError):
    """A conformance run has made as many calls as it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one question.

    :param status: of the last reply; 0 where none came.
    :param statuses: of all replies, redirects included.
    :param value: decoded JSON of a success; it may be patient data.
    :param locations: where redirects led.
    :param reasons: the texts of a 400; they may be patient data.
    """

    status: int
    statuses: tuple[int, ...] = ()
    value: Any = field(default=None, repr=False)
    locations: tuple[str, ...] = field(default=(), repr=False)
    reasons: tuple[str, ...] = field(default=(), repr=False)

    @property
    def works(self) -> bool:
        """Whether it is a success that could be read."""
        return 200 <= self.status < 300

    @property
    def envelope(self) -> str:
        """What the records stand in: the key, ``a bare list``, or ``no list``."""
        if isinstance(self.value, list):
            return "a bare list"
        lists = [key for key, each in self.value.items() if isinstance(each, list)] if self._is_object else []
        return next((key for key in ENVELOPE_KEYS if key in lists), lists[0] if len(lists) == 1 else "no list")

    @property
    def records(self) -> list[Record]:
        """The records of a page; they are patient data."""
        rows = self.value if isinstance(self.value, list) else None
        if self._is_object:
            rows = self.value.get(self.envelope)
        return [each for each in rows or () if isinstance(each, dict)]

    @property
    def next_link(self) -> str | None:
        """The link to the next page, as it came."""
        link = self.value.get("next") if self._is_object else None
        return link if isinstance(link, str) and link else None

    @property
    def _is_object(self) -> bool:
        return isinstance(self.value, dict)


class Session:
    """Asks the service, and knows what it needs to word the next question.

    :param catalog: what is believed, without the facts of the connection.
    :param token_store: as for the client.
    :param quota: as for the client.
    :param sleep: lets seconds pass.
    :param spent: calls that earlier runs made of the same conformance run.
    """

    def __init__(
        self,
        settings: ClientSettings,
        catalog: Catalog,
        *,
        token_store: TokenStore | None = None,
        quota: Any = None,
        tally: Tally | None = None,
        headers: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        spent: int = 0,
    ) -> None:
        self.catalog = catalog
        self.tally = tally or Tally()
        self.rate_headers = set(headers)
        self.sleep = sleep
        self.spent = spent
        self._token_store = token_store
        self._replies: list[Reply] = []
        # What is asked is worded here; facts would change it, and a second try would cost a call.
        plain = settings.model_copy(update={"facts": None, "max_attempts": 1})
        self.client = DrChronoClient(plain, token_store=token_store, quota=quota, observer=self._observe)
        self._zones: tuple[str, ...] | None = (settings.timezone,) if settings.timezone else None

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @property
    def calls(self) -> int:
        """How many calls were made, those of earlier runs included."""
        return self.spent + self.client.calls

    @property
    def base_url(self) -> str:
        """The origin that is asked."""
        return self.client.settings.base_url

    @property
    def granted(self) -> tuple[str, ...]:
        """The scopes of the token, as far as the service named them."""
        token = self._token_store.load() if self._token_store else None
        return token.scope if token else ()

    @property
    def now(self) -> datetime:
        """The server's clock, aware, in UTC; this machine's before the first answer."""
        return self.client.server_time or datetime.now(UTC)

    @property
    def zones(self) -> tuple[str, ...]:
        """The practice's zones: the connection's, or those of its doctors, for which it asks once."""
        if self._zones is None:
            doctors = self.ask("/api/doctors", {"page_size": 250}).records
            self.keep_zones(
                sorted({str(each.get("timezone")) for each in doctors if self.is_zone(each.get("timezone"))})
            )
        return self._zones or ()

    def keep_zones(self, names: Sequence[str]) -> None:
        """Keep the zones of the practice's doctors, unless the connection names one."""
        if self._zones is None:
            self._zones = tuple(names)

    @staticmethod
    def is_zone(name: object) -> bool:
        """Tell whether a value is the IANA name of a zone."""
        try:
            return isinstance(name, str) and bool(name) and bool(ZoneInfo(name))
        except (LookupError, ValueError, OSError):
            return False

    def wall_clock(self, before: timedelta = timedelta(0)) -> datetime:
        """Return what the practice's clock shows now, or showed some time before, without a zone.

        :param before: how long ago.
        """
        moment = self.now - before
        clocks = [moment.astimezone(ZoneInfo(each)).replace(tzinfo=None, microsecond=0) for each in self.zones]
        return min(clocks, default=moment.replace(tzinfo=None, microsecond=0))

    def ask(self, path: str, params: Mapping[str, Any] | None = None, *, method: str = "GET") -> Answer:
        """Make one call and return what came, failures included.

        :param method: ``POST`` only to start a bulk list, which creates nothing.
        :raises BudgetSpentError: there are no calls left.
        :raises DrChronoError: the service cannot be asked now, or not by this connection.
        """
        if self.calls >= MOST_CALLS:
            raise BudgetSpentError("The calls of this run are used up; what is left has not been asked")
        self._replies.clear()
        try:
            value = self.client.request(method, path, query=params)
        except BadRequestError as error:
            return self._answer(reasons=tuple(each for texts in error.field_errors.values() for each in texts))
        except (UnexpectedAnswerError, RequestTimeoutError):
            # A success that is none, such as a page of HTML; or one page that takes too long.
            return self._answer(readable=False)
        except (AuthenticationError, RateLimitedError):
            raise
        except ResponseError:
            return self._answer()
        return self._answer(value=value)

    def ask_list(self, resource: Resource, params: Mapping[str, Any] | None = None) -> Answer:
        """Ask a list for one page, and count how its records are spelt."""
        answer = self.ask(list_of(resource).path, params)
        record = self.catalog.record_of(resource.name)
        if record is not None:
            self.tally.note(record, answer.records)
        return answer

    def ask_link(self, link: str) -> Answer:
        """Ask for the page that a link leads to, at our own origin."""
        parts = urlsplit(link)
        return self.ask(parts.path, dict(parse_qsl(parts.query)))

    def _observe(self, reply: Reply) -> None:
        self._replies.append(reply)
        self.rate_headers |= {each for each in reply.headers if any(word in each.lower() for word in RATE_WORDS)}
        if self.calls > MOST_CALLS:
            raise BudgetSpentError("The calls of this run are used up; what is left has not been asked")

    def _answer(self, *, value: Any = None, reasons: tuple[str, ...] = (), readable: bool = True) -> Answer:
        statuses = tuple(each.status for each in self._replies)
        locations = tuple(each.headers["location"] for each in self._replies if "location" in each.headers)
        return Answer(statuses[-1] if statuses and readable else 0, statuses, value, locations, reasons)


def list_of(resource: Resource) -> Operation:
    """Return the operation that lists a resource."""
    operation = resource.list_operation
    assert operation is not None  # noqa: S101 - questions are about lists
    return operation
