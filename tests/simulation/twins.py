"""A controller that writes by apply and by patch: each unit gets a label, and a twin that carries its description."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import Decision, Metadata, Object, Service, State, Unit
from rube.api.keys import key_of
from rube.api.types import pack
from rube.api.well_known import UNIT_TYPE
from rube.controllers.contract import Input

SUFFIX = "-twin"


class Twins:
    """Keyed by api.systemd.Unit."""

    name = "twins"
    type = UNIT_TYPE
    selector = ""
    inputs: Sequence[Input] = ()

    def decide(self, state: State) -> Decision:
        decision = Decision()
        owner = state.object
        if not state.HasField("object") or owner.metadata.name.endswith(SUFFIX):
            return decision
        spec = Unit()
        owner.spec.Unpack(spec)
        if owner.metadata.labels.get("twin") != "made":
            patch = decision.calls.add().patch
            patch.object.metadata.namespace, patch.object.metadata.name = owner.metadata.namespace, owner.metadata.name
            patch.object.metadata.labels["twin"] = "made"
            patch.object.spec.CopyFrom(pack(Unit()))
            patch.update_mask.paths.append("metadata.labels.twin")
            patch.preconditions.add(key=key_of(owner).to_proto(), uid=owner.metadata.uid)
        twin = Unit(description=f"twin of {dict(spec.service.environment)}", state=Unit.STOPPED)
        twin.service.type = Service.SIMPLE
        twin.service.exec.start.append("/bin/true")
        apply = decision.calls.add().apply
        apply.owner = self.name
        apply.objects.append(
            Object(
                metadata=Metadata(
                    namespace=owner.metadata.namespace, name=owner.metadata.name + SUFFIX, labels={"twin": "is"}
                ),
                spec=pack(twin),
            )
        )
        return decision
