"""What is said of each column in databases that keep a line on columns: the catalogue's line, and the privacy class."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_drchrono.catalog import Catalog, RecordSchema
from airflow_provider_drchrono.catalog.privacy import classes_by_field, privacy_leaves
from airflow_provider_drchrono.privacy import FieldPolicy


def column_abouts(catalog: Catalog, record: RecordSchema, policy: FieldPolicy | None = None) -> Mapping[str, str]:
    """Return one line on each field of a record, by its name.

    :param policy: what of the records is held; what it makes of the fields is said, too.
    """
    actions = [(leaf, policy.actions[leaf.path] if policy else "keep") for leaf in privacy_leaves(catalog, record)]
    classes = classes_by_field(leaf for leaf, action in actions if action != "out")
    masks: dict[str, dict[str, None]] = {}
    for leaf, action in actions:
        if action not in ("keep", "out"):
            masks.setdefault(leaf.top, {})[action] = None
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
