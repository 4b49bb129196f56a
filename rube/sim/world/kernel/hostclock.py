"""The arithmetic of one host's clock: integers only, so that no timer ever fires before its clock has reached it."""

from __future__ import annotations

from rube.api.times import NS_PER_S

PPM = 1_000_000
DRIFT_PPM_MAX = 500_000
"""A clock runs between half and one and a half times true time; anything beyond is a typing error."""

TRUE_NS_MAX = 2**62
"""The last instant of a world, about 146 years: later timers (`math.inf` too) wait there."""


def seconds_to_ns(seconds: float) -> int:
    """Returns the smallest whole number of nanoseconds that reads, as a float of seconds, as `seconds` or more."""
    scaled = seconds * 1e9
    if not -TRUE_NS_MAX < scaled < TRUE_NS_MAX:
        if scaled != scaled:
            raise ValueError("a delay of NaN seconds: pass a number")
        return TRUE_NS_MAX if scaled > 0 else -TRUE_NS_MAX
    nanoseconds = round(scaled)
    while nanoseconds / NS_PER_S < seconds:
        nanoseconds += 1
    return nanoseconds


class HostClock:
    """A monotonic and a wall clock that drift together against true time.

    `rate` is parts per million of true time: 1_000_000 is exact. The monotonic clock reads
    `mono_base + (true - true_base) * rate // 1_000_000`; the wall clock adds `wall_offset`.
    """

    __slots__ = ("mono_base", "rate", "true_base", "wall_offset")

    def __init__(self, true_ns: int, mono_ns: int, wall_ns: int, drift_ppm: int) -> None:
        self.true_base = true_ns
        self.mono_base = mono_ns
        self.rate = _rate(drift_ppm)
        self.wall_offset = wall_ns - mono_ns

    def monotonic_ns(self, true_ns: int) -> int:
        """Returns the monotonic clock's reading at the true instant `true_ns`."""
        return self.mono_base + (true_ns - self.true_base) * self.rate // PPM

    def wall_ns(self, true_ns: int) -> int:
        """Returns the wall clock's reading, in nanoseconds since 1970, at `true_ns`."""
        return self.monotonic_ns(true_ns) + self.wall_offset

    def true_ns(self, mono_ns: int) -> int:
        """Returns the first true instant at which the monotonic clock reads `mono_ns` or more."""
        return self.true_base - (self.mono_base - mono_ns) * PPM // self.rate

    def set_drift(self, true_ns: int, drift_ppm: int) -> None:
        """Runs at another rate from `true_ns` on; the reading itself does not jump."""
        rate = _rate(drift_ppm)
        self.mono_base = self.monotonic_ns(true_ns)
        self.true_base = true_ns
        self.rate = rate

    def step_wall(self, delta_ns: int) -> None:
        """Moves the wall clock, as settimeofday or a stepping NTP client does. The monotonic clock stays."""
        self.wall_offset += delta_ns

    def step_monotonic(self, delta_ns: int) -> None:
        """Moves both clocks forward, as a virtual machine resumed from a snapshot may see it."""
        if delta_ns < 0:
            raise ValueError(f"a monotonic clock cannot step back by {-delta_ns} ns: step the wall clock instead")
        self.mono_base += delta_ns

    def reboot(self, true_ns: int) -> None:
        """Restart the monotonic clock at zero; the wall clock (a battery keeps it) goes on."""
        self.wall_offset = self.wall_ns(true_ns)
        self.mono_base = 0
        self.true_base = true_ns


def _rate(drift_ppm: int) -> int:
    if abs(drift_ppm) > DRIFT_PPM_MAX:
        raise ValueError(f"drift of {drift_ppm} ppm: the kernel models at most {DRIFT_PPM_MAX} ppm either way")
    return PPM + drift_ppm
