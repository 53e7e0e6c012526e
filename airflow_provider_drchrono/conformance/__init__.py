"""Asks the live service what nobody behind this provider could: whether the facts that are inferred or disputed hold.

It only reads, with fewer than 60 calls, and reports nothing that stands in a record. People with an account run it by
``airflow drchrono conformance``; what it finds can be handed to their connection as facts.
"""
