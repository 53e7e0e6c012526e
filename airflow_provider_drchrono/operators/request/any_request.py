"""The operator that makes any request of the API, for what has no operator of its own yet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.client import errors
from airflow_provider_drchrono.client.free_path import METHODS, SAFE, is_whole_address, path_segments
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_size, is_template
from airflow_provider_drchrono.common.masking import MasksTemplateFields
from airflow_provider_drchrono.compat.cached import cached_property
from airflow_provider_drchrono.operators.base.messages import FIELD, explained

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.common.results import Output
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.operators.base.file_arguments import FileSource

NAME = "DrChronoRequestOperator"


class DrChronoRequestOperator(MasksTemplateFields, BaseOperator):
    """Make any request of the API, for what has no operator of its own yet.

    It goes the way of all other calls: with the connection's token and quota, its timeouts and bounds, masked
    templates, and errors that say what to do. What nobody knows of the request is not checked either: values are sent
    as they are given. Where there is an operator for the operation, that one is better.

    Only ``GET`` is repeated by itself. Another method whose answer is lost fails the task, and no retry sends it again:
    look whether it was carried out, and clear the task if it was not.

    It returns the decoded JSON of the answer, None for an empty one, or text; with ``follow_pages`` the records of all
    pages. With ``output_path`` it returns path and count, or path and bytes, of the file.

    :param method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
    :param path: such as ``/api/patients/42``, on the connection's own host; neither another host nor the OAuth
        endpoints can be reached. The path is stored with the rendered templates, so it may hold ids and no names.
    :param query: query parameters. None as a value leaves one out; a list is joined by commas; times have no zone.
    :param json: the body, sent as JSON: a mapping or a list.
    :param data: fields of a form, sent as ``multipart/form-data``, beside ``files``.
    :param files: files of the form by field: a path, an object-storage URL, bytes, or ``{"name": ..., "content":
        <bytes or base64 text>}``.
    :param follow_pages: the answer is a page of a list; follow its links and return the records of all pages.
    :param max_records: most records to return with ``follow_pages``. More than that is an error, never a silent cut.
    :param batch_size: return a list of lists of at most so many records, with ``follow_pages``.
    :param output_path: object-storage path or URL of a file to write the answer to; with ``follow_pages``, one JSON
        object a line. Gzip if it ends in ``.gz``.
    :param drchrono_conn_id: id of the Airflow connection of type ``drchrono``.
    """

    template_fields: Collection[str] = (
        "method", "path", "query", "json", "data", "files", "output_path", "drchrono_conn_id",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "json", "json": "json", "data": "json"}
    masked_fields: ClassVar[tuple[str, ...]] = ("query", "json", "data", "files")
    ui_color = "#e8e8e8"

    def __init__(
        self,
        *,
        path: str | XComArg,
        method: str | XComArg = "GET",
        query: Mapping[str, Any] | XComArg | str | None = None,
        json: Mapping[str, Any] | Sequence[Any] | XComArg | str | None = None,
        data: Mapping[str, Any] | XComArg | str | None = None,
        files: Mapping[str, Any] | XComArg | None = None,
        follow_pages: bool = False,
        max_records: int = 10_000,
        batch_size: int | None = None,
        output_path: str | None = None,
        drchrono_conn_id: str = "drchrono_default",
        **kwargs: Any,
    ) -> None:
        check_size(NAME, max_records, batch_size, output_path)
        _check_literals(method, path, follow_pages=follow_pages, batch_size=batch_size)
        super().__init__(**kwargs)
        self.method = method
        self.path = path
        self.query = query
        self.json = json
        self.data = data
        self.files = files
        self.follow_pages = follow_pages
        self.max_records = max_records
        self.batch_size = batch_size
        self.output_path = output_path
        self.drchrono_conn_id = drchrono_conn_id

    def execute(self, context: Context) -> Any:
        """Make the request and return what came.

        :raises AirflowFailException: an argument has to be changed, or it is not known whether a write was carried out.
        :raises AirflowRescheduleException: the quota is used up; nothing was written.
        """
        from airflow_provider_drchrono.common.result_files import check_output_path, write_document

        method = str(self.method).strip().upper()
        _check_literals(method, str(self.path), follow_pages=self.follow_pages, batch_size=self.batch_size)
        if self.output_path:
            check_output_path(self.output_path)
        with self._calling() as drchrono:
            if self.follow_pages:
                return self._records(drchrono)
            answer = self._answer(drchrono, method, context)
            if self.output_path:
                return write_document(self.output_path, answer)
        if isinstance(answer, bytes):
            raise InvalidArgumentError(
                f"{NAME}: the answer is a binary document, which XCom cannot hold; give output_path"
            )
        return answer

    @cached_property
    def hook(self) -> DrChronoHook:
        """The hook of the connection; its client is closed when the call is over."""
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        return DrChronoHook(self.drchrono_conn_id)

    @contextmanager
    def _calling(self) -> Iterator[DrChronoClient]:
        from airflow_provider_drchrono.common.outcomes import airflow_outcome

        with airflow_outcome(), explained(NAME, self._place):
            try:
                yield self.hook.get_conn()
            finally:
                self.hook.close()

    def _place(self, name: str) -> str | None:
        """Say where the value of a field or parameter came from."""
        if isinstance(self.query, Mapping) and name in self.query:
            return f"query[{name!r}]"
        return f"json[{name!r}]" if self.json is not None and FIELD.fullmatch(name) else None

    def _records(self, drchrono: DrChronoClient) -> Any:
        output = self._output()
        pages = drchrono.request_pages(str(self.path), query=_mapping("query", self.query))
        result = output.deliver(record for page in pages for record in page.records)
        self.log.info("%s: %s", NAME, output.summary(result))
        return result

    def _output(self) -> Output:
        from airflow_provider_drchrono.common.results import Output

        return Output(NAME, None, self.max_records, self.batch_size, self.output_path or None, are_new=False)

    def _answer(self, drchrono: DrChronoClient, method: str, context: Context) -> Any:
        from airflow_provider_drchrono.operators.base.file_arguments import opened
        from airflow_provider_drchrono.state.sent_marker import SentMarker

        query, data = _mapping("query", self.query), _mapping("data", self.data)
        with opened(self._files()) as files:
            arguments: dict[str, Any] = {"query": query, "json": _body(self.json), "data": data, "files": files or None}
            if method in SAFE:
                return drchrono.request(method, str(self.path), **arguments)
            marker = SentMarker(context)
            if marker.is_set():
                marker.clear()
                raise AirflowFailException(
                    f"{NAME}: an earlier try of this task was broken off after it had sent the {method}, so it is not "
                    "known whether it was carried out. Look in DrChrono, and clear this task to send it again"
                )
            marker.set()
            try:
                answer = drchrono.request(method, str(self.path), **arguments)
            except errors.DrChronoError:
                # It was refused, or the error says that it is in doubt, and fails the task.
                marker.clear()
                raise
            marker.clear()
            return answer

    def _files(self) -> dict[str, FileSource]:
        from airflow_provider_drchrono.operators.base.file_arguments import file_source

        sources: dict[str, FileSource] = {}
        for name, value in (_mapping("files", self.files) or {}).items():
            problem = None
            try:
                sources[name] = file_source(value)
            except ValueError as error:
                problem = str(error)
            # Raised out here: the original error may hold the path.
            if problem:
                raise InvalidArgumentError(f"{NAME}: files[{name!r}] {problem}")
        return sources


def _check_literals(method: object, path: object, *, follow_pages: bool, batch_size: int | None) -> None:
    """Refuse what cannot work, as far as it is known."""
    known_method = str(method).strip().upper()
    if not is_template(method) and known_method not in METHODS:
        raise InvalidArgumentError(f"{NAME}: method must be one of {', '.join(METHODS)}")
    if follow_pages and not is_template(method) and known_method != "GET":
        raise InvalidArgumentError(f"{NAME}: follow_pages reads a list, so method must be GET")
    if batch_size is not None and not follow_pages:
        raise InvalidArgumentError(
            f"{NAME}: batch_size has no effect without follow_pages; set follow_pages or leave it out"
        )
    if is_template(path) or (isinstance(path, str) and is_whole_address(path)):
        # Whether a whole address is one of ours is known when the connection is.
        return
    try:
        path_segments(path)
    except errors.InvalidArgumentError as error:
        problem = str(error)
    else:
        return
    raise InvalidArgumentError(f"{NAME}: {problem}")


def _mapping(argument: str, given: object) -> dict[str, Any] | None:
    """Return a mapping, which a template may have rendered to text."""
    from airflow_provider_drchrono.client.values import rendered

    value = rendered(given) if isinstance(given, str) else given
    if given is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{NAME}: {argument} must be a mapping, not {type(given).__name__}")
    return dict(value)


def _body(given: object) -> Any:
    from airflow_provider_drchrono.client.values import rendered

    value = rendered(given) if isinstance(given, str) else given
    if given is not None and (isinstance(value, str | bytes) or not isinstance(value, Mapping | Sequence)):
        raise InvalidArgumentError(f"{NAME}: json must be a mapping or a list, not {type(given).__name__}")
    return value
