"""The files that Rube ships beside its code, scenarios and examples: in a checkout they are beside the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent


@cache
def shipped_directory(name: str) -> Path:
    """The directory `scenarios` or `examples`, absolute."""
    found = next((root / name for root in (_PACKAGE, _PACKAGE.parent) if (root / name).is_dir()), None)
    assert found is not None, f"this installation lacks the directory {name}"
    return found


def shipped_scenarios() -> dict[str, Path]:
    """The scenarios' files by their names, sorted."""
    return {path.stem: path for path in sorted(shipped_directory("scenarios").glob("*.yaml"))}
