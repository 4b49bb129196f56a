"""What a run came to (`result`), and how it is written for people and for programs (`text`)."""

from rube.sim.report.result import NS_PER_S, Counts, Result, repeat_command
from rube.sim.report.text import render_json, render_text

__all__ = ["NS_PER_S", "Counts", "Result", "render_json", "render_text", "repeat_command"]
