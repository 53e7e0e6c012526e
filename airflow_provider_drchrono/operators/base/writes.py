"""Operators that change something: create, update, replace, delete, and the actions with a verb of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice
from airflow_provider_drchrono.operators.base.body_names import body_names, check_data
from airflow_provider_drchrono.operators.base.operation import ON_MISSING, DrChronoOperationOperator, OnMissing

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.operators.base.validation import Body


class WriteOperator(DrChronoOperationOperator):
    """What operators with a body share.

    :param data: the fields to send. A file is given as a path, an object-storage URL, bytes, or
        ``{"name": ..., "content": <bytes or base64 text>}``.
    :param extra_fields: fields that this release does not know yet, sent without a check.
    """

    template_fields: Collection[str] = ("data", "extra_fields", "drchrono_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"data": "json", "extra_fields": "json"}

    lists: ClassVar[bool] = False

    def __init__(
        self,
        *,
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | XComArg | str | None,
        extra_fields: Mapping[str, Any] | XComArg | str | None = None,
        **kwargs: Any,
    ) -> None:
        check_data(self.operation_id, data, extra_fields, body_names(self.operation_id), lists=self.lists)
        super().__init__(**kwargs)
        self.data = data
        self.extra_fields = extra_fields

    def checked_bodies(self) -> list[Body]:
        """Return the records to send, coerced to what the API reads.

        :raises InvalidArgumentError: a name or a value is wrong, or differs from what another argument says.
        """
        from airflow_provider_drchrono.operators.base.validation import check_body

        bodies = check_body(self.operation_id, self.data, self.extra_fields, zone=self.zone)
        query = self.checked_query()
        for argument, name in self.query_arguments.items():
            if any(str(body.fields.get(name, query.get(name))) != str(query.get(name)) for body in bodies):
                raise InvalidArgumentError(
                    f"{self.operation_id}: data[{name!r}] and {argument} say different things, and the API would take "
                    f"one of them unseen; give {argument} alone. Nothing was sent"
                )
        return bodies

    def send(
        self,
        drchrono: DrChronoClient,
        operation_id: str,
        body: Body,
        path: Mapping[str, int | str],
        query: Mapping[str, Any],
    ) -> Any:
        """Send one record with its files."""
        from airflow_provider_drchrono.operators.base.file_arguments import opened

        for name, file in body.files.items():
            self.log.info("%s: sending %s, %s, %d bytes", operation_id, name, file.content_type, file.size)
        with opened(body.files) as files:
            return drchrono.call(
                operation_id,
                path=path,
                query=query,
                body=body.fields or None if files else body.fields,
                files=files or None,
            )


class UpdateOperator(WriteOperator):
    """Changes the given fields of a record (PATCH) and leaves the others.

    :param read_back: read the record afterwards and return it instead of its id, which takes one more call.
    """

    def __init__(self, *, read_back: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.read_back = read_back

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the call and return ``{"id": ...}``, or the record as it is now."""
        with self.calling() as drchrono:
            path, query = self.checked_path(), self.checked_query()
            (body,) = self.checked_bodies()
            answer = self.send(drchrono, self.operation_id, body, path, query)
            if self.read_back:
                return self._read(drchrono, answer)
        return {"id": self.record_id}

    def _read(self, drchrono: DrChronoClient, answer: Any) -> dict[str, Any]:
        from airflow_provider_drchrono.operators.base.related import related_operation

        if isinstance(answer, dict):
            return answer
        reading = related_operation(self.operation_id, "read")
        record: dict[str, Any] = drchrono.call(reading.id, path={"id": self.record_id or ""})
        return record


class ReplaceOperator(UpdateOperator):
    """Replaces a record (PUT): a field that is not given is emptied. It takes what :class:`UpdateOperator` takes."""


class DeleteOperator(DrChronoOperationOperator):
    """Deletes a record.

    :param on_missing: what a record that is not there (404) means: ``fail``, ``skip`` the task, or return ``none``.
    """

    links_to_record: ClassVar[bool] = False

    def __init__(self, *, on_missing: OnMissing = "fail", **kwargs: Any) -> None:
        check_choice(self.operation_id, "on_missing", on_missing, ON_MISSING)
        super().__init__(**kwargs)
        self.on_missing = on_missing

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Make the call and return ``{"id": ...}``, or None where the record is missing and may be."""
        from airflow_provider_drchrono.client import NotFoundError

        missing = False
        with self.calling() as drchrono:
            path, query = self.checked_path(), self.checked_query()
            try:
                drchrono.call(self.operation_id, path=path, query=query)
            except NotFoundError:
                if self.on_missing == "fail":
                    raise
                missing = True
        if missing:
            self.note_missing(self.on_missing)
            return None
        return {"id": self.record_id}


class ActionOperator(DrChronoOperationOperator):
    """Carries out an action on a record.

    :param data: the fields to send, where the action takes any.
    :param extra_fields: fields that this release does not know yet, sent without a check.
    """

    template_fields: Collection[str] = ("data", "extra_fields", "drchrono_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"data": "json", "extra_fields": "json"}

    def __init__(
        self,
        *,
        data: Mapping[str, Any] | XComArg | str | None = None,
        extra_fields: Mapping[str, Any] | XComArg | str | None = None,
        **kwargs: Any,
    ) -> None:
        names = body_names(self.operation_id)
        if names.fields:
            check_data(self.operation_id, data, extra_fields, names, lists=False)
        super().__init__(**kwargs)
        self.data = data
        self.extra_fields = extra_fields

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the call and return the record that the API answers with, or ``{"id": ...}``."""
        from airflow_provider_drchrono.operators.base.validation import check_body

        with self.calling() as drchrono:
            path, query = self.checked_path(), self.checked_query()
            body = None
            if body_names(self.operation_id).fields:
                (checked,) = check_body(self.operation_id, self.data, self.extra_fields, zone=self.zone)
                body = checked.fields
            answer = drchrono.call(self.operation_id, path=path, query=query, body=body)
        return answer if isinstance(answer, dict) else {"id": self.record_id}
