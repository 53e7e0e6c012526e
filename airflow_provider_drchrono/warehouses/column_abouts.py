"""What is said of each column in databases that keep a line on columns: the catalogue's line, and the privacy class."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_drchrono.catalog import Catalog, RecordSchema
from airflow_provider_drchrono.catalog.privacy import privacy_leaves
from airflow_provider_drchrono.privacy import FieldPolicy


def column_abouts(catalog: Catalog, record: RecordSchema, policy: FieldPolicy | None = None) -> Mapping[str, str]:
    """Return one line on each field of a record, by its name.

    :param policy: what of the records is held; what it makes of the fields is said, too.
    """
    classes: dict[str, dict[str, None]] = {}
    masks: dict[str, dict[str, None]] = {}
    for leaf in privacy_leaves(catalog, record):
        name = leaf.path.partition(".")[0]
        action = policy.actions[leaf.path] if policy else "keep"
        if action != "out":
            classes.setdefault(name, {})[leaf.reason.name] = None
        if action not in ("keep", "out"):
            masks.setdefault(name, {})[action] = None
    return {
        name: ". ".join(
            [
                field.about,
                *([f"Privacy class: {', '.join(classes[name])}"] if name in classes else []),
                *([f"Masked: {', '.join(masks[name])}"] if name in masks else []),
            ]
        )
        for name, field in record.fields.items()
    }
