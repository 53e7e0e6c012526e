"""Decides what has changed in a practice since somebody last looked: windows, cursors and their memory, no Airflow."""
