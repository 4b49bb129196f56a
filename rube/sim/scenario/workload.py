"""The steps of a scenario as acts of its users, with their times."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, assert_never

from rube.api import ListRequest, Object, Unit
from rube.api.keys import ObjectKey
from rube.api.well_known import UNIT_TYPE
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.user import Life, Repeated, User
from rube.sim.judges import PutToRefuse
from rube.sim.scenario.faults import Event
from rube.sim.scenario.load import LoadedScenario
from rube.sim.scenario.scenario_pb2 import Scenario, Step, UnitGroup
from rube.sim.scenario.validate import UnitsAction

CHANGE_VARIABLE = "RUBE_CHANGE"
NAMES_SHOWN_MAX = 4

UserAct = Callable[[User], Coroutine[Any, Any, None]]


def step_events(loaded: LoadedScenario, cluster: SimCluster) -> Iterator[Event]:
    """Each step as often as it is repeated. An event starts the user's request; it ends when it is acknowledged."""
    if pushed := loaded.types:
        names = _shown([obj.metadata.name for obj in pushed], "types")
        push = _start(cluster, "user-of-types", lambda user: user.put_objects(pushed))
        yield Event(at_ns=0, text=f"a user pushes {names}", act=push)
    for index, step in enumerate(loaded.scenario.workload.steps):
        text, act = _act(step, loaded, cluster)
        # A user that reads repeats that by itself, over its own connections.
        for turn in range(1 if step.WhichOneof("action") in ("read", "list") else step.times):
            at_ns = step.at.ToNanoseconds() + turn * step.every.ToNanoseconds()
            again = f", every {step.every.ToNanoseconds() / 1e9:g}s, {step.times} times" if step.times > 1 else ""
            told = text + again if turn == 0 else ""
            yield Event(at_ns=at_ns, text=told, act=_start(cluster, f"user-{index + 1}-{turn + 1}", act))


def _start(cluster: SimCluster, name: str, act: UserAct) -> Callable[[], object]:
    return lambda: cluster.start_user(name, act)


def _act(step: Step, loaded: LoadedScenario, cluster: SimCluster) -> tuple[str, UserAct]:
    match step.WhichOneof("action"):
        case "put":
            units = _units(step.put, loaded.scenario, loaded.units[step.put.file])
            namespace = step.put.namespace
            life = Life(tuple(step.put.owners), tuple(step.put.finalizers))
            return f"a user puts {_shown([name for name, *_ in units])}", lambda user: user.put(namespace, units, life)
        case "list":
            return _list(step)
        case "make_namespace":
            made = step.make_namespace
            return f"a user makes the namespace {made}", lambda user: user.make_namespace(made)
        case "delete_namespace":
            gone = step.delete_namespace
            return f"a user deletes the namespace {gone}", lambda user: user.delete_namespace(gone)
        case "put_file":
            objects = loaded.objects[step.put_file]
            shown = _shown([obj.metadata.name for obj in objects], "objects")
            if step.refused:
                return f"a user puts {shown}, to be refused", partial(_put_to_refuse, step, objects, shown, cluster)
            return f"a user puts {shown}", lambda user: user.put_objects(objects)
        case "delete_objects":
            gone_ones, how = step.delete_objects, step.delete_objects.propagation
            keys = [ObjectKey(gone_ones.type, gone_ones.namespace, name) for name in gone_ones.names]
            shown = _shown(list(gone_ones.names), "objects")
            return f"a user deletes {shown}", lambda user: user.delete_objects(keys, how)
        case None:
            raise AssertionError("a step without action is refused")
        case action:
            of_units = getattr(step, action)
            return _act_on_units(step, action, of_units.namespace, list(of_units.names))


async def _put_to_refuse(step: Step, objects: Sequence[Object], shown: str, cluster: SimCluster, user: User) -> None:
    put = PutToRefuse(at_ns=cluster.world.now_ns, text=f"put of {shown}", words=step.refused)
    cluster.history.to_refuse.append(put)
    put.answer = await user.put_to_refuse(objects)


def _act_on_units(step: Step, action: UnitsAction, namespace: str, names: list[str]) -> tuple[str, UserAct]:
    """Returns the step of a user with units that there are."""
    shown = _shown(names)
    match action:
        case "delete":
            how = step.delete.propagation
            return f"a user deletes {shown}", lambda user: user.delete(namespace, names, how)
        case "release":
            return f"a user releases {shown}", lambda user: user.release(namespace, names)
        case "read":
            repeated = _repeated(step, not_older=step.read.not_older)
            return f"a user reads {shown}", lambda user: user.read(namespace, names, repeated)
        case "edit":
            unconditional = step.edit.unconditional
            return f"a user edits {shown}", (
                lambda user: user.edit(namespace, names, _change_environment, unconditional=unconditional)
            )
        case "move":
            node = step.move.node
            where = f"to {node}" if node else "elsewhere"
            return f"a user moves {shown} {where}", lambda user: user.move(namespace, names, node)
        case "change":
            return f"a user changes {shown}", lambda user: user.change(namespace, names, _change_environment)
        case "stop":
            return f"a user stops {shown}", lambda user: user.change(namespace, names, _stop)
        case "start":
            return f"a user starts {shown}", lambda user: user.change(namespace, names, _run)
        case _:
            assert_never(action)


def _repeated(step: Step, *, not_older: bool) -> Repeated:
    return Repeated(every_s=step.every.ToNanoseconds() / 1e9, times=step.times, not_older=not_older)


def _list(step: Step) -> tuple[str, UserAct]:
    listing = step.list
    request = ListRequest(
        type=UNIT_TYPE,
        namespace=listing.namespace,
        name=listing.name,
        label_selector=listing.labels,
        page_size=listing.page_size,
    )
    repeated = _repeated(step, not_older=listing.not_older)
    which = " and ".join(part for part in (listing.name, listing.labels) if part)
    return f"a user lists the units {'with ' + which if which else 'there are'}", (
        lambda user: user.list_all(request, repeated)
    )


def _units(group: UnitGroup, scenario: Scenario, template: Unit) -> list[tuple[str, Unit, str]]:
    """(name, spec, node) of each unit. `worker-{i}` takes the nodes in turn."""
    nodes = list(scenario.cluster.nodes.names)
    units: list[tuple[str, Unit, str]] = []
    for number in range(group.first, group.first + group.count):
        name = group.name.replace("{i}", str(number))
        node = nodes[(number - group.first) % len(nodes)] if "{i}" in group.node else group.node
        unit = Unit()
        unit.CopyFrom(template)
        units.append((name, unit, node))
    return units


def _change_environment(unit: Unit) -> None:
    before = int(unit.service.environment.get(CHANGE_VARIABLE, "0"))
    unit.service.environment[CHANGE_VARIABLE] = str(before + 1)


def _stop(unit: Unit) -> None:
    unit.state = Unit.STOPPED


def _run(unit: Unit) -> None:
    unit.state = Unit.RUNNING


def _shown(names: list[str], things: str = "units") -> str:
    if len(names) <= NAMES_SHOWN_MAX:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)} {things})"
