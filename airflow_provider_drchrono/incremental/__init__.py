"""Decides what has changed in a practice since it was last read: windows, fingerprints and cursors, without Airflow."""
