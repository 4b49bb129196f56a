"""The ground that every test stands on, however the tests were started and in whatever order they run."""

from __future__ import annotations

import inspect
import logging
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# A shell without job control lets its background commands ignore Ctrl-C, and so would every process of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for an example: on a machine that is busy, time is no sign of a fault. In CI every run has the same
# examples, and a failure prints the blob that reproduces it.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

_LOGGERS = (logging.root, logging.getLogger("rube"))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that quiets the log does so for itself alone."""
    levels, disabled = [logger.level for logger in _LOGGERS], logging.root.manager.disable
    yield
    for logger, level in zip(_LOGGERS, levels, strict=True):
        logger.setLevel(level)
    logging.disable(disabled)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test on its site, whose `run` may give the body arguments that exist on its loop alone."""
    sites: list[Any] = [pyfuncitem.funcargs[name] for name in ("site", "engine_site") if name in pyfuncitem.funcargs]
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or not sites:
        return None
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    sites[0].run(lambda **given: pyfuncitem.obj(**{**arguments, **given}))
    return True
