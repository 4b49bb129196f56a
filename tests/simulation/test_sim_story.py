"""`rube sim --html` and `--perfetto`: the page in a browser, the trace by its format; neither changes the run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.sim_calls import sim

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHOUT_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const said = {detail: document.getElementById("detail").textContent, drawn: document.documentElement.dataset.drawn};
  const list = () => parseInt(document.getElementById("count").textContent.replaceAll(",", ""));
  said.all = list();
  document.getElementById("only").click(); said.past = list(); document.getElementById("only").click();
  const search = document.getElementById("search"), host = document.querySelector("#hosts button");
  const find = query => { search.value = query; search.dispatchEvent(new Event("input", {bubbles: true})); };
  find("Unit/default/web-1"); said.found = list(); find("");
  host.click(); said.without = list(); host.click();
  press("j"); said.next = document.getElementById("detail").textContent;
  press("0"); press("+");
  said.latency = document.querySelector("#latency summary").textContent;
  said.curves = document.querySelectorAll("#latency svg path[class]").length;
  const slow = document.querySelector("#latency a"); said.slow = slow.textContent; slow.click();
  said.there = document.getElementById("detail").textContent;
  setTimeout(() => {
    said.hash = location.hash; said.paint_ms = document.documentElement.dataset.paintMs;
    said.error = document.documentElement.dataset.error || "";
    document.title = "said " + JSON.stringify(said);
  }, 400);
}, 100));
</script>"""


def look(page: str, path: Path, fragment: str = "") -> dict[str, str | int]:
    """Opens the page in a browser without a network, uses it, and returns what it then shows."""
    path.write_text(page + PROBE, encoding="utf-8")
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", WITHOUT_NETWORK, f"--user-data-dir={path.parent}/profile"]
    command = [CHROMIUM, *flags, "--virtual-time-budget=5000", "--dump-dom", f"file://{path}{fragment}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r"<title>said (\{.*?\})</title>", shown)
    assert found, shown[:2000]
    values: dict[str, str | int] = json.loads(found.group(1).replace("&amp;", "&").replace("&gt;", ">"))
    return values


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The page and the Perfetto trace of a run that fails, and its report."""
    folder = tmp_path_factory.mktemp("story")
    page, trace = folder / "run.html", folder / "run.json"
    result = sim("examples/05-chaos/too-much.yaml", "--seed", 3, "--html", page, "--perfetto", trace)
    assert result.exit_code == 1, result.output
    return page, trace, result.stdout


def test_a_page_changes_nothing_in_the_run(told: tuple[Path, Path, str], tmp_path: Path) -> None:
    plain = sim("examples/05-chaos/too-much.yaml", "--seed", 3).stdout
    rows = sim("examples/05-chaos/too-much.yaml", "--seed", 3, "--latency", tmp_path / "rows.csv").stdout
    assert re.findall("trace sha256: .*", plain) == re.findall("trace sha256: .*", told[2])
    assert re.findall("trace sha256: .*", plain) == re.findall("trace sha256: .*", rows)
    assert (tmp_path / "rows.csv").read_text().startswith("watcher,watch,key,revision,committed_ns,")


def test_a_page_is_one_small_file_that_asks_for_no_other(tmp_path: Path) -> None:
    sim("scenarios/partition.yaml", "--html", tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    assert len(page.encode()) < 2_000_000
    assert not re.findall(r"(?:src|href)=|url\(|@import|fetch\(", page)


@pytest.mark.skipif(CHROMIUM is None, reason="looks at pages: apt-get install chromium")
def test_a_browser_shows_the_pin_and_what_led_to_it(told: tuple[Path, Path, str], tmp_path: Path) -> None:
    said = look(told[0].read_text(), tmp_path / "page.html")
    assert said["error"] == ""
    assert str(said["detail"]).startswith("18.084863066s  worker-1"), "the last event before the violation, on its host"
    assert 0 < int(said["past"]) < int(said["all"]) // 2, "the causal past is only what could have led there"
    assert 0 < int(said["found"]) < int(said["all"]) // 4
    assert int(said["without"]) < int(said["all"])
    assert said["next"] != said["detail"]
    assert "t=" in str(said["hash"])
    assert int(said["drawn"]) > 0
    assert str(said["latency"]).startswith("Watch latency: half within ")
    assert said["curves"] == 3, "before, during and after faults"
    at, watcher = str(said["slow"]).split()
    assert str(said["there"]).startswith(f"{at[:-1]}"), "the moment at which the slowest change arrived"
    assert f" {watcher} " in str(said["there"])


@pytest.mark.skipif(CHROMIUM is None, reason="looks at pages: apt-get install chromium")
def test_twenty_thousand_events_are_drawn_at_once(tmp_path: Path) -> None:
    assert sim("scenarios/raft-partition.yaml", "--html", tmp_path / "run.html").exit_code == 0
    link = "#t=13&host=api-3&span=4"
    said = look((tmp_path / "run.html").read_text(), tmp_path / "page.html", link)
    assert said["error"] == ""
    assert int(said["all"]) > 15_000
    assert "api-3" in str(said["detail"]), "the link's moment on the link's host"
    assert 0 < int(said["drawn"]) < 15_000, "what is not in view is not drawn"
    assert float(said["paint_ms"]) < 1_000


def test_a_perfetto_trace_has_what_its_format_asks_for(told: tuple[Path, Path, str]) -> None:
    values = json.loads(told[1].read_text())
    events = values["traceEvents"]
    wanted = {"M": {"args"}, "X": {"ts", "dur"}, "i": {"ts", "s"}, "C": {"ts", "args"}, "s": {"ts", "id"}}
    wanted["f"] = {"ts", "id", "bp"}
    for event in events:
        assert event.keys() >= {"ph", "name", "pid", "tid"} | wanted[event["ph"]], event
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
    named = {(event["pid"], event["args"]["name"]) for event in events if event["name"] == "process_name"}
    assert {event["pid"] for event in events} == {pid for pid, _ in named}
    arrows = Counter((event["ph"], event["id"]) for event in events if event["ph"] in "sf")
    assert set(arrows.values()) == {1}
    assert {number for ph, number in arrows if ph == "s"} == {number for ph, number in arrows if ph == "f"}
    assert [event["name"] for event in events if event.get("cat") == "check"] == ["violated: unit"]


def test_the_report_of_a_failing_run_has_the_violation_among_what_happened(told: tuple[Path, Path, str]) -> None:
    happened = told[2].partition("what happened:")[2].partition("checks:")[0].splitlines()
    place = next(at for at, line in enumerate(happened) if "20.000s  ✗ unit: default/web-1 is inactive" in line)
    assert "worker-1 loses power" in "\n".join(happened[:place])
    assert any("… " in line and "more" in line for line in happened), "long timelines are cut"


def test_two_runs_are_told_apart_by_their_first_difference(tmp_path: Path) -> None:
    scenario, setting = "scenarios/partition.yaml", "faults[0].for=35s"
    for name, settings in (("one", []), ("other", ["--set", setting])):
        sim(scenario, *settings, "--trace", tmp_path / name)
    files = sim("diff", tmp_path / "one", tmp_path / "other")
    runs = sim("diff", scenario, f"{scenario}@1", "--against", setting)
    assert files.exit_code == runs.exit_code == 1
    assert "60.000000000s worker-2: rejoin worker-2" in files.stdout.splitlines()[5]
    assert files.stdout.splitlines()[8:] == runs.stdout.splitlines()[8:], "a trace on disk tells as much as a run"
    assert sim("diff", tmp_path / "one", f"{scenario}@1").exit_code == 0
