"""`rube sim --seeds`: one scenario under many seeds, in processes beside each other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading  # noqa: TID251 (a worker watches its parent beside its work)
import time  # noqa: TID251 (how long the sweep took on this machine; nothing simulated sees it)
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from rube.cli.progress import ProgressBar
from rube.console import EXIT_INTERRUPTED
from rube.sim.judges import many
from rube.sim.scenario.load import LoadedScenario
from rube.sim.search.compare import Comparison, comparison_lines, render_comparison_json
from rube.sim.search.sweep import SeedRun, Sweep, failed_lines, render_sweep_json, run_seed, summary_lines

SEEDS_AHEAD = 4
"""So many a process are handed out ahead: seeds take different times, and are reported in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """The options of runs and their report."""

    seeds: range
    jobs: int
    """Runs at a time; 0: one a processor."""
    tie_break: bool
    as_json: bool


def sweep(loaded: LoadedScenario, options: SweepOptions) -> int:
    """Runs all seeds and reports; returns the exit code."""
    start_s = time.perf_counter()
    found, code = _sweep(loaded, options)
    wall_s = max(time.perf_counter() - start_s, 1e-6)
    click.echo(render_sweep_json(found, wall_s) if options.as_json else "\n".join(summary_lines(found, wall_s)))
    return code or (0 if found.passed else 1)


def compare(loaded: LoadedScenario, other: LoadedScenario, names: tuple[str, str], options: SweepOptions) -> int:
    """Runs all seeds under both and reports the two side by side; returns the exit code."""
    start_s = time.perf_counter()
    first, code = _sweep(loaded, options)
    second, code = (first, code) if code else _sweep(other, options)
    if code:
        click.echo("rube sim: stopped, so there is nothing to compare", err=True)
        return code
    found = Comparison(names=names, sweeps=(first, second))
    wall_s = max(time.perf_counter() - start_s, 1e-6)
    if options.as_json:
        click.echo(render_comparison_json(found, wall_s))
    else:
        click.echo("\n".join([f"medians over {many(len(options.seeds), 'seed')}:", *comparison_lines(found)]))
    return 0 if found.passed else 1


def _sweep(loaded: LoadedScenario, options: SweepOptions) -> tuple[Sweep, int]:
    """The runs, those that fail shown at once, and the exit code of a sweep that did not come to its end, or 0."""
    seeds, tie_break = options.seeds, options.tie_break
    jobs = min(options.jobs or len(os.sched_getaffinity(0)), len(seeds))
    runs: list[SeedRun] = []
    code = 0
    with ProgressBar(f"rube sim {loaded.scenario.name}", "seeds") as bar:
        say = (lambda line: None) if options.as_json else bar.say
        with_settings = "".join(f", {setting}" for setting in loaded.settings)
        first = f"{many(len(seeds), 'seed')}, from {seeds.start} on, {jobs} at once"
        say(f"{loaded.scenario.name}{with_settings}: {first}")
        try:
            for run in _runs(loaded, seeds, jobs, tie_break) if jobs > 1 else _runs_here(loaded, seeds, tie_break):
                runs.append(run)
                for line in () if run.passed else failed_lines(run, loaded.arguments, tie_break=tie_break):
                    say(line)
                bar.update(len(runs), len(seeds))
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        except BrokenProcessPool:
            click.echo("rube sim: a process of the sweep was killed: is there too little memory for --jobs?", err=True)
            code = 2
        except _NoProcessesError as error:
            click.echo(f"rube sim: {error}; --jobs 1 does without", err=True)
            code = 2
    found = Sweep(
        name=loaded.scenario.name,
        file=loaded.file,
        arguments=loaded.arguments,
        tie_break=tie_break,
        runs=runs,
        seeds=len(seeds),
    )
    return found, code


@contextmanager
def user_modules(file: str) -> Iterator[None]:
    """Controllers of the user's own are found beside the scenario, and in the current directory."""
    before = list(sys.path)
    sys.path += [str(Path(file).parent), ""]
    try:
        yield
    finally:
        sys.path[:] = before


class _NoProcessesError(Exception):
    """This machine lets no processes share a queue."""


def _runs_here(loaded: LoadedScenario, seeds: range, tie_break: bool) -> Iterator[SeedRun]:
    """One after the other in this process, which needs nothing of the machine."""
    with _silent():
        for seed in seeds:
            yield run_seed(loaded, seed, tie_break=tie_break)


def _runs(loaded: LoadedScenario, seeds: range, jobs: int, tie_break: bool) -> Iterator[SeedRun]:
    """Yields the runs in the order of the seeds. Processes that are spawned, not forked, share nothing with this
    one."""
    context = multiprocessing.get_context("spawn")
    try:
        pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(loaded, tie_break))
    except (OSError, ImportError, NotImplementedError) as error:  # multiprocessing needs semaphores
        raise _NoProcessesError(f"processes beside each other need a /dev/shm that can be written: {error}") from error
    waiting: deque[Future[SeedRun]] = deque()
    try:
        for seed in seeds:
            with _sigint_held():
                waiting.append(pool.submit(_run, seed))
            if len(waiting) > SEEDS_AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _sigint_held() -> Iterator[None]:
    """Holds a Ctrl-C back until the block has ended; a process that is spawned in it, until it has begun."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silent() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


# A worker's: set once.
_scenario: LoadedScenario
_tie_break = False


def _begin(scenario: LoadedScenario, tie_break: bool) -> None:
    global _scenario, _tie_break
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # forgets one that was held back: the parent has got it, too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable()
    _scenario, _tie_break = scenario, tie_break


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed, which would otherwise wait for work forever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _run(seed: int) -> SeedRun:
    with user_modules(_scenario.file):
        return run_seed(_scenario, seed, tie_break=_tie_break)
