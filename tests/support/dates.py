"""A sandbox that gives a wrong time in the header of its answers, while its practice goes on as before."""

from datetime import datetime

import pytest

from airflow_provider_drchrono.sandbox.app import http_date


class DateHeader:
    """What answers bear as their ``Date``: the truth, or what a test says.

    :ivar text: the header; None for the truth.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.text: str | None = None

        def written(moment: datetime) -> str:
            return self.text or http_date(moment)

        patch.setattr("airflow_provider_drchrono.sandbox.app.http_date", written)
        patch.setattr("airflow_provider_drchrono.sandbox.server.http_date", written)

    def set(self, moment: datetime | str | None) -> None:
        """Answer with a time from now on; with None, with the truth."""
        self.text = http_date(moment) if isinstance(moment, datetime) else moment


ODD_DATES = (
    "Fri, 01 Jan 1960 00:00:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Wed, 01 Jan 2200 00:00:00 GMT",
    "Thu, 26 Nov 2026 03:00:00 +9999",
    "Thu, 26 Nov 99999999999999999999 03:00:00 GMT",
    "yesterday",
)
