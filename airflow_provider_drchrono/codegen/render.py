"""Spells out a plan as text: operator modules, types, the index and the reference pages. It decides nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_provider_drchrono.catalog import Catalog, wording
from airflow_provider_drchrono.catalog.privacy import privacy_reasons
from airflow_provider_drchrono.codegen import labels, naming
from airflow_provider_drchrono.codegen.assets import WatchPlan, plan_watches
from airflow_provider_drchrono.codegen.bases import function_options, options_of
from airflow_provider_drchrono.codegen.docstrings import (
    attribute_doc,
    module_docstring,
    operator_docstring,
    returned,
    sensor_docstring,
)
from airflow_provider_drchrono.codegen.examples import example
from airflow_provider_drchrono.codegen.fields import plan_fields, treatment_label
from airflow_provider_drchrono.codegen.plan import OF_THE_REQUEST, DomainPlan, Plan, index_rows
from airflow_provider_drchrono.codegen.sensors import BASE, SensorDomain, plan_sensors
from airflow_provider_drchrono.codegen.tables import plan_tables

ROOT = Path(__file__).resolve().parents[2]

OVERLOADS = "airflow_provider_drchrono/assets/overloads.py"
OPERATORS = "airflow_provider_drchrono/operators"
SENSORS = "airflow_provider_drchrono/sensors"
TYPES = "airflow_provider_drchrono/types"
REFERENCE = "docs/reference"
FIELDS = f"{REFERENCE}/fields"
TABLES = f"{REFERENCE}/tables"


def render(catalog: Catalog, planned: Plan) -> dict[str, str]:
    """Return the text of each generated file by its path from the root of the repository."""
    templates = _environment(catalog)
    python = {f"{OPERATORS}/__init__.py": templates.get_template("package.py.jinja").render(plan=planned)}
    others = {
        f"{OPERATORS}/index.json": _one_row_a_line(index_rows(planned)),
        f"{REFERENCE}/operations.md": templates.get_template("operations.md.jinja").render(plan=planned),
    }
    for domain in planned.domains:
        types = naming.types_module(domain.name)
        values = {"domain": domain, "types": types, "bases": _bases(domain)}
        python[f"{OPERATORS}/{domain.name}.py"] = templates.get_template("operators.py.jinja").render(values)
        python[f"{TYPES}/{types}.py"] = templates.get_template("types.py.jinja").render(values)
        others[f"{REFERENCE}/operators/{domain.name}.md"] = templates.get_template("page.md.jinja").render(values)
    sensors_python, sensors_others = _sensors(templates, plan_sensors(catalog))
    assets_python, assets_others = _assets(templates, plan_watches(catalog))
    tables_others = {**_fields(templates, catalog), **_tables(templates, catalog)}
    written = formatted({**python, **sensors_python, **assets_python})
    return dict(sorted({**written, **others, **sensors_others, **assets_others, **tables_others}.items()))


def _bases(domain: DomainPlan) -> list[dict[str, Any]]:
    """Return the base classes of a domain's operators with the arguments that its operators do not state themselves."""
    names = sorted({each.base for each in domain.operators})
    return [
        {"name": name, "options": [each for each in options_of(name) if each.name not in OF_THE_REQUEST]}
        for name in names
    ]


def _assets(templates: Environment, watches: Sequence[WatchPlan]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Python files and the other files of what may be watched."""
    domains = sorted({each.resource.domain for each in watches if each.filters})
    values = {"watches": watches, "domains": domains, "options": function_options("drchrono_asset")}
    python = {OVERLOADS: templates.get_template("assets_overloads.py.jinja").render(values)}
    return python, {f"{REFERENCE}/assets.md": templates.get_template("assets.md.jinja").render(values)}


def _fields(templates: Environment, catalog: Catalog) -> dict[str, str]:
    """Return the pages that say of each field of each list what it is to privacy."""
    pages = plan_fields(catalog)
    template = templates.get_template("fields.md.jinja")
    written = {f"{FIELDS}/{each.domain}.md": template.render(page=each) for each in pages}
    index = templates.get_template("privacy.md.jinja").render(pages=pages, reasons=privacy_reasons().values())
    return {**written, f"{REFERENCE}/privacy.md": index}


def _tables(templates: Environment, catalog: Catalog) -> dict[str, str]:
    """Return the map of the tables, and its pictures."""
    pages = plan_tables(catalog)
    pictures = {f"{TABLES}/{each.domain}.svg": each.picture for each in pages}
    return {**pictures, f"{REFERENCE}/tables.md": templates.get_template("tables.md.jinja").render(pages=pages)}


def _sensors(templates: Environment, domains: Sequence[SensorDomain]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Python files and the other files of the sensors."""
    python = {f"{SENSORS}/__init__.py": templates.get_template("sensors_package.py.jinja").render(domains=domains)}
    for domain in domains:
        values = {"domain": domain, "types": naming.types_module(domain.name)}
        python[f"{SENSORS}/{domain.name}.py"] = templates.get_template("sensors.py.jinja").render(values)
    count = sum(len(domain.sensors) for domain in domains)
    values = {"domains": domains, "count": count, "options": options_of(BASE)}
    return python, {f"{REFERENCE}/sensors.md": templates.get_template("sensors.md.jinja").render(values)}


def formatted(files: Mapping[str, str]) -> dict[str, str]:
    """Drop unused imports and format Python files, as ``make format`` would in place."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        _ruff(folder, "check", "--select", "F401,I", "--fix", "--quiet", "--no-cache")
        _ruff(folder, "format", "--quiet", "--no-cache")
        return {path: Path(folder, path).read_text(encoding="utf-8") for path in files}


def ruff_version() -> str:
    """Return the version of the formatter, on which the output depends."""
    return version("ruff")


def qualified(annotation: str, domain: DomainPlan) -> str:
    """Return an annotation in which the types of a domain stand in their module, ``types``."""
    names = {each.name for each in domain.types}
    return re.sub(r"\w+", lambda found: f"types.{found[0]}" if found[0] in names else found[0], annotation)


def _environment(catalog: Catalog) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {
        "attribute_doc": attribute_doc,
        "annotation": labels.annotation_label,
        "cell": labels.about_label,
        "code": "`{}`".format,
        "docstring": operator_docstring,
        "example": lambda operator: example(catalog, operator),
        "fields_shown_at": labels.fields_shown_at,
        "literal": repr,
        "module_docstring": module_docstring,
        "treatment": treatment_label,
        "of_options": lambda name: name if name == "TaskOptions" else f"options.{name}",
        "of_types": qualified,
        "parameter_label": wording.parameter_label,
        "record_shown_at": labels.record_shown_at,
        "returned": returned,
        "rules": lambda operation: wording.rules_of(catalog, operation),
        "rows": lambda fields, writable: wording.rows_of(catalog, fields, writable=writable),
        "sensor_docstring": sensor_docstring,
        "type_label": wording.type_label,
        "values_label": wording.values_label,
    }
    return environment


def _one_row_a_line(rows: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def _ruff(folder: str, command: str, *arguments: str) -> None:
    # The temporary folder holds too little of the package for ruff to recognise it as our own.
    own = 'lint.isort.known-first-party = ["airflow_provider_drchrono"]'
    settings = ["--config", str(ROOT / "pyproject.toml"), *(["--config", own] if command == "check" else [])]
    finished = subprocess.run(
        [sys.executable, "-m", "ruff", command, *arguments, *settings, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"ruff {command} of the generated code failed: {finished.stderr or finished.stdout}")
