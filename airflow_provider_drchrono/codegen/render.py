"""Spells out a plan as text: operator modules, types, the index and the reference pages. It decides nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_provider_drchrono.catalog import Catalog, Field, Operation
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.assets import OPTIONS, WatchPlan, plan_watches
from airflow_provider_drchrono.codegen.examples import example
from airflow_provider_drchrono.codegen.options import Option
from airflow_provider_drchrono.codegen.plan import Argument, DomainPlan, OperatorPlan, Plan, index_rows
from airflow_provider_drchrono.codegen.sensors import SensorDomain, SensorPlan, plan_sensors

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 110
SHORT_ENUMERATION = 8

ASSETS = "airflow_provider_drchrono/assets/watchable"
OPERATORS = "airflow_provider_drchrono/operators"
SENSORS = "airflow_provider_drchrono/sensors"
REFERENCE = "docs/reference"

KIND_TITLES = {
    "any": "anything",
    "array": "list",
    "boolean": "true or false",
    "integer": "integer",
    "number": "number",
    "object": "object",
    "string": "text",
}


def render(catalog: Catalog, planned: Plan) -> dict[str, str]:
    """Return the text of each generated file by its path from the root of the repository."""
    templates = _environment(catalog)
    python = {
        f"{OPERATORS}/__init__.py": templates.get_template("package.py.jinja").render(plan=planned),
        f"{OPERATORS}/types/__init__.py": templates.get_template("types_package.py.jinja").render(),
        f"{OPERATORS}/types/values.py": templates.get_template("values.py.jinja").render(),
    }
    others = {
        f"{OPERATORS}/index.json": _one_row_a_line(index_rows(planned)),
        f"{REFERENCE}/operations.md": templates.get_template("operations.md.jinja").render(plan=planned),
    }
    for domain in planned.domains:
        values = {"domain": domain, "constants": field_constants(domain)}
        python[f"{OPERATORS}/{domain.name}.py"] = templates.get_template("operators.py.jinja").render(values)
        python[f"{OPERATORS}/types/{domain.name}.py"] = templates.get_template("types.py.jinja").render(values)
        others[f"{REFERENCE}/operators/{domain.name}.md"] = templates.get_template("page.md.jinja").render(values)
    sensors_python, sensors_others = _sensors(templates, plan_sensors(catalog))
    assets_python, assets_others = _assets(templates, catalog, plan_watches(catalog))
    written = formatted({**python, **sensors_python, **assets_python})
    return dict(sorted({**written, **others, **sensors_others, **assets_others}.items()))


def _assets(
    templates: Environment, catalog: Catalog, watches: Sequence[WatchPlan]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Python files and the other files of what may be watched."""
    values = {"watches": watches, "resources": sorted(catalog.resources), "common": OPTIONS}
    python = {
        f"{ASSETS}/{name}.py": templates.get_template(f"assets_{template}.py.jinja").render(values)
        for name, template in (("__init__", "package"), ("filters", "filters"), ("overloads", "overloads"))
    }
    return python, {f"{REFERENCE}/assets.md": templates.get_template("assets.md.jinja").render(values)}


