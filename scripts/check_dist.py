"""What wheel and sdist must and must not contain: a file lost in packaging is noticed only by users."""

import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "airflow_provider_drchrono"
DEVELOPERS_ONLY = f"{PACKAGE}/codegen/"
ROOT = Path(__file__).resolve().parent.parent


def package_files() -> set[str]:
    """Every source and data file of the package, as it is named inside an archive."""
    package = ROOT / PACKAGE
    return {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache", ".ruff_cache"} & set(path.parts)
    }


def wheel_faults(names: set[str], metadata: str) -> list[str]:
    """What is wrong with a wheel of these file names and this METADATA."""
    expected = {name for name in package_files() if not name.startswith(DEVELOPERS_ONLY)}
    faults = [f"{name} is missing" for name in sorted(expected - names)]
    foreign = {name for name in names if name not in expected and ".dist-info/" not in name}
    faults += [f"{name} does not belong there" for name in sorted(foreign)]
    for part in ("entry_points.txt", "licenses/LICENSE"):
        if not any(name.endswith(f".dist-info/{part}") for name in names):
            faults.append(f"{part} is missing from the metadata")
    faults += [
        f"the metadata has no line {line!r}"
        for line in ("License-Expression: Apache-2.0", "Requires-Python: >=3.11")
        if line not in metadata.splitlines()
    ]
    return faults


def sdist_faults(names: set[str]) -> list[str]:
    """What is wrong with an sdist of these file names, given without their common first folder."""
    wanted = package_files() | {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    faults = [f"{name} is missing" for name in sorted(wanted - names)]
    folders = {
        "airflow_provider_drchrono",
        "docs",
        "example_dags",
        "requirements",
        "scripts",
        "tests",
    }
    foreign = {name for name in names if "/" in name and name.split("/")[0] not in folders}
    return faults + [f"{name} does not belong there" for name in sorted(foreign)]


def main(dist: Path) -> int:
    """Print the faults of the one wheel and the one sdist in this folder; 1 if there are any."""
    (wheel_path,) = dist.glob("*.whl")
    (sdist_path,) = dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel_path) as wheel:
        names = set(wheel.namelist())
        (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(metadata_name).decode()
    faults = [f"{wheel_path.name}: {fault}" for fault in wheel_faults(names, metadata)]
    with tarfile.open(sdist_path) as sdist:
        sdist_names = {name.partition("/")[2] for name in sdist.getnames()}
    faults += [f"{sdist_path.name}: {fault}" for fault in sdist_faults(sdist_names)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{wheel_path.name}: {len(names)} files; {sdist_path.name}: {len(sdist_names)} files")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
