"""Gives a poller the time zones of a connection's practice."""

from __future__ import annotations

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook


class PracticeClocks:
    """The :class:`~airflow_provider_drchrono.incremental.poller.Clocks` of a connection."""

    def __init__(self, hook: DrChronoHook) -> None:
        self._hook = hook

    def named(self) -> str | None:
        """Return the IANA name that the connection's ``timezone`` gives; None if it gives none."""
        return self._hook.settings.timezone

    def asked(self) -> tuple[str, ...]:
        """Return the IANA names of the zones of the practice's doctors; it takes a call of the API the first time.

        :raises ConfigurationError: no doctor has a zone, or one that does not exist.
        :raises DrChronoError: the API cannot be asked.
        """
        return self._hook.practice_timezones()