def _sensors(templates: Environment, domains: Sequence[SensorDomain]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Python files and the other files of the sensors."""
    python = {
        f"{SENSORS}/__init__.py": templates.get_template("sensors_package.py.jinja").render(domains=domains),
        f"{SENSORS}/types/__init__.py": templates.get_template("types_package.py.jinja").render(),
        f"{SENSORS}/types/values.py": templates.get_template("values.py.jinja").render(),
    }
    for domain in domains:
        values = {"domain": domain}
        python[f"{SENSORS}/{domain.name}.py"] = templates.get_template("sensors.py.jinja").render(values)
        python[f"{SENSORS}/types/{domain.name}.py"] = templates.get_template("sensor_types.py.jinja").render(values)
    count = sum(len(domain.sensors) for domain in domains)
    page = templates.get_template("sensors.md.jinja").render(domains=domains, count=count)
    return python, {f"{REFERENCE}/sensors.md": page}


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


def field_constants(domain: DomainPlan) -> dict[tuple[str, ...], str]:
    """Name each tuple of field names that more than one operator of a module uses."""
    constants: dict[tuple[str, ...], str] = {}
    for operator in domain.operators:
        noun = operator.resource.noun
        data_fields = tuple(each.name for each in operator.data_fields)
        _name_constant(constants, data_fields, naming.fields_constant(noun, "fields"))
        _name_constant(constants, operator.read_only_fields, naming.fields_constant(noun, "read only"))
    return constants


def docstring(operator: OperatorPlan) -> str:
    """Return the docstring of an operator's class, indented for it, without its quotes."""
    operation = operator.operation
    facts = [f"``{operation.method} {operation.path}``."]
    if operation.action:
        facts.append(f'The action "{operation.action.title}".')
    if operation.scopes:
        facts.append(_scopes(operation))
    if operation.permissions:
        facts.append(f"Permissions in DrChrono: {_literals(operation.permissions)}.")
    return _docstring(operation.summary, facts, operator.arguments)


def sensor_docstring(sensor: SensorPlan) -> str:
    """Return the docstring of a sensor's class, indented for it, without its quotes."""
    facts = [
        f"``{sensor.operation.method} {sensor.operation.path}``.",
        f'The trigger "{sensor.trigger.title}".',
    ]
    if sensor.operation.scopes:
        facts.append(_scopes(sensor.operation))
    return _docstring(f"Wait for new or updated {sensor.resource.plural}.", facts, sensor.arguments)


def _scopes(operation: Operation) -> str:
    kind = "Scope" if len(operation.scopes) == 1 else "One of the scopes"
    return f"{kind}: {_literals(operation.scopes)}."


def _docstring(summary: str, facts: Iterable[str], arguments: Iterable[Argument | Option]) -> str:
    named = [
        *((each.name, each.about) for each in arguments),
        ("drchrono_conn_id", "the Airflow connection to DrChrono."),
    ]
    paragraphs = [summary, "", *_wrap(" ".join(facts)), ""]
    for name, about in named:
        paragraphs.extend(_wrap(f":param {name}: {about}", hanging="    "))
    return "\n".join(f"    {line}" if line else "" for line in paragraphs).strip()


def type_label(field: Field) -> str:
    """Say in a word or two what a field holds."""
    if field.type == "array" and field.items:
        return f"list of {type_label(field.items)}"
    if field.format:
        return "timestamp" if field.format == "date-time" else field.format
    return KIND_TITLES[field.type]


def values_label(catalog: Catalog, field: Field) -> str:
    """Say what a field may hold: a short enumeration, how long a long one is, keys, or what it refers to."""
    if field.enum:
        shown = ", ".join(f"`{each}`" if each != "" else "empty" for each in field.enum[:SHORT_ENUMERATION])
        rest = len(field.enum) - SHORT_ENUMERATION
        return f"{shown} and {rest} more" if rest > 0 else shown
    inner = field.items or field
    keys = catalog.record(inner.record).writable_fields if inner.record else inner.fields
    if keys:
        shown = ", ".join(f"`{each.name}`" for each in keys[:SHORT_ENUMERATION])
        rest = len(keys) - SHORT_ENUMERATION
        return f"keys {shown} and {rest} more" if rest > 0 else f"keys {shown}"
    return f"id in `{field.refers_to}`" if field.refers_to else ""


def fields_shown_at(operator: OperatorPlan, domain: DomainPlan) -> str:
    """Return the class whose section already lists the same fields, or nothing where this is the first."""
    for each in domain.operators:
        if each is operator:
            return ""
        if each.resource is operator.resource and each.data_fields == operator.data_fields:
            return each.class_name
    raise LookupError(f"{operator.class_name} is not in {domain.name}")


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
        "docstring": docstring,
        "example": lambda operator: example(catalog, operator),
        "fields_shown_at": fields_shown_at,
        "literal": repr,
        "sensor_docstring": sensor_docstring,
        "type_label": type_label,
        "values_label": lambda field: values_label(catalog, field),
    }
    return environment


def _name_constant(constants: dict[tuple[str, ...], str], names: tuple[str, ...], constant: str) -> None:
    # A second list of one resource, such as that of an action with a body of its own, is short and used once.
    if len(names) > 1 and names not in constants and constant not in constants.values():
        constants[names] = constant


def _wrap(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH - 4, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _one_row_a_line(rows: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def _literals(names: Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)


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
