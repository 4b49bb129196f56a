"""The page of a story says hostile names as they are: they end no script and make no element."""

from __future__ import annotations

import json
import re

from rube.sim.judges import Commit, Delivery, Verdict, WatchEvent
from rube.sim.report import Counts, Result
from rube.sim.story import render_page, tell
from rube.sim.world.kernel.trace import TraceRecord
from tests.unit.sim.judge_history import S, Tale

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)><!-- {{js}} \u2028 & \"'"
COUNTS = Counts(**dict.fromkeys(Counts.__slots__, 0))


def hostile_page() -> str:
    """Every text that a run can bring into a page is the hostile one."""
    tale = Tale()
    tale.history.commits.append(Commit(S, 1))
    event = WatchEvent(tale.version(HOSTILE, 1), deleted=False)
    tale.watch(Delivery(at_ns=2 * S, events=(event,), revision=1), client=HOSTILE)
    records = [
        TraceRecord(0, "host", (HOSTILE, 0, 0)),
        TraceRecord(1, "send", (HOSTILE, HOSTILE, 1, "data", b"1", HOSTILE)),
        TraceRecord(2, "unit", (HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)),
        TraceRecord(3, "fault", ("isolate", HOSTILE)),
        TraceRecord(4, "end", (HOSTILE, HOSTILE, 1, HOSTILE)),
    ]
    result = Result(
        name=HOSTILE,
        description=HOSTILE,
        seed=7,
        tie_break=False,
        counts=COUNTS,
        events=[(1, HOSTILE)],
        verdicts=[Verdict(check=HOSTILE, passed=False, text=HOSTILE, offending=[HOSTILE])],
        latencies=[],
        virtual_ns=3 * S,
        trace_sha256="00",
    )
    return render_page(tell(result, tale.history, records, HOSTILE))


def test_hostile_texts_end_no_script_and_open_no_element() -> None:
    page = hostile_page()
    assert page.count("</script>") == page.count("<script") == 2, "the data and the program"
    assert "<img" not in page
    assert "<!--" not in page
    assert "\u2028" not in page.partition('id="data">')[2].partition("</script>")[0]


def test_hostile_texts_are_told_as_they_are() -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', hostile_page(), re.DOTALL)
    assert found
    values = json.loads(found.group(1))
    assert values["name"] == values["checks"][0]["text"] == values["pins"][0][3] == values["hosts"][0] == HOSTILE
    assert values["latency"]["slowest"][0][1] == HOSTILE
    assert any(HOSTILE in text for text in values["texts"])
