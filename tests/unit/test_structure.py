"""The rules of the source tree that no tool checks for us."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "airflow_provider_drchrono"
GENERATED_MARK = "# Generated"
OVERLOADS = "airflow_provider_drchrono/assets/overloads.py"
MAX_LINES = 600
MADE_BY_TOOLS = re.compile(r"\..*|__pycache__|build|dist|htmlcov|logs|site")
HEAVY = {"airflow", "authlib", "duckdb", "httpx", "psycopg", "psycopg2", "pydantic", "redis", "uvicorn"}

RETIRED_WORDS = {
    r"airflow_provider_drchrono[./]changes\b|`changes/|\bSubject\b": "incremental, IncrementalList",
    r"\bFollow(?:ed|er)\b": "Selection, Poller",
    r"\b(?:Marker|Canonicals)\b": "Fingerprinter, ComparedCache",
    r"\b(?:Listener|Standpoint|News)\b": "Subscriber, SubscriberPosition, PollSummary",
    r"\brested(?:_at)?\b|\bhear[sd]?\b": "polled_at, feed",
    r"\b(?:is|are|was|were|be|been) told\b(?! apart| from)": "notified",
    r"\b[Aa]nnouncements?\b|\bannouncing\b|\bClaims\b": "event, ChangeEvent, EventWriter, Deliveries",
    r"\b(?:[Ss]etback|[Mm]ishap|[Vv]erdict|garbled)s?\b": "RetryReason, Failure, RetryDecision, malformed",
    r"\b(?:Exchanger|Course|Consult)\b": "RequestRunner, CallState, BlockingStep",
    r"\b(?:Book|Ledgers?|Standing|let_go)\b": "QuotaState, QuotaStore, QuotaStatus, started_at",
    r"\bseed_of\b": "grant_id_of",
    r"\b[Ss]hielded\b|\bShieldsRendered\b|\breveal(?:s|ed|ing)?\b": "MaskedValue, MasksTemplateFields, unmask",
    r"`overlap`|\boverlap ?[=:]|\bself\._?overlap\b|\| Overlap \|": "lookback",
    r"\bgo(?:ne|ing|es)? on with\b": "resume, continue",
}
"""What has another name now, and that name: one idea has one word, and it is the word that the field uses."""

IMPORT_AND_LIST_MODULES = """
import json, sys
import {module}
{statement}
print(json.dumps(sorted(sys.modules)))
"""


def text_files() -> Iterator[Path]:
    """Files of the source tree, less what tools made and what is not text."""
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if name == ".ci" or not MADE_BY_TOOLS.fullmatch(name)]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and b"\0" not in path.read_bytes()[:8192]:
                yield path


def package_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def is_generated(source: str) -> bool:
    return source.startswith(GENERATED_MARK)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", package_modules(), ids=relative)
def test_every_module_says_why_it_exists(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text())), f"{relative(module)} has no module docstring"


@pytest.mark.parametrize("module", package_modules(), ids=relative)
def test_hand_written_modules_stay_short(module: Path) -> None:
    source = module.read_text()
    if not is_generated(source):
        lines = len(source.splitlines())
        assert lines <= MAX_LINES, f"{relative(module)} has {lines} lines: split it by what it decides"


def test_no_file_points_outside_the_repository() -> None:
    outside = "../" + "shared"
    offenders = [relative(path) for path in text_files() if outside in path.read_text(errors="replace")]

    assert offenders == []


def sources_and_pages() -> Iterator[Path]:
    """The package and its documentation, less the data of the catalogue, whose words are the vendor's."""
    yield ROOT / "README.md"
    for folder in (PACKAGE, ROOT / "docs"):
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".md", ".jinja", ".html"}:
                yield path


@pytest.mark.parametrize(("retired", "now"), RETIRED_WORDS.items(), ids=list(RETIRED_WORDS.values()))
def test_retired_words_stay_away(retired: str, now: str) -> None:
    offenders = [
        f"{relative(path)}:{number}: {found[0]}"
        for path in sources_and_pages()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := re.search(retired, line))
    ]

    assert offenders == [], f"say {now}"


def test_the_catalogue_imports_nothing_but_the_standard_library() -> None:
    offenders = []
    for module in sorted((PACKAGE / "catalog").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            offenders += [
                f"{relative(module)}: {name}"
                for name in names
                if name.split(".")[0] not in sys.stdlib_module_names
                and not f"{name}.".startswith("airflow_provider_drchrono.catalog.")
            ]

    assert offenders == []


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        pytest.param("airflow_provider_drchrono", "", id="package"),
        pytest.param(
            "airflow_provider_drchrono.get_provider_info as info",
            "info.get_provider_info()",
            id="provider info",
        ),
    ],
)
def test_airflow_lists_the_provider_without_loading_its_libraries(module: str, statement: str) -> None:
    script = IMPORT_AND_LIST_MODULES.format(module=module, statement=statement)
    listing = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert listing.returncode == 0, listing.stderr
    loaded = {name.split(".")[0] for name in json.loads(listing.stdout)}
    assert loaded & HEAVY == set()


def test_provider_info_names_this_distribution() -> None:
    from airflow_provider_drchrono.get_provider_info import get_provider_info

    assert get_provider_info()["package-name"] == "airflow-provider-drchrono"


def test_operations_are_named_in_the_catalogue_and_nowhere_else() -> None:
    """Whoever needs to know something of an operation asks the catalogue for it, and does not list ids."""
    from airflow_provider_drchrono.catalog import load

    facts = load()
    # Some lists have the name of their resource.
    ids = set(facts.operations) - set(facts.resources)
    allowed = {"airflow_provider_drchrono/codegen/naming.py"}
    found = [
        f"{relative(module)}:{node.lineno}: {node.value}"
        for module in package_modules()
        if relative(module) not in allowed and "sandbox" not in module.parts and not is_generated(module.read_text())
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ids
    ]

    assert found == []


def test_a_module_of_types_is_loaded_by_no_dag() -> None:
    for module in package_modules():
        source = module.read_text()
        at_run_time = [node.module or "" for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
        types = [name for name in at_run_time if name.startswith("airflow_provider_drchrono.types")]
        assert not types or relative(module).startswith(("airflow_provider_drchrono/types/", OVERLOADS)), relative(
            module
        )


def test_a_file_name_says_which_file_is_meant() -> None:
    names = Counter(path.name for path in package_modules() if not path.name.startswith("__"))

    assert {name: count for name, count in names.items() if count > 2} == {}
