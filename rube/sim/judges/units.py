"""The promises of the cluster for its units: they converge, never run twice, and go on while the apiserver is away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rube.sim.judges.history import History
from rube.sim.judges.records import Disturbance, StatusPair, Transition
from rube.sim.judges.verdict import Verdict, judge, many, time_text


def converged(history: History, within_ns: int) -> Verdict:
    """Checks that, from `within_ns` after the last step and fault until the end, every sample is without problems."""
    name = "converged"
    if not history.samples:
        return Verdict(check=name, passed=False, text="nothing was sampled after the last fault: lengthen `duration`")
    wrong = [sample for sample in history.samples if sample.problems]
    right = [sample.at_ns for sample in history.samples if not wrong or sample.at_ns > wrong[-1].at_ns]
    limit = f"limit {time_text(within_ns)} after the last step or fault at {time_text(history.quiet_ns)}"
    if right:
        took_ns = right[0] - history.quiet_ns
        text = f"everything converged within {time_text(took_ns)} ({limit})"
    else:
        took_ns = within_ns + 1
        text = f"not converged when the world ended at {time_text(history.end_ns)} ({limit})"
    if took_ns <= within_ns:
        return Verdict(check=name, passed=True, text=text)
    last = [f"{time_text(sample.at_ns)} {problem}" for sample in wrong[-1:] for problem in sample.problems]
    return judge(name, text, last or ["it was not looked at before"], text)


def never_on_two_nodes(history: History) -> Verdict:
    """Checks that at no time two machines run the same unit (of the same uid)."""
    starts = sum(transition.running for transition in history.transitions)
    if not starts:
        return Verdict(check="never_on_two_nodes", passed=False, text="no unit ever ran")
    held = f"no unit ever ran on two nodes ({many(starts, 'start')})"
    return judge("never_on_two_nodes", held, _doubles(history.transitions), "a unit ran on two nodes at once")


def _doubles(transitions: list[Transition]) -> Iterator[str]:
    running: dict[str, dict[str, Transition]] = defaultdict(dict)
    for transition in transitions:
        nodes = running[transition.uid]
        if not transition.running:
            nodes.pop(transition.node, None)
            continue
        for other in nodes.values():
            if other.node != transition.node:
                yield (
                    f"{time_text(transition.at_ns)} {transition.unit} started on {transition.node} while it ran on "
                    f"{other.node} since {time_text(other.at_ns)}"
                )
        nodes[transition.node] = transition


def local_autonomy(history: History, within_ns: int) -> Verdict:
    """A unit that crashed or was removed on a cut-off node runs again there in time, and before the node is healed."""
    name = "local_autonomy"
    found = [
        (disturbance, cut.end_ns)
        for disturbance in history.disturbances
        for cut in history.cuts
        if cut.host == disturbance.node and cut.start_ns <= disturbance.at_ns < cut.end_ns
    ]
    if not found:
        return Verdict(check=name, passed=False, text="nothing to judge: no unit crashed on a node that was cut off")
    offending: list[str] = []
    took_ns = 0
    for disturbance, healed_ns in found:
        back_ns = _back(disturbance, history.transitions)
        what = f"{time_text(disturbance.at_ns)} {disturbance.unit} {disturbance.kind} on {disturbance.node}"
        if back_ns is None:
            offending.append(f"{what} and never came back")
        elif back_ns > min(healed_ns, disturbance.at_ns + within_ns):
            healed = f"healed {time_text(healed_ns)}, limit {time_text(within_ns)}"
            offending.append(f"{what} and was back at {time_text(back_ns)} ({healed})")
        else:
            took_ns = max(took_ns, back_ns - disturbance.at_ns)
    nodes = ", ".join(sorted({disturbance.node for disturbance, _ in found}))
    held = f"{nodes}, cut off, brought back {many(len(found), 'lost unit')} within {time_text(took_ns)}"
    return judge(name, held, offending, "a cut-off node did not go on by itself")


def _back(disturbance: Disturbance, transitions: list[Transition]) -> int | None:
    """Returns when the unit started again after it had ended; None if it did not (or never ended)."""
    ended = False
    for transition in transitions:
        if transition.at_ns < disturbance.at_ns or transition.node != disturbance.node:
            continue
        if transition.unit == disturbance.unit:
            if transition.running and ended:
                return transition.at_ns
            ended = ended or not transition.running
    return None


def status_reported(history: History) -> Verdict:
    """Checks that in the end each unit's status in the store is its machine's, of the newest generation."""
    if not history.statuses:
        return Verdict(check="status_reported", passed=False, text="there are no units in the end")
    return judge(
        "status_reported",
        f"the status of all {len(history.statuses)} units is what their machines say",
        (line for pair in history.statuses for line in _mismatch(pair)),
        "a status in the store is not its machine's",
    )


def _mismatch(pair: StatusPair) -> Iterator[str]:
    if pair.reported_state is None:
        yield f"{pair.unit} on {pair.node or 'no node'} has no status"
    elif (pair.reported_state, pair.reported_node) != (pair.actual_state, pair.node):
        yield (
            f"{pair.unit} is reported {pair.reported_state} on {pair.reported_node}, "
            f"but is {pair.actual_state or 'absent'} on {pair.node}"
        )
    elif pair.reported_process != pair.actual_process:
        yield f"{pair.unit} is reported as {pair.reported_process}, but is {pair.actual_process} on {pair.node}"
    elif pair.reported_generation != pair.generation:
        yield f"{pair.unit}: status of generation {pair.reported_generation}, the spec is at {pair.generation}"


def unit_state(
    history: History,
    *,
    at_ns: int,
    node: str,
    unit: str,
    state: str,
    cut_off: bool = False,
    starts_min: int = 0,
    starts_max: int = 0,
) -> Verdict:
    """Checks a finding of that time: the unit's state on the node, or wherever it was where the node is empty, whether
    that node was cut off, and how often the unit started."""
    name = "unit"
    found = next(
        (probe for probe in history.probes if (probe.at_ns, probe.asked, probe.unit) == (at_ns, node, unit)), None
    )
    place = f" on {node}" if node else ""
    held = f"{unit} is {state or 'anything'}{place} at {time_text(at_ns)}"
    if cut_off:
        held += ", while the node is cut off"
    if starts_min:
        held += f", after {starts_min} or more starts"
    if starts_max:
        held += f", after no more than {many(starts_max, 'start')}"
    if found is None:
        return Verdict(check=name, passed=False, text=f"{unit} was not looked at{place} at {time_text(at_ns)}")
    offending: list[str] = []
    if state and found.state != state:
        offending.append(f"{time_text(at_ns)} {unit} is {found.state} on {found.node or 'every node'}")
    if cut_off and not found.cut_off:
        offending.append(f"{time_text(at_ns)} {found.node or 'its node'} is not cut off")
    if found.starts < starts_min or found.starts > (starts_max or found.starts):
        offending.append(f"{time_text(at_ns)} {unit} was started {found.starts} times")
    return judge(name, held, offending)
