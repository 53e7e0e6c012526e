"""The types of ``data`` and ``filters``, for editors and type checkers; nothing imports them when a DAG is parsed.

One module for each domain holds the bodies and the filters that operators, sensors and assets share: ``PatientData``
is what a create or a replace sends, ``PatientUpdate`` what an update may change, ``PatientFilters`` what selects from
the list. ``values`` says what one value may be.
"""
