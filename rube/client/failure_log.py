"""The log of a repeated failure: one line for each new error."""

from __future__ import annotations

import logging


class FailureLog:
    """Logs a new failure, its repetitions at debug level, and the success that ends them."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        """`what` begins every line, such as "watch of api.Node"."""
        self._log = log
        self._what = what
        self._reason = ""

    def failed(self, reason: str, *, then: str = "trying again", level: int = logging.WARNING) -> None:
        self._log.log(logging.DEBUG if reason == self._reason else level, "%s: %s; %s", self._what, reason, then)
        self._reason = reason

    def works(self) -> None:
        """Notes a success: logged after a failure."""
        if self._reason:
            self._log.info("%s: works again", self._what)
            self._reason = ""
