"""Checks that the search of the documentation finds what people look for first. Run it after ``mkdocs build``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

WANTED = ("quickstart", "slack", "download", "duplicate", "hook", "hipaa", "quota", "duckdb")


def main() -> int:
    """Return 1, and name them, if the index of the site lacks words."""
    index = json.loads(Path("site/search/search_index.json").read_text())
    text = " ".join(f"{page['title']} {page['text']}" for page in index["docs"]).lower()
    missing = [word for word in WANTED if word not in text]
    if missing:
        print(f"The search of the site finds nothing for: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
