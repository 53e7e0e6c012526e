"""Runs the benchmarks, each in a process of its own so that none pays for another's memory or imports.

``run.py`` runs all of them; ``run.py client 7`` runs ``bench_client.py`` with the argument ``7``.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """Return 1 if a benchmark missed its bound or broke."""
    found = {each.stem.removeprefix("bench_"): each for each in sorted(FOLDER.glob("bench_*.py"))}
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else (None, [])
    if name is not None and name not in found:
        print(f"There is no benchmark {name!r}; there are {', '.join(found)}", file=sys.stderr)
        return 2
    failed = []
    for each in [name] if name else list(found):
        print(f"benchmark {each}", flush=True)
        if subprocess.run([sys.executable, str(found[each]), *arguments], check=False).returncode:
            failed.append(each)
        print(flush=True)
    if failed:
        print(f"missed or broken: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
