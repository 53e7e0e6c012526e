"""Writes the generated files, or says in which way they are not what the generator would write.

The lock file beside this module remembers what the last run was made from, so that a difference can be explained: other
facts, another generator, an edit by hand, or a missing file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.catalog.loader import INDEX, index_of_sources, load_sources
from airflow_provider_drchrono.codegen.plan import Plan, plan
from airflow_provider_drchrono.codegen.render import (
    FIELDS,
    OPERATORS,
    REFERENCE,
    ROOT,
    SENSORS,
    TABLES,
    TYPES,
    render,
    ruff_version,
)

LOCK = "airflow_provider_drchrono/codegen/generated.lock"
FACTS = "airflow_provider_drchrono/catalog"
CATALOG_INDEX = f"{FACTS}/data/{INDEX}"
GENERATOR = "airflow_provider_drchrono/codegen"
REMEDY = "run `make generate`"

# Everything in these folders with these endings is generated, so what is not ours is a leftover.
WHOLLY_GENERATED = (
    (OPERATORS, "*.py"),
    (SENSORS, "*.py"),
    (TYPES, "*_types.py"),
    (f"{REFERENCE}/operators", "*.md"),
    (FIELDS, "*.md"),
    (TABLES, "*.svg"),
)


@dataclass(frozen=True, slots=True)
class Output:
    """The files that the catalogue calls for, and the lock that describes them."""

    files: Mapping[str, str]
    lock: Mapping[str, Any]


def generate() -> Output:
    """Make everything in memory."""
    catalog = load_sources()
    planned = plan(catalog)
    files = {CATALOG_INDEX: _catalog_index(), **render(catalog, planned)}
    return Output(files, _lock(catalog, planned, files))


def write(output: Output, root: Path = ROOT) -> list[str]:
    """Write what differs, delete what is left over, and return the paths that were touched.

    :param root: root of the repository.
    """
    touched = []
    for path, text in {**output.files, LOCK: _lock_text(output.lock)}.items():
        target = root / path
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            touched.append(path)
    for path in _leftovers(output, root):
        (root / path).unlink()
        touched.append(path)
    return touched


def problems(output: Output, root: Path = ROOT) -> list[str]:
    """Say what differs from what would be written, why, and what to do; nothing when all is current.

    :param root: root of the repository.
    """
    before = _read_lock(root)
    found = [*_changed_sources(before, output.lock)]
    for path, text in output.files.items():
        target = root / path
        if not target.exists():
            found.append(f"{path} is missing: {REMEDY}")
        elif (there := target.read_text(encoding="utf-8")) != text:
            found.append(f"{path} {_why_different(path, there, before)}")
    found += [f"{path} is generated from nothing any more: {REMEDY}" for path in _leftovers(output, root)]
    if not found and before != output.lock:
        found.append(f"{LOCK} does not describe the files: {REMEDY}")
    return found


def _changed_sources(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    if not before:
        yield f"{LOCK} is missing: {REMEDY}"
        return
    if before["facts"] != now["facts"]:
        yield f"The facts in {FACTS} changed since the last run: {REMEDY}"
    if before["generator"] != now["generator"]:
        yield f"The generator in {GENERATOR} changed since the last run: {REMEDY}"
    if before["ruff"] != now["ruff"]:
        yield f"The last run formatted with ruff {before['ruff']}, this is {now['ruff']}: {REMEDY}"


def _why_different(path: str, there: str, before: Mapping[str, Any]) -> str:
    if before and before["files"].get(path) == _hash(there):
        return f"is out of date: {REMEDY}"
    return f"was edited by hand; change the catalogue or the generator, then {REMEDY}"


def _catalog_index() -> str:
    index = index_of_sources()
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in index["resources"].items())
    return f'{{"resources": {{\n{rows}\n}},\n"records": {json.dumps(index["records"])}}}\n'


def _lock(catalog: Catalog, planned: Plan, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "operations": len(planned.operators),
        "actions": sum(each.operation.action is not None for each in planned.operators),
        "resources": len(catalog.resources),
        "records": len(catalog.records),
        "facts": _hash_of_folder(FACTS),
        "generator": _hash_of_folder(GENERATOR),
        "ruff": ruff_version(),
        "files": {path: _hash(text) for path, text in files.items()},
    }


def _lock_text(lock: Mapping[str, Any]) -> str:
    return json.dumps(lock, indent=1) + "\n"


def _read_lock(root: Path) -> dict[str, Any]:
    path = root / LOCK
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _leftovers(output: Output, root: Path) -> list[str]:
    there = {
        path.relative_to(root).as_posix()
        for folder, pattern in WHOLLY_GENERATED
        for path in (root / folder).glob(pattern)
    }
    return sorted(there - set(output.files))


def _hash_of_folder(folder: str) -> str:
    digest = hashlib.sha256()
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in {".json", ".py", ".jinja"} and path != ROOT / CATALOG_INDEX:
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
