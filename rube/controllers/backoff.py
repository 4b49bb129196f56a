"""Backoff with one counter a key."""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream handed in)
from dataclasses import dataclass

from rube.api.keys import ObjectKey
from rube.host.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffConfig:
    """Delays double from `delay_s_min` to `delay_s_max`; each is then drawn from its upper half."""

    delay_s_min: float = 0.1
    delay_s_max: float = 30.0


class KeyedBackoff:
    """The delay of each key before its next attempt. Keys that succeed are forgotten."""

    def __init__(self, config: BackoffConfig, stream: random.Random) -> None:
        self._config = config
        self._stream = stream
        self._keys: dict[ObjectKey, Backoff] = {}

    def next_s(self, key: ObjectKey) -> float:
        if key not in self._keys:
            config = self._config
            self._keys[key] = Backoff(self._stream, initial_s=config.delay_s_min, max_s=config.delay_s_max)
        return self._keys[key].next_s()

    def forget(self, key: ObjectKey) -> None:
        self._keys.pop(key, None)
