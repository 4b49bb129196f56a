"""`rube role`: the least rights of a controller, from what it declares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from rube.api import Binding, List, Metadata, Object, Role, Rule, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.types import pack
from rube.api.well_known import EVENT_TYPE, LEADER_NAMESPACE, LEASE_TYPE
from rube.controllers.cluster.catalog import make_controller
from rube.controllers.contract import Controller
from rube.server.rights.checks import role_violations


@click.command()
@click.argument("controller", metavar="CONTROLLER")
@click.option("--puts", metavar="TYPE", multiple=True, help="A type whose objects its decisions put; repeat it.")
@click.option("--deletes", metavar="TYPE", multiple=True, help="A type whose objects its decisions delete; repeat it.")
@click.option("--identity", metavar="NAME", help="The name in its certificate.  [default: its own]")
def role(controller: str, puts: tuple[str, ...], deletes: tuple[str, ...], identity: str | None) -> None:
    """Prints the role of a controller, and the binding to its identity: what it declares that it sees, the status of
    its type, its own lease, and events. Put them as an administrator.

    \b
    rube role agents:Agents --puts core.Event
    rube role placement --puts api.systemd.Unit | ructl put

    CONTROLLER is as in `rube controller --controllers`. What its decisions put and delete is not declared: name it.
    """
    sys.path.append("")
    try:
        found = make_controller(controller)
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error
    made = Role(rules=least_rules(found, puts, deletes))
    if violations := role_violations(made.SerializeToString()):
        raise click.UsageError("; ".join(f"{each.field} {each.text}" for each in violations))
    name = f"controller-{found.name}"
    binding = Binding(subjects=[f"controller/{identity or found.name}"], role=name)
    objects = [Object(metadata=Metadata(name=name), spec=pack(spec)) for spec in (made, binding)]
    click.echo(
        f"# proto-file: rube/api.proto\n# proto-message: List\n\n{textproto.format(List(items=objects))}".rstrip()
    )


def least_rules(controller: Controller, puts: Sequence[str], deletes: Sequence[str]) -> list[Rule]:
    """Returns what a controller needs, and nothing else."""
    return list(_rules(controller, puts, deletes))


def _rules(controller: Controller, puts: Sequence[str], deletes: Sequence[str]) -> Iterator[Rule]:
    reads = ("get", "list", "watch")
    yield Rule(verbs=[*reads, "update_status", "update_lifecycle"], types=[controller.type])
    for wanted in controller.inputs:
        namespaces = [wanted.namespace] if wanted.namespace else []
        yield Rule(verbs=reads, types=[wanted.type], namespaces=namespaces, label_selector=wanted.selector)
    if puts:
        yield Rule(verbs=["get", "put"], types=sorted(set(puts)))
    if deletes:
        yield Rule(verbs=["get", "delete"], types=sorted(set(deletes)))
    yield Rule(verbs=["get", "put"], types=[EVENT_TYPE])
    yield Rule(verbs=["get", "put"], types=[LEASE_TYPE], namespaces=[LEADER_NAMESPACE], names=[controller.name])
