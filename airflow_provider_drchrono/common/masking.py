"""Keeps patient data out of what Airflow stores, and shows in its UI, of a task's rendered templates.

Airflow renders a task's templates and then saves what came of them in its database, unencrypted. The names of the
fields that were given are worth seeing there; their values are not.

::

    rendered ──> masked value ──Airflow asks it what to store──> the value itself
                      │                                              ^
                      └──────── execute or resume is called ─────────┘

So the field is masked only in between. Listeners, callbacks, ``pre_execute``, ``execute`` and the method that resumes a
deferred task see plain values. If Airflow stored a field without asking, it would store a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ClassVar

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.templates import rendered_none
from airflow_provider_drchrono.compat import AirflowFailException
from airflow_provider_drchrono.compat.task_run import NoticesRendering

MASK = "***"

MOST_PLACES = 10
"""One error names so many of the places where a template found nothing."""


class MaskedValue:
    """A rendered value of which Airflow sees the shape only.

    :param value: what was rendered; :func:`unmask` gives it back.
    :param stored: called when Airflow has asked what to store.
    """

    __slots__ = ("_stored", "value")

    def __init__(self, value: Any, stored: Callable[[], None] | None = None) -> None:
        self.value = value
        self._stored = stored

    def serialize(self) -> Any:
        """Return what Airflow may store: the same names and numbers of things, and no value.

        Airflow calls it for each rendered field that has such a method.
        """
        if self._stored is not None:
            self._stored()
        return _shape(self.value)

    def __repr__(self) -> str:
        return f"MaskedValue({_shape(self.value)!r})"


def unmask(value: Any) -> Any:
    """Return the value itself, whether it is masked or not."""
    return value.value if isinstance(value, MaskedValue) else value


def _shape(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(name): _shape(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_shape(each) for each in value]
    return MASK


_NEVER_AGAIN = "overwrite_rtif_after_execution would store data in clear after the task has run; leave it out"


class _Never:
    """A flag that stays off."""

    def __get__(self, instance: object, owner: type) -> bool:
        return False

    def __set__(self, instance: object, value: bool) -> None:
        raise AttributeError(_NEVER_AGAIN)


class MasksTemplateFields(NoticesRendering):
    """For operators and sensors: masks ``masked_fields`` from their rendering until Airflow has stored them."""

    masked_fields: ClassVar[tuple[str, ...]] = ("data", "extra_fields", "filters", "extra_filters")

    # Whether Airflow stores the fields again after the task has run; they are not masked any more then.
    overwrite_rtif_after_execution: bool = _Never()  # type: ignore[assignment]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("overwrite_rtif_after_execution"):
            raise TypeError(f"{cls.__name__}: {_NEVER_AGAIN}")
        execute: Any = getattr(cls, "execute", None)
        if execute is not None and not getattr(execute, "unmasks", False):
            # Tests render and execute tasks without Airflow; then nothing asks for the value to store.
            cls.execute = _unmasking(execute)  # type: ignore[attr-defined]

    _rendered_none: tuple[str, ...] = ()

    def after_rendering(self, given: Mapping[str, Any]) -> None:
        """Mask what was rendered.

        :param given: the fields that were rendered, as they were before.
        :raises AirflowFailException: a renderer of the operator makes Airflow store a part of a field by itself.
        """
        renderers = getattr(self, "template_fields_renderers", {})
        if parts := sorted(each for each in renderers if each.partition(".")[0] in self.masked_fields and "." in each):
            raise AirflowFailException(
                f"template_fields_renderers names {', '.join(parts)}, which Airflow would store in clear; name the "
                "whole field instead"
            )
        masked = [name for name in self.masked_fields if name in given]
        self._rendered_none = tuple(
            place for name in masked for place in rendered_none(given[name], getattr(self, name, None), name)
        )
        for name in masked:
            value = getattr(self, name, None)
            if value is not None and not isinstance(value, MaskedValue):
                setattr(self, name, MaskedValue(value, stored=partial(setattr, self, name, value)))

    def unmask_fields(self) -> None:
        """Give the fields their values back.

        :raises InvalidArgumentError: a template in one of them found nothing, and became the word None.
        """
        for name in self.masked_fields:
            if isinstance(value := getattr(self, name, None), MaskedValue):
                setattr(self, name, value.value)
        if self._rendered_none:
            places = ", ".join(self._rendered_none[:MOST_PLACES])
            raise InvalidArgumentError(
                f"{getattr(self, 'operation_id', type(self).__name__)}: {places}: a template found no value and became "
                'the word None. Let it give one, as in {{ ... | default("text", true) }}, leave the field out, or '
                "render it to null with render_template_as_native_obj=True. Nothing was sent"
            )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Resume after a deferral, as Airflow does."""
        self.unmask_fields()
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]


def _unmasking(execute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(execute)
    def unmasked(self: MasksTemplateFields, *args: Any, **kwargs: Any) -> Any:
        self.unmask_fields()
        return execute(self, *args, **kwargs)

    unmasked.unmasks = True  # type: ignore[attr-defined]
    return unmasked
