"""Runs the scenarios, or the tests, on each interpreter that is here: `make compare-pythons`, `make test-pythons`.

    python tests/pythons.py compare DIRECTORY [SECONDS]    the traces of all scenarios, up to so much virtual time
    python tests/pythons.py test DIRECTORY [ARGUMENTS]     pytest on each but the one that runs this
    python tests/pythons.py newest DIRECTORY [ARGUMENTS]   pytest on the newest of these

Interpreters are those in PATH and those of pyenv. DIRECTORY holds a virtual environment for each, made where it is
missing or older than pyproject.toml. Only the standard library is imported here: any of them can run this file.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
OWN = f"3.{sys.version_info.minor}"
"""The version that runs this."""
EXTRAS = "all,test"
JOBS = 2
"""So many interpreters are installed or run scenarios at once."""

TRACES = """
import logging, sys
from pathlib import Path
from rube.sim.scenario import Simulation, load

logging.disable()
end_ns = int(float(sys.argv[1]) * 1e9)
for path in sorted(Path("scenarios").glob("*.yaml")):
    with Simulation(load(str(path))) as simulation:
        print(path.stem, simulation.run(lambda now_ns: not end_ns or now_ns < end_ns).trace_sha256, flush=True)
"""
"""Prints a scenario's name and the hash of its trace, one a line. 0 seconds: to its end."""


def interpreters() -> dict[str, Path]:
    """The first interpreter that runs, by its version."""
    found = {}
    for version in VERSIONS:
        candidates: list[str | Path] = [
            f"python{version}",
            *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")),
        ]
        for candidate in candidates:
            if _says(candidate, "import sys; print('%d.%d' % sys.version_info[:2])") == version:
                found[version] = Path(_says(candidate, "import sys; print(sys.executable)"))
                break
    return found


def _says(python: str | Path, program: str) -> str:
    """Returns what a program prints; "" if the interpreter does not run: shims stand for versions that are off."""
    try:
        return subprocess.run([python, "-c", program], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def environments(directory: Path) -> dict[str, Path]:
    """The interpreter with Rube in it, by its version."""
    found = interpreters()
    with ThreadPoolExecutor(JOBS) as pool:
        made = pool.map(lambda version: environment(version, found[version], directory), found)
        return dict(zip(found, made, strict=True))


def environment(version: str, python: Path, directory: Path) -> Path:
    """The interpreter of a virtual environment with Rube and what its tests use."""
    home = directory / version
    ready, found = home / ".ready", home / "bin" / "python"
    if not ready.exists() or ready.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        subprocess.run([python, "-m", "venv", "--clear", home], check=True)
        install = ["pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f"{ROOT}[{EXTRAS}]"]
        subprocess.run([found, "-m", *install], check=True)
        ready.touch()
    return found


def compare(directory: Path, seconds: float) -> int:
    """Runs all scenarios on each interpreter; returns 1 if a trace differs."""
    pythons = environments(directory)
    with ThreadPoolExecutor(JOBS) as pool:
        printed = dict(zip(pythons, pool.map(lambda python: _traces(python, seconds), pythons.values()), strict=True))
    first, *_ = printed
    scenarios = sorted({name for traces in printed.values() for name in traces})
    differing = [name for name in scenarios if len({traces.get(name) for traces in printed.values()}) > 1]
    for name in differing:
        print(f"{name}: " + ", ".join(f"{version} {traces.get(name)}" for version, traces in printed.items()))
    if len(printed) < 2:
        print(f"compare-pythons: only Python {first} is here, nothing is compared; pyenv install {' '.join(VERSIONS)}")
    else:
        equal = len(scenarios) - len(differing)
        print(f"compare-pythons: {equal} of {len(scenarios)} traces are equal on {', '.join(printed)}")
    return 1 if differing or not scenarios else 0


def _traces(python: Path, seconds: float) -> dict[str, str]:
    """The hashes by scenario."""
    command = [str(python), "-W", "error", "-c", TRACES, f"{seconds}"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test(directory: Path, arguments: list[str], *, newest: bool) -> int:
    """Runs the tests on each other interpreter, or on the newest, one after the other, and prints the failures last;
    returns 1 if any."""
    failures = []
    others = {version: each for version, each in environments(directory).items() if version != OWN}
    for version, python in list(others.items())[-1:] if newest else others.items():
        command = [str(python), "-m", "pytest", *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        print(f"Python {version}: {done.stdout.strip().splitlines()[-1]}", flush=True)
        if done.returncode:
            failures.append(f"Python {version}\n{done.stdout}")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "compare":
        sys.exit(compare(Path(where), float(*rest or ["0"])))
    sys.exit(test(Path(where), rest, newest=what == "newest"))
