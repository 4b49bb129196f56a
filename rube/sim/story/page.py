"""The page of a story: one HTML file that needs no network. Its program is `page.js`, its looks are `page.css`."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from itertools import pairwise
from typing import Any

from rube.sim.story.latency import latency_values
from rube.sim.story.story import Story


def render_page(story: Story) -> str:
    """The page, whole: styles, program and data are in it."""
    here = files("rube.sim.story")
    parts = {
        "{{title}}": html.escape(f"{story.result.name}, seed {story.result.seed}"),
        "{{css}}": here.joinpath("page.css").read_text(encoding="utf-8"),
        "{{js}}": here.joinpath("page.js").read_text(encoding="utf-8"),
        "{{data}}": _script_safe(json.dumps(_values(story), ensure_ascii=False, separators=(",", ":"))),
    }
    page = here.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{\w+\}\}", lambda found: parts[found[0]], page)  # once: a name in a title is no place


def _script_safe(text: str) -> str:
    """JSON that ends no `<script>` and opens no comment in one."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _values(story: Story) -> dict[str, Any]:
    """The data of the page. Events are columns; a text is kept once."""
    told, result = story.told, story.result
    hosts = {name: place for place, name in enumerate(told.hosts)}
    kinds = {kind: place for place, kind in enumerate(sorted({event.kind for event in told.events}))}
    texts: dict[str, int] = {}
    times = [event.at_ns for event in told.events]
    return {
        "name": result.name,
        "description": " ".join(result.description.split()),
        "seed": result.seed,
        "repeat": story.repeat,
        "sha256": result.trace_sha256,
        "end": result.virtual_ns,
        "passed": result.passed,
        "hosts": told.hosts,
        "kinds": list(kinds),
        "t": [times[0], *(after - before for before, after in pairwise(times))] if times else [],
        "h": [hosts.get(event.host, -1) for event in told.events],
        "k": [kinds[event.kind] for event in told.events],
        "s": [texts.setdefault(event.text, len(texts)) for event in told.events],
        "o": [event.other for event in told.events],
        "texts": list(texts),
        "bands": [[hosts[band.host], band.start_ns, band.end_ns, band.text] for band in story.bands],
        "units": [
            [hosts[span.host], span.unit, span.start_ns, span.end_ns, span.state]
            for span in story.units
            if span.host in hosts
        ],
        "reigns": [[one.group, one.at_ns, hosts.get(one.host, -1), one.term] for one in story.reigns],
        "commits": [list(commit) for commit in story.commits],
        "steps": [list(event) for event in result.events],
        "checks": [
            {
                "check": verdict.check,
                "state": "passed" if verdict.passed and verdict.judged else "open" if verdict.passed else "violated",
                "text": verdict.text,
                "offending": list(verdict.offending),
            }
            for verdict in result.verdicts
        ],
        "pins": [[pin.at_ns, hosts.get(pin.host, -1), pin.check, pin.text, list(pin.objects)] for pin in story.pins],
        "latency": latency_values(story.arrivals, told.hosts),
    }
