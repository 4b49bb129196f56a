"""Prints coverage.py's JSON report as a table, a package a row: what `make coverage` shows."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path, PurePath


def rows(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> list[tuple[str, int, float]]:
    """Returns each package with its statements and the percentage of its lines and branches that ran."""
    covered: dict[str, int] = defaultdict(int)
    there: dict[str, int] = defaultdict(int)
    statements: dict[str, int] = defaultdict(int)
    for name, file in report["files"].items():
        if "_pb2" in name:
            continue
        summary, parts = file["summary"], PurePath(name).parts
        package = ".".join(parts[: 2 if parts[0] == "rube" and len(parts) > 2 else 1])
        for key in (package, "all"):
            statements[key] += summary["num_statements"]
            covered[key] += summary["covered_lines"] + summary["covered_branches"]
            there[key] += summary["num_statements"] + summary["num_branches"]
    return [(key, statements[key], 100 * covered[key] / (there[key] or 1)) for key in sorted(there, key=_last_is_all)]


def _last_is_all(package: str) -> tuple[bool, str]:
    return package == "all", package


if __name__ == "__main__":
    print("| package | statements | lines and branches |\n| --- | ---: | ---: |")
    for package, count, percent in rows(json.loads(Path(sys.argv[1]).read_text())):
        print(f"| `{package}` | {count:,} | {percent:.0f}% |")
