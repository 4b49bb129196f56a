"""`simulate`, which makes tests against a simulated cluster."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from rube.sim.judges.claims import Claim
    from rube.testing.world import Part

MARK = "simulate"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The cluster of a test."""

    seeds: Sequence[int] = (1,)
    nodes: int | Sequence[str] = 3
    apiservers: int = 1
    """More than one replicate their store."""
    controllers: Sequence[Part] = ()
    types: Sequence[Any] = ()
    scenario: str = ""
    tie_break: bool = False
    judges: bool = True
    claims: Sequence[Claim] = ()


def simulate(
    *,
    seeds: int | Iterable[int] = 1,
    scenario: str = "",
    nodes: int | Sequence[str] = 3,
    apiservers: int = 1,
    controllers: Sequence[Part] = (),
    types: Sequence[Any] = (),
    tie_break: bool = False,
    judges: bool = True,
    claims: Sequence[Claim] = (),
) -> Callable[[F], F]:
    """Runs a test against a simulated cluster, once for each seed: its argument `cluster` is a `Cluster`, or in a
    coroutine function an `AsyncCluster`.

    - `seeds`: a number of them, from 1 on, or the seeds themselves.
    - `scenario`: a file, relative to the test's: its cluster, in the place of `nodes` and `apiservers`, and its steps
      and faults, which happen at their times while the test lets time pass.
    - `controllers`: a user's own, each a class, a function that makes one, or `package.module:Name`.
    - `types`: a user's own, which are pushed at the start, each a generated module or an `api.Type` object. Those that
      a controller brings need not be named.
    - `tie_break`: the seed also orders the tasks that are ready at one instant.
    - `judges`: after a test that passed, all faults are healed, and the checks that `rube sim` makes of every scenario
      judge all that happened.
    - `claims`: a user's own, which are judged then, too: `always`, `never`, `eventually`.
    """
    chosen = range(1, seeds + 1) if isinstance(seeds, int) else seeds
    setup = Setup(
        seeds=tuple(chosen),
        nodes=nodes,
        apiservers=apiservers,
        controllers=tuple(controllers),
        types=tuple(types),
        scenario=scenario,
        tie_break=tie_break,
        judges=judges,
        claims=tuple(claims),
    )
    if not setup.seeds:
        raise ValueError("simulate: no seeds: leave `seeds` out, or name at least one")
    mark = pytest.mark.simulate(**{field.name: getattr(setup, field.name) for field in fields(setup)})
    return lambda function: mark(_synchronous(function))


def _synchronous(function: F) -> F:
    """Returns a plain function for a coroutine function, so that no other plugin runs it on a loop of its own."""
    if not inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> None:
        clusters = [value for value in given.values() if hasattr(value, "run_test")]
        if not clusters:
            raise TypeError(f"{function.__qualname__} is simulated and has no argument `cluster`: add it")
        clusters[0].run_test(lambda: function(*args, **given))

    run.rube_awaits = True  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]


def awaits(function: Callable[..., Any]) -> bool:
    """Returns whether a test function is a coroutine function, also once it was decorated."""
    return inspect.iscoroutinefunction(function) or hasattr(function, "rube_awaits")
