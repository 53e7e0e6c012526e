"""Says to OpenLineage what was read from where into what: names, types, classes and counts, and no value of a record.

Airflow's OpenLineage provider asks the tasks for it. Where that is not installed or switched off, nothing here runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from airflow_provider_drchrono.catalog import Catalog, Resource

log = logging.getLogger(__name__)

SCHEME = "drchrono"
"""Of the URIs of lists, as datasets and as assets."""

PROVIDER = "airflow.providers.openlineage"
PRODUCER = "https://pypi.org/project/airflow-provider-drchrono/"
PRIVACY_TAG = "privacy_class"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A dataset as OpenLineage names it."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class DatasetColumn:
    """A field of a list, or a column of what was written.

    :param kind: the type, as the catalogue or the warehouse calls it.
    :param source: of a column: the field that it holds.
    :param mask: of a column: what was made of that field; empty where it holds it as it is.
    """

    name: str
    kind: str
    about: str = ""
    classes: tuple[str, ...] = ()
    source: str | None = None
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """What a task has read, and where it went.

    :param read: records that were read.
    :param target: what was written; None where the task only read.
    :param written: rows that are new or have changed in it.
    :param files: files that were written; None for a table.
    """

    source: DatasetName
    fields: tuple[DatasetColumn, ...]
    read: int
    target: DatasetName | None = None
    columns: tuple[DatasetColumn, ...] = ()
    written: int = 0
    files: int | None = None


class ReportsLineage:
    """An operator or sensor that says what it has read and written once it has succeeded."""

    drchrono_conn_id: str
    _flow: Flow | None = None

    def note_flow(self, make: Callable[[], Flow]) -> None:
        """Keep what the task has read and written, if anybody listens. A failure here costs the lineage, not the task.

        :param make: returns it.
        """
        try:
            if is_wanted():
                self._flow = make()
        except Exception as error:
            log.warning("What this task has read and written is not told to OpenLineage: %s", type(error).__name__)

    def note_read(self, catalog: Catalog, operation_id: str, read: int, *, verbose: bool) -> None:
        """Keep what the task has read of a list, if anybody listens.

        :param operation_id: of the operation that lists the records.
        :param read: how many records came.
        :param verbose: whether the verbose fields were among theirs.
        """

        def make() -> Flow:
            resource = catalog.resource(catalog.operation(operation_id).resource)
            fields = fields_of(catalog, resource, verbose=verbose)
            return Flow(list_dataset(self.drchrono_conn_id, resource.name), fields, read)

        self.note_flow(make)

    def get_openlineage_facets_on_complete(self, task_instance: object) -> Any:
        """Return what OpenLineage gets to know of the task; nothing where it did not come to its end.

        :param task_instance: the task instance, which the provider gives.
        :return: an ``OperatorLineage`` of Airflow's OpenLineage provider.
        """
        from airflow.providers.openlineage.extractors import OperatorLineage

        if self._flow is None:
            return OperatorLineage()
        flow = self._flow
        return OperatorLineage(inputs=[_input(flow)], outputs=[_output(flow, flow.target)] if flow.target else [])


def is_wanted() -> bool:
    """Tell whether somebody listens, so that names which take a look at a connection are worth it."""
    try:
        if find_spec(PROVIDER) is None:
            return False
    except ModuleNotFoundError:
        return False
    from airflow.providers.openlineage.conf import is_disabled

    return not is_disabled()


def list_dataset(conn_id: str, resource: str) -> DatasetName:
    """Return the dataset that is the list of a practice, as its asset is called."""
    return DatasetName(f"{SCHEME}://{quote(conn_id, safe='')}", resource)


def fields_of(catalog: Catalog, resource: Resource, *, verbose: bool) -> tuple[DatasetColumn, ...]:
    """Return the fields of a list's records, with their privacy classes."""
    record = catalog.record(resource.record) if resource.record else None
    if record is None:
        return ()
    classes = classes_of(catalog, resource)
    return tuple(
        DatasetColumn(each.name, each.format or each.type, each.about, classes.get(each.name, ()))
        for each in record.fields.values()
        if verbose or not each.verbose
    )


def classes_of(catalog: Catalog, resource: Resource) -> Mapping[str, tuple[str, ...]]:
    """Return the privacy classes of the fields of a list's records, those within a field included."""
    from airflow_provider_drchrono.catalog.privacy import classes_by_field, privacy_leaves

    return classes_by_field(privacy_leaves(catalog, catalog.record(resource.record or "")))


def _input(flow: Flow) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

    return InputDataset(
        namespace=flow.source.namespace,
        name=flow.source.name,
        facets=_facets(flow.fields),
        inputFacets={
            "inputStatistics": statistics.InputStatisticsInputDatasetFacet(rowCount=flow.read, producer=PRODUCER)
        },
    )


def _output(flow: Flow, target: DatasetName) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    counts = statistics.OutputStatisticsOutputDatasetFacet(
        rowCount=flow.written, fileCount=flow.files, producer=PRODUCER
    )
    return OutputDataset(
        namespace=target.namespace,
        name=target.name,
        facets={**_facets(flow.columns), "columnLineage": _column_lineage(flow)},
        outputFacets={"outputStatistics": counts},
    )


def _facets(columns: Iterable[DatasetColumn]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import schema_dataset as schema
    from openlineage.client.facet_v2 import tags_dataset as tags

    fields = [schema.SchemaDatasetFacetFields(each.name, each.kind, each.about or None) for each in columns]
    classes = [
        tags.TagsDatasetFacetFields(PRIVACY_TAG, name, "INTEGRATION", each.name)
        for each in columns
        for name in each.classes
    ]
    return {
        "schema": schema.SchemaDatasetFacet(fields, producer=PRODUCER),
        "tags": tags.TagsDatasetFacet(classes, producer=PRODUCER),
    }


def _column_lineage(flow: Flow) -> Any:
    from openlineage.client.facet_v2 import column_lineage_dataset as lineage

    def of(column: DatasetColumn) -> Any:
        how = lineage.Transformation(
            type="DIRECT",
            subtype="TRANSFORMATION" if column.mask else "IDENTITY",
            description=f"masked: {column.mask}" if column.mask else "",
            masking=bool(column.mask),
        )
        source = lineage.InputField(flow.source.namespace, flow.source.name, column.source, [how])
        return lineage.Fields([source])

    fields = {each.name: of(each) for each in flow.columns if each.source}
    return lineage.ColumnLineageDatasetFacet(fields, producer=PRODUCER)
