"""The pytest plugin: the fixture `cluster`, the option --rube-seeds, and the report of a simulated test that failed."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rube.testing.simulating import MARK, Setup, awaits

if TYPE_CHECKING:
    from rube.testing.async_cluster import AsyncCluster
    from rube.testing.cluster import Cluster
    from rube.testing.world import TestWorld

_WORLD = pytest.StashKey["TestWorld"]()
_SEED = "rube_seed"
_FIXTURE = "cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("rube", "simulated clusters").addoption(
        "--rube-seeds",
        metavar="SEEDS",
        help="run each simulated test under these seeds, in the place of its own: 7, or 1..100",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARK}: a test against a simulated cluster: use rube.testing.simulate")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _SEED not in metafunc.fixturenames:
        return
    given = metafunc.config.getoption("rube_seeds")
    seeds = _seeds(given) if given else _setup(metafunc.definition).seeds
    metafunc.parametrize(_SEED, seeds, ids=[f"seed={seed}" for seed in seeds])


@pytest.fixture
def rube_seed() -> int:
    """The seed of the simulated cluster."""
    return 1


@pytest.fixture
def cluster(request: pytest.FixtureRequest, rube_seed: int) -> Iterator[Cluster | AsyncCluster]:
    """A simulated cluster: see rube.testing.simulate, which configures it."""
    from rube.testing.world import TestWorld

    setup, item = _setup(request.node), request.node
    log = logging.getLogger("rube")
    level = log.level
    log.setLevel(logging.CRITICAL)
    world = item.stash[_WORLD] = TestWorld(setup, rube_seed, Path(item.path).parent)
    try:
        yield _face(world, request.function)
        if (setup.judges or setup.claims) and not item.stash.get(_FAILED, False):
            _judge(world)
    finally:
        world.close()
        log.setLevel(level)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report: pytest.TestReport = yield
    if report.failed and (world := item.stash.get(_WORLD, None)) is not None:
        item.stash[_FAILED] = True
        report.sections.append(("simulated cluster", _told(item, world)))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine function that was given a cluster without `simulate`."""
    given = pyfuncitem.funcargs.get(_FIXTURE)
    if given is None or not hasattr(given, "run_test") or hasattr(pyfuncitem.obj, "rube_awaits"):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    given.run_test(lambda: pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def _face(world: TestWorld, function: Any) -> Cluster | AsyncCluster:
    from rube.testing.async_cluster import AsyncCluster
    from rube.testing.cluster import Cluster

    return AsyncCluster(world) if awaits(function) else Cluster(world)


def _setup(node: Any) -> Setup:
    mark = node.get_closest_marker(MARK)
    return Setup(**mark.kwargs) if mark else Setup()


def _judge(world: TestWorld) -> None:
    from rube.testing.world import violated

    __tracebackhide__ = True
    world.settle()
    if wrong := list(violated(world.verdicts())):
        pytest.fail("what happened in the cluster breaks its promises:\n" + "\n".join(wrong), pytrace=False)


def _told(item: pytest.Item, world: TestWorld) -> str:
    seeds = f" --rube-seeds {world.seed}" if item.config.getoption("rube_seeds") else ""
    command = f"python -m pytest {shlex.quote(item.nodeid)}{seeds}"
    at_s, sha256 = world.world.now_ns / 1e9, world.world.trace.digest()
    where = f"seed {world.seed}, at {at_s:.3f}s of virtual time; trace sha256 {sha256}"
    return f"{world.diary.text()}\n{where}\nrepeat: {command}"


def _seeds(text: str) -> list[int]:
    first, dots, last = text.partition("..")
    try:
        found = list(range(int(first), int(last if dots else first) + 1))
    except ValueError:
        found = []
    if not found:
        raise pytest.UsageError(f"--rube-seeds {text!r}: write a seed, such as 7, or a range, such as 1..100")
    return found
