"""Plans the pages that say of each field of each list which privacy class it has, and why."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_drchrono.catalog import Catalog, RecordSchema
from airflow_provider_drchrono.catalog.privacy import Leaf, PrivacyReason, Treatment, privacy_leaves
from airflow_provider_drchrono.codegen import naming

TREATMENTS: dict[Treatment, str] = {"keep": "stays", "out": "left out"}


@dataclass(frozen=True, slots=True)
class RecordFields:
    """The fields of a record, and the lists that hold such records."""

    record: RecordSchema
    lists: tuple[str, ...]
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class FieldsPage:
    """The records of one domain."""

    domain: str
    title: str
    records: tuple[RecordFields, ...]


def plan_fields(catalog: Catalog) -> tuple[FieldsPage, ...]:
    """Return a page for each domain, sorted by name; a record stands where its first list does."""
    lists: dict[str, list[str]] = {}
    domains: dict[str, str] = {}
    for resource in sorted(catalog.resources.values(), key=lambda each: each.name):
        if resource.list_operation and resource.record:
            lists.setdefault(resource.record, []).append(resource.name)
            domains.setdefault(resource.record, resource.domain)
    return tuple(
        FieldsPage(
            domain,
            naming.DOMAIN_TITLES[domain],
            tuple(
                RecordFields(record, tuple(lists[record.name]), tuple(privacy_leaves(catalog, record)))
                for record in catalog.records.values()
                if domains.get(record.name) == domain
            ),
        )
        for domain in sorted(set(domains.values()))
    )


def treatment_label(reason: PrivacyReason, profile: str) -> str:
    """Return what a profile does with the fields of a reason, for a cell of a table."""
    treatment = reason.safe_harbor if profile == "safe_harbor" else reason.limited_data_set
    return TREATMENTS.get(treatment, f"`{treatment}`")
