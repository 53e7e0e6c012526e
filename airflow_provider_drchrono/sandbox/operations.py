"""Carries out lists, reads and writes of any resource, from what the catalogue says alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_drchrono.catalog import Field, Operation, Resource
from airflow_provider_drchrono.sandbox.bulk import BulkLists
from airflow_provider_drchrono.sandbox.files import FileStore, Upload, read_multipart
from airflow_provider_drchrono.sandbox.filters import read_filters
from airflow_provider_drchrono.sandbox.journal import Entry
from airflow_provider_drchrono.sandbox.oauth import Grant
from airflow_provider_drchrono.sandbox.paging import envelope_key, link_origin, page_size, serve_page
from airflow_provider_drchrono.sandbox.practice import Practice, Row, Table
from airflow_provider_drchrono.sandbox.practice.blank import blank_value
from airflow_provider_drchrono.sandbox.practice.series import OCCURRENCE, day_of
from airflow_provider_drchrono.sandbox.schedule import refuse_overlap
from airflow_provider_drchrono.sandbox.validation import InvalidBodyError, check_body
from airflow_provider_drchrono.sandbox.wire import (
    FALSE,
    TRUE,
    Request,
    Response,
    answer,
    bad_fields,
    decode,
    detail,
    empty,
)


@dataclass(slots=True)
class Call:
    """One operation that is being carried out, with everything it may look at."""

    request: Request
    operation: Operation
    resource: Resource
    path: Mapping[str, str]
    practice: Practice
    bulk: BulkLists
    files: FileStore
    grant: Grant
    entry: Entry
    _body: Any = field(default=None)

    @property
    def table(self) -> Table:
        """The table that the operation works on."""
        return self.practice.table(self.resource.name)

    @property
    def verbose(self) -> bool:
        """Whether verbose fields are wanted."""
        return (self.request.argument("verbose") or "").lower() in TRUE

    @property
    def met(self) -> set[str]:
        """Conditions that the request meets for fields which come on condition only."""
        given = {name for name, value in self.request.query if value.lower() not in FALSE}
        return given | ({"read"} if self.operation.kind == "read" else set())

    def body(self) -> Any:
        """Return the decoded body: JSON, or the fields of a form.

        :raises Refusal: 400 when it cannot be read, 415 for another media type.
        """
        if self._body is None:
            form_only = self.operation.body is not None and self.operation.body.multipart_only
            self._body = _decode(self.request, form_only=form_only)
            self.entry.body = _for_journal(self._body)
        return self._body

    def fields(self) -> Mapping[str, Any]:
        """Return the decoded body of a write that takes one record.

        :raises Refusal: 400 for anything but named values.
        """
        return _mapping(self.body())


def list_records(call: Call) -> Response:
    """Answer one page of a list, or the result of a background list where one address serves both."""
    if call.request.argument("uuid"):
        return call.bulk.result(call.resource.name, call.request.argument("uuid"))
    if call.operation.response.shape == "record":
        return _only_record(call)
    filters = read_filters(call.practice, call.resource, call.operation, dict(call.request.query))
    call.entry.notes += filters.notes
    if call.resource.own_application_only:
        filters.token += (call.grant.client_id,)
        filters.tests.append(lambda row: _is_own(call, row))
    options = call.practice.options
    size = page_size(call.resource.paging, call.request.argument("page_size"), verbose=call.verbose)
    order = call.operation.order if options.order == "id" and call.operation.order else options.order
    return serve_page(
        call.table,
        filters,
        call.request,
        order=order,
        size=size,
        key=envelope_key(options, call.operation),
        verbose=call.verbose,
        met=call.met,
        origin=link_origin(options, call.request),
    )


def read_record(call: Call) -> Response:
    """Answer one record."""
    if call.resource.name == "users" and call.path.get("id") == "current":
        return _current_user(call)
    missing = [
        each.name
        for each in call.operation.parameters
        if each.required and each.place == "query" and not call.request.argument(each.name)
    ]
    if missing:
        raise bad_fields({name: ["This field is required."] for name in missing})
    return answer(200, call.table.view(found(call), verbose=call.verbose, met=call.met))


def create_records(call: Call) -> Response:
    """Store one record, or all records of a list, or none of them."""
    given = call.body()
    if not isinstance(given, list):
        values = checked(call, body_fields(call), given, partial=False)
        _refuse_conflicts(call, [values])
        return answer(call.operation.response.status, _created(call, values))
    errors: list[Any] = []
    several: list[dict[str, Any]] = []
    for each in given:
        try:
            several.append(_check(call, body_fields(call), each, partial=False))
            errors.append({})
        except InvalidBodyError as wrong:
            errors.append(wrong.errors)
    if any(errors):
        raise bad_fields(errors)
    _refuse_conflicts(call, several)
    return answer(call.operation.response.status, [_created(call, values) for values in several])


def change_record(call: Call) -> Response:
    """Change the given fields of a record (PATCH), or all of its writable fields (PUT)."""
    row = found(call)
    partial = call.operation.kind == "update"
    values = checked(call, body_fields(call), call.body(), partial=partial, before=row)
    if not partial and call.table.record is not None:
        unset = {each.name: blank_value(each) for each in call.table.record.writable_fields}
        values = unset | values
    refuse_overlap(call.practice, call.operation, [values], row)
    return changed(call, row, values)


def delete_record(call: Call) -> Response:
    """Take a record away, or mark it where deletion is soft. A charge leaves a trace."""
    row = found(call)
    name = call.table.name
    if call.operation.soft_delete:
        return changed(call, row, {call.operation.soft_delete: True})
    call.practice.remove(name, row[call.table.key or "id"])
    if name == "line_items":
        trace = {"billing_line_item_id": row["id"], "appointment_id": row["appointment"]}
        call.practice.create("line_item_deletions", trace)
    return empty()


def start_bulk(call: Call) -> Response:
    """Start a background list; filters come in the query or in the body."""
    given = dict(call.request.query)
    if call.request.body:
        given |= {name: _as_text(value) for name, value in _mapping(call.body()).items() if value is not None}
    source = next(
        each for each in call.practice.catalog.resources.values() if each.bulk and each.bulk.start == call.operation.id
    )
    assert source.bulk is not None  # noqa: S101 - just chosen for having one
    filters = read_filters(
        call.practice,
        call.resource,
        call.operation,
        given,
        since_is_date=call.operation.parameter("since").format == "date",
    )
    call.entry.notes += filters.notes
    return call.bulk.start(
        call.table,
        filters,
        given,
        resource=call.resource.name,
        largest=source.bulk.size,
        order=call.operation.order or "id",
        link=f"{link_origin(call.practice.options, call.request)}{call.request.path}",
    )


def fetch_bulk(call: Call) -> Response:
    """Answer the page of a background list."""
    return call.bulk.result(call.resource.name, call.request.argument("uuid"))


def found(call: Call) -> Row:
    """Return the row that the path names.

    :raises Refusal: 404 when there is none.
    """
    identifier = call.path.get("id", "")
    key = call.table.find(identifier)
    occurrence = OCCURRENCE.fullmatch(identifier) if key is None and call.table.name == "appointments" else None
    key = call.table.find(occurrence[2]) if occurrence else key
    if key is None:
        raise detail(404, "Not found.")
    row = call.table[key]
    if row.get("deleted_flag") or not _is_own(call, row):
        raise detail(404, "Not found.")
    if not occurrence:
        return row
    # A series that names no weekdays takes place on any day; the days of the others are rows of their own.
    if not row.get("recurring_appointment") or row.get("recurring_days"):
        raise detail(404, "Not found.")
    return day_of(row, occurrence[1])


def _is_own(call: Call, row: Row) -> bool:
    """Tell whether a record is one that the application may see: for some, only those that it made itself."""
    return not call.resource.own_application_only or row.get("_client", call.grant.client_id) == call.grant.client_id


def body_fields(call: Call) -> tuple[Field, ...]:
    """Return the fields that the body is checked against, read-only fields included."""
    body = call.operation.body
    if body is None:
        return ()
    if not body.record:
        return body.fields
    return tuple(call.practice.catalog.record(body.record).fields.values())


def checked(
    call: Call, fields: Iterable[Field], given: Any, *, partial: bool, before: Row | None = None
) -> dict[str, Any]:
    """Return what a body says, files kept and replaced by their links.

    :param before: the row that is changed.

    :raises Refusal: 400 with a message for each wrong field.
    """
    try:
        return _check(call, fields, given, partial=partial, before=before)
    except InvalidBodyError as wrong:
        raise bad_fields(wrong.errors) from None


def changed(call: Call, row: Row, values: Mapping[str, Any]) -> Response:
    """Store new values of a row and answer as the operation says: empty, or with the record."""
    key = call.table.find(str(row[call.table.key or "id"]))
    if key is None:
        after = call.practice.adopt(call.table.name, row, values)
    else:
        after = call.practice.change(call.table.name, key, values)
    if call.operation.response.shape == "record":
        return answer(call.operation.response.status, call.table.view(after, verbose=True))
    return empty(call.operation.response.status)


def _check(
    call: Call, fields: Iterable[Field], given: Any, *, partial: bool, before: Row | None = None
) -> dict[str, Any]:
    body = check_body(call.practice, fields, given, partial=partial, before=before)
    call.entry.notes += body.notes
    return {name: call.files.keep(value) if isinstance(value, Upload) else value for name, value in body.values.items()}


def _created(call: Call, values: Mapping[str, Any]) -> Row:
    made = call.practice.create(call.table.name, {**values, "_client": call.grant.client_id})
    return call.table.view(made, verbose=True)


def _refuse_conflicts(call: Call, several: list[dict[str, Any]]) -> None:
    refuse_overlap(call.practice, call.operation, several, None)
    conflict = call.operation.conflict
    if conflict is None or conflict.meaning != "duplicate":
        return
    switched_off = conflict.feature_flag and "duplicate_check" not in call.practice.options.features
    if switched_off or (call.request.argument(conflict.remedy or "") or "").lower() in TRUE:
        return
    wanted = [_who(values) for values in several]
    if len(set(wanted)) < len(wanted) or any(_who(row) in wanted for row in call.table):
        raise detail(409, "A patient with the same name, date of birth and gender exists.")


def _who(values: Mapping[str, Any]) -> tuple[str, ...]:
    same = ("first_name", "last_name", "date_of_birth", "gender")
    return tuple(str(values.get(name) or "").casefold() for name in same)


def _only_record(call: Call) -> Response:
    for row in call.table:
        return answer(200, call.table.view(row))
    raise detail(404, "Not found.")


def _current_user(call: Call) -> Response:
    first = next(iter(call.table.keys))
    return Response(302, headers={"location": f"{call.request.origin}/api/users/{first}"})


def _decode(request: Request, *, form_only: bool) -> Any:
    if request.content_type == "multipart/form-data":
        return read_multipart(request)
    if form_only and (request.body or request.content_type):
        raise detail(415, f'Unsupported media type "{request.content_type}" in request.')
    if request.content_type == "application/x-www-form-urlencoded":
        return request.form()
    if not request.body:
        return {}
    if request.content_type != "application/json":
        raise detail(415, f'Unsupported media type "{request.content_type}" in request.')
    try:
        return decode(request.body)
    except ValueError as problem:
        raise detail(400, f"JSON parse error - {problem}") from None


def _mapping(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise detail(400, "Invalid data. Expected a dictionary.")
    return given


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _for_journal(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {
        name: {"file": value.name, "content_type": value.content_type, "size": len(value.content)}
        if isinstance(value, Upload)
        else value
        for name, value in body.items()
    }


BY_KIND: Mapping[str, Callable[[Call], Response]] = {
    "list": list_records,
    "read": read_record,
    "create": create_records,
    "update": change_record,
    "replace": change_record,
    "delete": delete_record,
    "bulk_start": start_bulk,
    "bulk_result": fetch_bulk,
}
"""What each kind of operation does, unless actions or reports know better."""
