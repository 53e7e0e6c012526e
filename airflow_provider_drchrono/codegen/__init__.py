"""Writes the operators, their types, their index and their reference pages from the catalogue.

Only developers need it: ``make generate`` runs it, and the gate runs it with ``--check``. Facts become plain
dataclasses in ``plan``, those become text in ``render``, and ``output`` writes or compares the files.
"""
