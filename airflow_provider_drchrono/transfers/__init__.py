"""Moves whole lists of the API elsewhere: into tables of a SQL database, incrementally."""
