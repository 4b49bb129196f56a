"""The results of runs (`result`), and their text for users and for programs (`text`)."""

from __future__ import annotations

from rube.sim.report.result import Counts, Result, repeat_command
from rube.sim.report.text import render_json, render_text

__all__ = ["Counts", "Result", "render_json", "render_text", "repeat_command"]
