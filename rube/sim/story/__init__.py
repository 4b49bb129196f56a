"""The story of a run: what happened on which host, which event led to which, as a page, a Perfetto trace, a timeline.

Pure functions of a run's records (`rube.sim.world`), its history (`rube.sim.judges`) and result (`rube.sim.report`).
`narrator` alone is asked during the run, and changes nothing in it.
"""

from __future__ import annotations

from rube.sim.story.latency import latency_csv, latency_json
from rube.sim.story.page import render_page
from rube.sim.story.perfetto import render_perfetto
from rube.sim.story.story import Story, tell

__all__ = ["Story", "latency_csv", "latency_json", "render_page", "render_perfetto", "tell"]
