"""The delays between attempts of a key's action, which hold whatever else asks for a decision."""

from __future__ import annotations

import hashlib
import random  # noqa: TID251 (the type of a stream handed in)

from rube.api import Action
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.controllers.backoff import BackoffConfig, KeyedBackoff
from rube.host import Clock

ACTIONS_MAX = 16
"""So many different actions of one key are remembered as tried."""


class Attempts:
    """The actions that were tried for each key since it was at rest, and until when equal ones wait.

    An attempt often changes the thing itself (it writes a file, and fails). That is a reason to look at the thing and
    to report it, but not to try the same again at once. Another action, such as that of a newer definition, does not
    wait; neither does an action under way that is asked for again because the thing has changed.
    """

    def __init__(self, clock: Clock, config: BackoffConfig, stream: random.Random) -> None:
        self._clock = clock
        self._backoff = KeyedBackoff(config, stream)
        self._tried: dict[ObjectKey, dict[bytes, None]] = {}
        self._not_before_ns: dict[ObjectKey, int] = {}

    def early_s(self, key: ObjectKey, action: Action) -> float:
        """Returns how long this action has to wait yet; 0: it is due."""
        if _digest(action) not in self._tried.get(key, ()):
            return 0.0
        return self.left_s(key)

    def left_s(self, key: ObjectKey) -> float:
        """Returns how much of the key's delay is left; 0: none."""
        return max(0, self._not_before_ns.get(key, 0) - self._clock.monotonic_ns()) / NS_PER_S

    def begin(self, key: ObjectKey, action: Action) -> None:
        """Notes that the action is tried now. A new one begins with the shortest delay."""
        tried, digest = self._tried.setdefault(key, {}), _digest(action)
        if digest not in tried:
            self._backoff.forget(key)
            self._not_before_ns.pop(key, None)
            while len(tried) >= ACTIONS_MAX:
                del tried[next(iter(tried))]
            tried[digest] = None

    def put_off(self, key: ObjectKey, *, under_way: bool = False) -> float:
        """Returns the delay in seconds after a failed attempt, or one that has to be repeated: longer each time until
        `forget`.

        An action that is `under_way` may be repeated earlier, as soon as the thing has changed.
        """
        delay_s = self._backoff.next_s(key)
        self._not_before_ns[key] = 0 if under_way else self._clock.monotonic_ns() + round(delay_s * NS_PER_S)
        return delay_s

    def forget(self, key: ObjectKey) -> None:
        """Forgets the key, which is at rest."""
        self._backoff.forget(key)
        self._tried.pop(key, None)
        self._not_before_ns.pop(key, None)


def _digest(action: Action) -> bytes:
    return hashlib.sha256(action.action.value).digest()
