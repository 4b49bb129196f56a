"""The unit controller's messages, in and out of an Any."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any

from rube.api import Action, UnitAction, UnitObservation
from rube.api.errors import InvalidArgumentError
from rube.api.keys import TYPE_URL_PREFIX


def unpack_action(action: Action) -> UnitAction:
    """Returns the action. Raises InvalidArgumentError for anything but a unit action."""
    unit_action = UnitAction()
    if not action.action.Unpack(unit_action) or unit_action.WhichOneof("action") is None:
        raise InvalidArgumentError(
            f"action {action.id!r} of type {action.action.type_url!r} is no api.systemd.UnitAction"
        )
    if not action.id:
        raise InvalidArgumentError(f"an action for {unit_action.unit!r} has no id", field="id")
    return unit_action


def pack_observation(observation: UnitObservation) -> Any:
    """Packs the observation into deterministic bytes: observations are compared."""
    return Any(
        type_url=f"{TYPE_URL_PREFIX}{UnitObservation.DESCRIPTOR.full_name}",
        value=observation.SerializeToString(deterministic=True),
    )
