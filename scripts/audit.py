"""Says what an installation of this package brings along: known vulnerabilities, an SBOM, and the licenses.

The answer changes with the day, so the gate does not ask. ``audit/`` gets

=====================  ===============================================================================================
``requirements.txt``   what the wheel with all extras depends on, in the locked versions
``sbom.cdx.json``      the same as a CycloneDX SBOM, with licenses, made of an environment in which it is installed
``licenses.csv``       name, version and license of each, for people
``audit.json``         what pip-audit found
=====================  ===============================================================================================
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "audit"
TOOLS = Path(sys.executable).parent
UV = ROOT / ".venv/bin/uv"
UNKNOWN = "unknown"


def run(*command: object) -> int:
    """Run a command with the certificates that downloads need, and return its exit code."""
    certificates = [ROOT / "scripts/with_certificates.sh", ROOT / ".venv/bin/python"]
    return subprocess.run([*map(str, (*certificates, *command))], cwd=ROOT, check=False).returncode


def need(*command: object) -> None:
    """Run a command that has to succeed."""
    if code := run(*command):
        raise SystemExit(code)


def install(requirements: Path, environment: Path) -> None:
    """Resolve what the package depends on, in the locked versions, and install it alone."""
    resolving = ("pip", "compile", "--quiet", "--all-extras", "--generate-hashes", "--no-header", "--no-annotate")
    # Preferences of an earlier answer would outlive a new lock.
    requirements.unlink(missing_ok=True)
    need(UV, *resolving, "--constraints", "requirements/dev.txt", "pyproject.toml", "-o", requirements)
    need(UV, "venv", "--quiet", "--clear", environment)
    python = environment / "bin/python"
    need(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirements", requirements)


def licenses(sbom: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and license of each component of an SBOM."""
    for each in sorted(sbom["components"], key=lambda component: str(component["name"])):
        found = [
            given.get("expression") or given["license"].get("id") or given["license"].get("name") or UNKNOWN
            for given in each.get("licenses", ())
        ]
        # Some packages put the whole text where the name belongs.
        names = sorted({name.strip().splitlines()[0].rpartition(" :: ")[2][:80] for name in found if name.strip()})
        yield each["name"], each.get("version", ""), "; ".join(names) or UNKNOWN


def main(*options: str) -> int:
    """Write the files and return pip-audit's exit code: 1 if something is vulnerable, or could not be looked up.

    :param options: more options of pip-audit, such as another source of what is known.
    """
    OUT.mkdir(exist_ok=True)
    requirements, environment, sbom = OUT / "requirements.txt", OUT / "environment", OUT / "sbom.cdx.json"
    install(requirements, environment)
    os.environ["SOURCE_DATE_EPOCH"] = os.environ.get("SOURCE_DATE_EPOCH", "0")
    described = ("--pyproject", "pyproject.toml", "--output-reproducible", "--output-format", "JSON")
    need(TOOLS / "cyclonedx-py", "environment", *described, "--output-file", sbom, environment / "bin/python")
    rows = list(licenses(json.loads(sbom.read_text(encoding="utf-8"))))
    with (OUT / "licenses.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "version", "license"), *rows])
    unknown = [name for name, _, license_ in rows if license_ == UNKNOWN]
    print(
        f"{len(rows)} packages; the license of {len(unknown)} is unknown{': ' if unknown else ''}{', '.join(unknown)}"
    )
    # Without --strict, what the index does not know would pass for sound.
    asking = ("--strict", "--require-hashes", "--disable-pip", "--requirement", requirements, *options)
    code = run(TOOLS / "pip-audit", *asking, "--format", "json", "--output", OUT / "audit.json")
    print(f"Written to {OUT.relative_to(ROOT)}/: " + ", ".join(sorted(each.name for each in OUT.glob("*.*"))))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
