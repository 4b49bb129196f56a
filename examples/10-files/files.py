"""A node controller of one's own: the files on a node are as objects of acme.File say.

Run for real: `rubelet --controllers files:files`. Tried in a simulated cluster: `rube sim files.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import files_pb2  # made from files.proto: see README.md
from directory import Folder
from driver import Directory, FileDriver
from files_pb2 import File, FileAction, FileObservation, FileStatus, Write

from rube.api import Decision, State, StatusCondition
from rube.api.conditions import set_condition
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.api.types.protos import files_of
from rube.controllers.config import Decided, NodeController
from rube.controllers.contract import Input
from rube.controllers.nodes import NodeContext
from rube.host import Clock

FILE = "acme.File"
MODE = "0644"


class FileController:
    """Keyed by acme.File. It sees those that are bound to its node, and what its driver sees of each."""

    name = "files"
    type = FILE
    types = files_of(files_pb2)
    selector = ""
    inputs: Sequence[Input] = ()

    def thing_of(self, key: ObjectKey) -> str:
        return f"{key.namespace}.{key.name}"

    def key_of_thing(self, name: str) -> ObjectKey | None:
        namespace, dot, short = name.partition(".")
        return ObjectKey(FILE, namespace, short) if dot else None

    def decide(self, state: State) -> Decision:
        decision, seen = Decision(), FileObservation()
        if state.observe_error:
            _report(decision, state, state.observe_error, written=False)
            return decision
        state.observed.Unpack(seen)
        action = FileAction(name=self.thing_of(ObjectKey.from_proto(state.key)))
        if not state.HasField("object"):
            if seen.uid:  # it is of an object that is gone
                action.remove = True
                decision.actions.add().action.CopyFrom(pack(action))
            return decision
        wanted = File()
        state.object.spec.Unpack(wanted)
        wanted.mode = (wanted.mode or MODE).zfill(4)
        written = seen.uid == state.object.metadata.uid and seen.file == wanted
        if not written:
            action.write.CopyFrom(Write(file=wanted, uid=state.object.metadata.uid))
            decision.actions.add().action.CopyFrom(pack(action))
        if written or state.action_error:  # else it changes, and is decided again
            _report(decision, state, state.action_error, written=written)
        return decision


def _report(decision: Decision, state: State, error: str, *, written: bool) -> None:
    """Asks for the status to be written, unless it is what the object says already."""
    if not state.HasField("object"):
        return
    status = FileStatus()
    state.object.status.Unpack(status)
    status.state = "written" if written else "waiting"
    status.observed_generation = state.object.metadata.generation
    ready = StatusCondition(type="Ready", observed_generation=status.observed_generation, message=error)
    ready.state = StatusCondition.TRUE if written else StatusCondition.FALSE
    ready.reason = "Written" if written else "Failed"
    set_condition(status.conditions, ready, state.now)
    if state.object.status == pack(status):
        return
    update = decision.calls.add().update_status
    update.key.CopyFrom(state.key)
    update.uid = state.object.metadata.uid
    update.observed_generation = status.observed_generation
    update.status.CopyFrom(pack(status))


def problem_of(decided: Decided) -> str:
    """Returns why the file of an object that is gone is still there; empty if nothing is wrong."""
    state = decided.state
    if state.HasField("object") or not state.action_error:
        return ""
    return f"file {decided.key.namespace}/{decided.key.name} cannot be removed: {state.action_error}"


def on(directory: Directory, clock: Clock, driver_name: str) -> NodeController:
    """Returns the node controller with a driver on that directory."""
    return NodeController(
        controller=FileController(),
        driver=FileDriver(directory, clock),
        driver_name=driver_name,
        removal=lambda name: FileAction(name=name, remove=True),
        unstored_status=lambda node, reason: FileStatus(state=f"waiting: {reason}"),
        problem=problem_of,
    )


def files(node: NodeContext) -> NodeController:
    """Returns the controller of a real node: the files are in `files`, below the rubelet's --data."""
    return on(Folder(Path(node.data)), node.host.clock, "files")
