"""``python -m airflow_provider_drchrono.codegen [--check]``: write the generated files, or only compare them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_drchrono.codegen.output import generate, problems, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator and return the exit status: 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_drchrono.codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; fail when a file is not current")
    output = generate()
    if parser.parse_args(arguments).check:
        found = problems(output)
        print("\n".join(found) or f"{len(output.files)} generated files are current")
        return 1 if found else 0
    touched = write(output)
    print(f"{len(output.files)} files, {len(touched)} of them changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
