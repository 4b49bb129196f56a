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
from pathlib import Path

import click

from rube.cli.progress import ProgressBar
from rube.sim.checkers import many
from rube.sim.scenario.load import LoadedScenario
from rube.sim.sweep import SeedRun, Sweep, failed_lines, render_sweep_json, run_seed, summary_lines

EXIT_INTERRUPTED = 130
SEEDS_AHEAD = 4
"""So many a process are handed out ahead: seeds take different times, and are told in their order."""


def sweep(loaded: LoadedScenario, seeds: range, *, jobs: int, tie_break: bool, as_json: bool) -> int:
    """Runs them all, `jobs` at once (0: one a processor), and reports; gives the exit code."""
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(seeds))
    runs: list[SeedRun] = []
    start_s = time.perf_counter()
    code = 0
    with ProgressBar(f"rube sim {loaded.scenario.name}", "seeds") as bar:
        say = (lambda line: None) if as_json else bar.say
        say(f"{loaded.scenario.name}: {many(len(seeds), 'seed')}, from {seeds.start} on, {jobs} at once")
        try:
            for run in _runs(loaded, seeds, jobs, tie_break):
                runs.append(run)
                for line in () if run.passed else failed_lines(run, loaded.file, tie_break=tie_break):
                    say(line)
                bar.update(len(runs), len(seeds))
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        except BrokenProcessPool:
            click.echo("rube sim: a process of the sweep was killed: is there too little memory for --jobs?", err=True)
            code = 2
    found = Sweep(name=loaded.scenario.name, file=loaded.file, tie_break=tie_break, runs=runs, seeds=len(seeds))
    wall_s = max(time.perf_counter() - start_s, 1e-6)
    click.echo(render_sweep_json(found, wall_s) if as_json else "\n".join(summary_lines(found, wall_s)))
    return code or (0 if found.passed else 1)


@contextmanager
def user_modules(file: str) -> Iterator[None]:
    """Controllers of the user's own are found beside the scenario, and in the current directory."""
    before = list(sys.path)
    sys.path += [str(Path(file).parent), ""]
    try:
        yield
    finally:
        sys.path[:] = before


def _runs(loaded: LoadedScenario, seeds: range, jobs: int, tie_break: bool) -> Iterator[SeedRun]:
    """In the order of the seeds. Processes that are spawned, not forked, share nothing with this one."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(loaded, tie_break))
    waiting: deque[Future[SeedRun]] = deque()
    try:
        for seed in seeds:
            with _uninterrupted():
                waiting.append(pool.submit(_run, seed))
            if len(waiting) > SEEDS_AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that is spawned in this block knows nothing of Ctrl-C until it has begun."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# A worker's: set once.
_scenario: LoadedScenario
_tie_break = False


def _begin(scenario: LoadedScenario, tie_break: bool) -> None:
    global _scenario, _tie_break
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable()
    _scenario, _tie_break = scenario, tie_break


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _run(seed: int) -> SeedRun:
    with user_modules(_scenario.file):
        return run_seed(_scenario, seed, tie_break=_tie_break)
