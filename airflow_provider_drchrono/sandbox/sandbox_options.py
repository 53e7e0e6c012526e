"""All options of the sandbox, with the vendor's behaviour as the default."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

Envelope = Literal["contract", "data", "results"]
Order = Literal["id", "updated_at", "-updated_at"]
Spelling = Literal["T", "space", "micro", "mixed"]
Reuse = Literal["end_grant", "refuse", "allow"]
Links = Literal["sister", "own"]

HOUR = 3_600
DAY = 86_400
FROM_CONTRACT: Envelope = "contract"

MOST_PRACTICES = 1_000
"""How many practice groups a sandbox can be one of: more than anybody tries at once."""

FEATURES = ("duplicate_check", "recurrence_instance_key")
"""What the vendor switches on for some practices."""

SECOND_ZONE: Mapping[str, str] = {"America/Chicago": "America/New_York"}
"""Zone of every other doctor, by the practice's own; the practices of all others have one in Chicago."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the practice holds and how the API before it behaves.

    :param patients: patients of the practice.
    :param appointments_per_patient: visits of each, most of them in the past.
    :param tidy: leave out what makes a practice untidy: breaks, series, deleted and overlapping visits, custom
        statuses, names of all kinds, missing values, odd amounts, long notes, stale ids, a second time zone, links on
        a sister host, and links to files that expire.
    :param seed: equal seeds, sizes and clock starts give equal data, byte for byte.
    :param practice_group: id of the practice group. Two of them are two practices: their records share no id.
    :param records: number of records of single resources, for example ``{"task_notes": 1_000_000}``.
    :param timezone: IANA zone of the practice's wall clock, in which every timestamp is written.
    :param doctor_timezones: zones that the doctors' records name in turn. When empty: the practice's own, and for
        every other doctor another one, unless ``tidy``.
    :param clocks: by resource, the zone by whose wall clock its change times are written and compared, where that is
        not the practice's: ``{"appointments": "America/Los_Angeles"}``.
    :param start: aware moment at which the clock begins; the present when left out.
    :param frozen: the clock stands still unless it is advanced.
    :param quota_per_hour: calls of a client in a clock hour; None lifts the limit.
    :param quota_per_second: calls of a client in any second; None lifts the limit.
    :param retry_after: send a ``Retry-After`` header with 429.
    :param links: where the links to other pages and to background lists point: at a sister host, which nobody serves,
        or at the address that was asked. When left out: the sister host, unless ``tidy``.
    :param file_lifetime: seconds that a link to a file is good for, at least; 0 for ever. When left out: an hour, or
        for ever if ``tidy``.
    :param features: what the vendor has switched on for the practice, of ``duplicate_check`` (a patient with the name,
        date of birth and gender of another is refused) and ``recurrence_instance_key`` (visits show the field).
    :param refuse_unfiltered: lists that answer 400 without one of the filters that they are reported to need at times.
    :param envelope: key of the records of a page: as the contract says for each list, or one for all.
    :param envelopes: the same for single resources.
    :param order: order of lists; by change time, records move between pages while they are read.
    :param timestamps: how timestamps are spelt: ``T`` or a space in the middle, with microseconds, or all of them.
    :param scopes: scopes of the ready-made grant; all when empty.
    :param missing_scope: answer 403, or an empty list with 200.
    :param reuse: what a used refresh token does: ends the whole grant, is refused, or goes on working.
    :param token_lifetime: seconds that an access token lasts.
    :param bulk_polls: how many times a bulk result is asked for before it is there.
    :param bulk_seconds: how long a bulk list takes.
    :param write_lag: writes show up in lists after up to so many seconds, with their original change time.
    :param client_id: generated when empty, as are the two secrets below.
    :param redirect_uris: where the consent page may send people back to, besides addresses on this machine.
    """

    patients: int = 50
    appointments_per_patient: int = 10
    tidy: bool = False
    seed: int = 1
    practice_group: int = 1
    records: Mapping[str, int] = field(default_factory=dict)
    timezone: str = "America/New_York"
    doctor_timezones: tuple[str, ...] = ()
    clocks: Mapping[str, str] = field(default_factory=dict)
    start: datetime | None = None
    frozen: bool = False
    quota_per_hour: int | None = 500
    quota_per_second: int | None = 10
    retry_after: bool = False
    links: Links | None = None
    file_lifetime: int | None = None
    features: tuple[str, ...] = ("duplicate_check",)
    refuse_unfiltered: tuple[str, ...] = ()
    envelope: Envelope = FROM_CONTRACT
    envelopes: Mapping[str, Envelope] = field(default_factory=dict)
    order: Order = "id"
    timestamps: Spelling = "T"
    scopes: tuple[str, ...] = ()
    missing_scope: Literal["forbidden", "empty"] = "forbidden"
    reuse: Reuse = "end_grant"
    token_lifetime: int = 2 * DAY
    bulk_polls: int = 1
    bulk_seconds: float = 0.0
    write_lag: float = 0.0
    client_id: str = field(default_factory=lambda: f"sandbox-{secrets.token_hex(8)}")
    client_secret: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)
    refresh_token: str = field(default_factory=lambda: secrets.token_hex(15), repr=False)
    redirect_uris: tuple[str, ...] = ()

    @property
    def sister_links(self) -> bool:
        """Whether links to pages and background lists point at a sister host."""
        return not self.tidy if self.links is None else self.links == "sister"

    @property
    def file_seconds(self) -> int | None:
        """Seconds that a link to a file is good for; None for ever."""
        lifetime = self.file_lifetime
        return (None if self.tidy else HOUR) if lifetime is None else lifetime or None

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that the doctors' records name in turn."""
        if self.doctor_timezones or self.tidy:
            return self.doctor_timezones or (self.timezone,)
        return self.timezone, SECOND_ZONE.get(self.timezone, "America/Chicago")

    def __post_init__(self) -> None:
        for name in ("patients", "appointments_per_patient", "bulk_polls"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} may not be negative")
        if not 1 <= self.practice_group <= MOST_PRACTICES:
            raise ValueError(f"practice_group is a number from 1 to {MOST_PRACTICES}")
        for name in ("quota_per_hour", "quota_per_second"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is a number of calls from 1 up; None lifts the limit")
        unknown = sorted(set(self.features) - set(FEATURES))
        if unknown:
            raise ValueError(f"There is no feature {', '.join(unknown)}; choose from {', '.join(FEATURES)}")
        for zone in (self.timezone, *self.doctor_timezones, *self.clocks.values()):
            try:
                ZoneInfo(zone)
            except (LookupError, ValueError):
                raise ValueError(f"There is no time zone {zone}; give an IANA name like America/New_York") from None
