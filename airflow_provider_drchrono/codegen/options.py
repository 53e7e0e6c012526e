"""The constructor arguments that all operators of a kind share, as the hand-written base classes define them.

They are spelt out in each generated constructor, because that is where editors and type checkers look. A test holds
names and defaults against the base classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_drchrono.catalog import Operation


@dataclass(frozen=True, slots=True)
class Option:
    """An argument that the base class takes: its type, its default as source text, and what it does."""

    name: str
    annotation: str
    default: str
    about: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What the operators of one kind of operation have in common."""

    base: str
    options: tuple[str, ...]


OPTIONS = {
    each.name: each
    for each in (
        Option(
            "deferrable",
            "bool | None",
            "None",
            "wait in the triggerer instead of on a worker. None: Airflow's ``operators.default_deferrable``.",
        ),
        Option(
            "extra_fields",
            "Mapping[str, Any] | XComArg | str | None",
            "None",
            "fields that this release does not know yet, sent without a check.",
        ),
        Option("fields", "Sequence[str] | None", "None", "return only these fields of each record."),
        Option(
            "if_exists",
            "IfExists",
            '"create"',
            "what to do when a record with the same ``match_on`` values is there: ``create`` another without "
            "looking, ``skip`` and return it, ``update`` it, or ``fail``.",
        ),
        Option(
            "match_on",
            "Sequence[str]",
            "()",
            "names of the fields of ``data`` by which an existing record is recognised. Where DrChrono itself refuses "
            "duplicates, as it does of patients, it may stay empty.",
        ),
        Option(
            "max_records",
            "int",
            "10_000",
            "most records to return; a longer answer fails and names ``output_path``, which has no bound.",
        ),
        Option(
            "on_missing",
            "OnMissing",
            '"fail"',
            "what a record that does not exist (404) means: ``fail`` the task, ``skip`` it, or ``none``, "
            "which lets it succeed.",
        ),
        Option(
            "order_by",
            "str | None",
            "None",
            "field by which DrChrono orders the rows.",
        ),
        Option(
            "output_path",
            "str | None",
            "None",
            "object-storage path or URL to write the records to, one JSON object a line (gzip if it ends in "
            "``.gz``); the result is then its path and count.",
        ),
        Option("poll_interval", "float", "10.0", "seconds between two looks while waiting; each look is a call."),
        Option(
            "read_back",
            "bool",
            "False",
            "read the record after the write and return it instead of its id: one more call.",
        ),
        Option("timeout", "float", "3600.0", "seconds that the whole list may take."),
        Option(
            "verbose",
            "bool",
            "False",
            "ask also for the fields that come only with ``verbose=true``, which takes DrChrono longer.",
        ),
        Option(
            "wait_for_completion",
            "bool",
            "True",
            "wait until DrChrono has made the list and return its rows. False: only start it, and return its ``uuid``.",
        ),
    )
} | {
    "report_path": Option(
        "output_path",
        "str | None",
        "None",
        "object-storage path or URL to write the answer to; the result is then its path and size.",
    ),
    "wait_or_look": Option(
        "wait_for_completion",
        "bool",
        "True",
        "wait until DrChrono has made the list. False: look once, and return ``uuid`` and status if it is not made.",
    ),
}

_RECORDS = ("fields", "max_records", "output_path")
_WAITING = ("deferrable", "poll_interval", "timeout")

KINDS = {
    "list": Kind("ListOperator", ("verbose", *_RECORDS)),
    "read": Kind("GetOperator", ("verbose", "fields", "on_missing")),
    "create": Kind("CreateOperator", ("if_exists", "match_on", "extra_fields")),
    "update": Kind("UpdateOperator", ("extra_fields", "read_back")),
    "replace": Kind("ReplaceOperator", ("extra_fields", "read_back")),
    "delete": Kind("DeleteOperator", ("on_missing",)),
    "bulk_start": Kind("BulkListOperator", ("verbose", "order_by", "wait_for_completion", *_WAITING, *_RECORDS)),
    "bulk_result": Kind("BulkResultOperator", ("wait_or_look", *_WAITING, *_RECORDS)),
    "report": Kind("ReportOperator", ("report_path",)),
    "action": Kind("ActionOperator", ("extra_fields",)),
}

# Options that only some operations of a kind understand: the query parameter, or the body, that makes them work.
_NEEDS_PARAMETER = frozenset({"verbose", "order_by"})


def options_of(operation: Operation) -> tuple[Option, ...]:
    """Return the shared arguments that make sense for an operation."""
    known = {each.name for each in operation.parameters}
    names = KINDS[operation.kind].options
    return tuple(
        OPTIONS[name]
        for name in names
        if (name not in _NEEDS_PARAMETER or name in known)
        and (name != "extra_fields" or (operation.body is not None and operation.body.encoding != "none"))
    )
