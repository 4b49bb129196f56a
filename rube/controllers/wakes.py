"""The pause that every decision takes before the next one that it asks for itself."""

from __future__ import annotations

import logging

from rube.api.keys import ObjectKey

_LOG = logging.getLogger("rube.controllers")
SHORT_WAKES_TOLD = 50
"""So many wake-ups in a row that are too short for one key are a mistake of the controller's, and said once."""


class Wakes:
    """The lengths of `wake_after`: at least `wake_s_min`, so that no controller spins."""

    def __init__(self, controller: str, wake_s_min: float) -> None:
        self._controller = controller
        self._wake_s_min = wake_s_min
        self._short: dict[ObjectKey, int] = {}
        self._told = False

    def delay_s(self, key: ObjectKey, asked_s: float) -> float:
        """Returns the delay in seconds for the one that a decision has asked for."""
        if asked_s >= self._wake_s_min:
            self._short.pop(key, None)
            return asked_s
        count = self._short[key] = self._short.get(key, 0) + 1
        if count >= SHORT_WAKES_TOLD and not self._told:
            self._told = True
            _LOG.warning(
                "controller %s asks again and again to decide %s after %g s: it is woken after %g s (wake_s_min); "
                "let it wake later, or only by changes",
                self._controller,
                key,
                asked_s,
                self._wake_s_min,
            )
        return self._wake_s_min
