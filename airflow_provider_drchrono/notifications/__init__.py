"""Callbacks that make something known in DrChrono."""
