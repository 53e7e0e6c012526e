"""The class that every operator of the provider descends from: arguments in, one call to the API, a result out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import path_id
from airflow_provider_drchrono.common.colours import colour_of
from airflow_provider_drchrono.common.masking import MasksTemplateFields
from airflow_provider_drchrono.compat.cached import cached_property
from airflow_provider_drchrono.operators.base.body_names import body_names
from airflow_provider_drchrono.operators.base.links import DrChronoPatientLink

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

OnMissing: TypeAlias = Literal["fail", "skip", "none"]
ON_MISSING: tuple[OnMissing, ...] = ("fail", "skip", "none")


# Arguments that make up a request, of which each operation takes its own.
OF_THE_REQUEST = ("data", "filters", "uuid")


class DrChronoOperationOperator(MasksTemplateFields, BaseOperator):
    """Base of the operators, one for each operation of the API.

    A generated subclass states, as class attributes, what the operation is called and what its arguments are called in
    the request. Its constructor passes ``data``, ``filters`` and the options of its kind to the base's, where they are
    checked, and then keeps its ids and query options under their own names::

        def __init__(self, *, patient_id, data, **kwargs):
            super().__init__(data=data, **kwargs)
            self.patient_id = patient_id

    What else is known of the operation is read from the catalogue. Airflow renders the arguments that the subclass
    states, and of its base those in ``template_fields``.

    :param drchrono_conn_id: id of the Airflow connection of type ``drchrono``.
    """

    operation_id: ClassVar[str]
    path_arguments: ClassVar[Mapping[str, str]] = {}
    query_arguments: ClassVar[Mapping[str, str]] = {}
    links_to_record: ClassVar[bool] = True
    template_fields: Collection[str] = ("drchrono_conn_id",)

    def __init__(self, *, drchrono_conn_id: str = "drchrono_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drchrono_conn_id = drchrono_conn_id
        self.record_id: int | str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        entry = load().entries.get(vars(cls).get("operation_id", ""))
        if entry is None:
            return
        cls.ui_color = colour_of(cls.operation_id)
        if "template_fields" not in vars(cls):
            cls.template_fields = _template_fields(cls)
        if cls.links_to_record and entry.page:
            cls.operator_extra_links = (DrChronoPatientLink(),)

    @cached_property
    def hook(self) -> DrChronoHook:
        """The hook of the connection; its client is closed when the call is over."""
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        return DrChronoHook(self.drchrono_conn_id)

    @contextmanager
    def calling(self, *, reschedule: bool = True) -> Iterator[DrChronoClient]:
        """Give a client, and turn what goes wrong in the block into an outcome of the task that says what to do.

        :param reschedule: whether the task may start again from its beginning when the quota is used up.
        """
        from airflow_provider_drchrono.common.outcomes import airflow_outcome
        from airflow_provider_drchrono.operators.base.messages import explained

        with airflow_outcome(reschedule=reschedule), explained(self.operation_id, self._places):
            try:
                yield self.hook.get_conn()
            finally:
                self.hook.close()

    @property
    def zone(self) -> str | None:
        """The practice's time zone, where the connection states it; no call is made to find out."""
        return self.hook.settings.timezone

    def checked_path(self) -> dict[str, int | str]:
        """Return the ids for the operation's path.

        :raises InvalidArgumentError: one is missing or would lead to another address.
        """
        operation = load().operation(self.operation_id)
        path = {
            name: path_id(self.operation_id, argument, getattr(self, argument), operation.parameter(name))
            for argument, name in self.path_arguments.items()
        }
        self.record_id = next(iter(path.values()), None)
        return path

    def checked_query(self) -> dict[str, Any]:
        """Return the query parameters that have an argument of their own.

        :raises InvalidArgumentError: one is missing or has a value that cannot be sent.
        """
        from airflow_provider_drchrono.operators.base.validation import check_option

        query = {
            name: check_option(self.operation_id, argument, name, getattr(self, argument), zone=self.zone)
            for argument, name in self.query_arguments.items()
        }
        if "id" in query:
            self.record_id = query["id"]
        return {name: value for name, value in query.items() if value is not None}

    def note_missing(self, on_missing: OnMissing) -> None:
        """Log that there is no such record, and skip the task where that is what it means."""
        self.log.info("%s: there is no such record", self.operation_id)
        self.record_id = None
        if on_missing == "skip":
            raise AirflowSkipException(f"{self.operation_id}: there is no such record, and on_missing is 'skip'")

    def _places(self, name: str) -> str | None:
        """Say where the value of a path or query parameter came from, as the author of the DAG wrote it."""
        for argument, parameter in (*self.path_arguments.items(), *self.query_arguments.items()):
            if parameter == name:
                return argument
        if any(each.name == name for each in load().operation(self.operation_id).filters):
            return f"filters[{name!r}]"
        return name if name not in body_names(self.operation_id).fields and name in vars(self) else None


def _template_fields(cls: type[DrChronoOperationOperator]) -> tuple[str, ...]:
    """Return the arguments that Airflow renders: all that the operator states itself, and those of its base.

    Of the base's, an operator has ``data``, ``filters`` and ``uuid`` only where it states them.
    """
    code = cls.__init__.__code__
    own = code.co_varnames[1 : 1 + code.co_kwonlyargcount] if "__init__" in vars(cls) else ()
    absent = {each for each in OF_THE_REQUEST if each not in own}
    if "data" in absent:
        absent.add("extra_fields")
    return (*own, *(each for each in cls.template_fields if each not in own and each not in absent))
