"""The problems that keep a cluster from being converged: the API's objects compared with the machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpc import aio

from rube.api import ApiAsyncStub, ApiStub, ListRequest, Object, Unit, UnitStatus
from rube.api.errors import RubeError
from rube.api.well_known import NODE_LABEL
from rube.host import Host
from rube.sim.judges import StatusPair
from rube.transport import rube_error

DEADLINE_S = 2.0
PAGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class SeenUnit:
    """One unit on one machine: its state by systemd, and its installed definition."""

    state: str
    uid: str
    generation: int
    process: str = ""
    """Its process, as a status shows it beside the state."""


Machines = Mapping[str, Mapping[str, SeenUnit]]
"""By node, then by `namespace/name`."""


async def list_units(ports: Host, targets: Sequence[str]) -> list[Object]:
    """Every unit in the store, as the first apiserver that answers lists them. Raises a RubeError if none does."""
    for target in targets[:-1]:
        try:
            return await _list_units(ports, target)
        except RubeError:
            continue
    return await _list_units(ports, targets[-1])


async def _list_units(ports: Host, target: str) -> list[Object]:
    channel = ports.network.channel(target)
    stub: ApiAsyncStub = ApiStub(channel)
    request = ListRequest(type=Unit.DESCRIPTOR.full_name)
    found: list[Object] = []
    try:
        for _ in range(PAGES_MAX):
            page = await stub.List(request, timeout=DEADLINE_S)
            found.extend(page.items)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    except aio.AioRpcError as error:
        raise rube_error(error) from error
    finally:
        await channel.close(None)
    return found


def problems(objects: Sequence[Object], machines: Machines) -> list[str]:
    """Returns the problems that keep the cluster from being converged, sorted; empty: it is converged."""
    wanted = {f"{obj.metadata.namespace}/{obj.metadata.name}": obj for obj in objects}
    found = [text for unit, obj in wanted.items() for text in _unit_problems(unit, obj, machines)]
    for node in machines:
        for unit in machines[node]:
            if unit not in wanted:
                found.append(f"{unit} is on {node}, but not in the store")
            elif wanted[unit].metadata.labels.get(NODE_LABEL, "") != node:
                found.append(f"{unit} is on {node}, but not bound to it")
    return sorted(found)


def _unit_problems(unit: str, obj: Object, machines: Machines) -> list[str]:
    spec, status = Unit(), UnitStatus()
    obj.spec.Unpack(spec)
    obj.status.Unpack(status)
    node = obj.metadata.labels.get(NODE_LABEL, "")
    if not node:
        return [f"{unit} has no node"]
    seen = machines.get(node, {}).get(unit)
    if seen is None:
        return [f"{unit} is not on {node}"]
    wanted = "inactive" if spec.state == Unit.STOPPED else "active"
    if seen.uid != obj.metadata.uid:
        return [f"{unit} on {node} is of an earlier object"]
    if seen.generation != obj.metadata.generation:
        return [f"{unit} on {node} is at generation {seen.generation} of {obj.metadata.generation}"]
    if seen.state != wanted:
        return [f"{unit} on {node} is {seen.state}, not {wanted}"]
    if status.observed_generation != obj.metadata.generation:
        return [f"{unit}: its status is of generation {status.observed_generation} of {obj.metadata.generation}"]
    if status.active_state != wanted or status.node != node:
        return [f"{unit} is reported {status.active_state or 'nothing'} on {status.node or 'no node'}"]
    return []


def process_of(status: UnitStatus) -> str:
    """Returns the unit's process in a status."""
    return f"{status.sub_state}, {status.result}, pid {status.main_pid}, {status.restarts} restarts"


def status_pairs(objects: Sequence[Object], machines: Machines) -> list[StatusPair]:
    """Each unit's reported status beside what its machine says."""
    pairs: list[StatusPair] = []
    for obj in objects:
        status = UnitStatus()
        unit = f"{obj.metadata.namespace}/{obj.metadata.name}"
        node = obj.metadata.labels.get(NODE_LABEL, "")
        seen = machines.get(node, {}).get(unit)
        reported = obj.status.Unpack(status)
        pairs.append(
            StatusPair(
                unit=unit,
                node=node,
                generation=obj.metadata.generation,
                reported_state=status.active_state if reported else None,
                reported_generation=status.observed_generation,
                reported_node=status.node,
                actual_state=seen.state if seen else None,
                reported_process=process_of(status),
                actual_process=seen.process if seen else "",
            )
        )
    return pairs
