"""Keeps patient data out of what Airflow stores, and shows in its UI, of a task's rendered templates.

Airflow renders a task's templates and then saves what came of them in its database, unencrypted. The names of the
fields that were given are worth seeing there; their values are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

MASK = "***"


class MaskedValue:
    """A rendered value of which Airflow sees the shape only.

    :param value: what was rendered; :func:`unmask` gives it back.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def serialize(self) -> Any:
        """Return what Airflow may store: the same names and numbers of things, and no value."""
        return _shape(self.value)

    def __repr__(self) -> str:
        return f"MaskedValue({self.serialize()!r})"


def unmask(value: Any) -> Any:
    """Return the value itself, whether it is shielded or not."""
    return value.value if isinstance(value, MaskedValue) else value


def _shape(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(name): _shape(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_shape(each) for each in value]
    return MASK


class MasksTemplateFields:
    """For operators and sensors: shields ``masked_fields`` as soon as they are rendered."""

    masked_fields: ClassVar[tuple[str, ...]] = ("data", "extra_fields", "filters")

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        # The one place that Airflow calls for mapped and for plain tasks alike, and offers for being overridden.
        names = tuple(template_fields)
        super()._do_render_template_fields(parent, names, context, jinja_env, seen_oids)  # type: ignore[misc]
        if parent is not self:
            return
        for name in self.masked_fields:
            value = getattr(parent, name, None)
            if name in names and value is not None and not isinstance(value, MaskedValue):
                setattr(parent, name, MaskedValue(value))
