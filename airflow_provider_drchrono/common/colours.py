"""The colours of tasks in Airflow's graph: one for each domain of the API."""

from __future__ import annotations

from airflow_provider_drchrono.catalog import load

# Pale enough for the dark text of the graph.
COLOURS = {
    "appointments": "#d6eaf8",
    "billing": "#fcf3cf",
    "care": "#fadbd8",
    "clinical_notes": "#d5f5e3",
    "documents": "#eaeded",
    "inventory": "#f6ddcc",
    "labs": "#e8daef",
    "medications": "#d1f2eb",
    "messaging": "#fdebd0",
    "offices": "#d4e6f1",
    "patients": "#d0ece7",
    "system": "#e5e7e9",
    "tasks": "#ebdef0",
    "users": "#d6dbdf",
}


def colour_of(operation_id: str) -> str:
    """Return the colour of an operation's domain."""
    return COLOURS[load().entries[operation_id].domain]
