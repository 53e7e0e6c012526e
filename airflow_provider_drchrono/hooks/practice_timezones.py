"""Answers how a practice tells the time, for those who follow its changes."""

from __future__ import annotations

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook


class PracticeClocks:
    """The :class:`~airflow_provider_drchrono.incremental.poller.Clocks` of a connection."""

    def __init__(self, hook: DrChronoHook) -> None:
        self._hook = hook

    def named(self) -> str | None:
        """Return the zone that the connection names, if it does."""
        return self._hook.settings.timezone

    def asked(self) -> tuple[str, ...]:
        """Return the zones of the practice's doctors, for which the API is called."""
        return self._hook.practice_timezones()
