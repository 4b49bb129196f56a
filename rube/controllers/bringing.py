"""The types that controllers bring: pushed to the cluster before the controller decides anything.

A push goes through the server's gate as that of `ructl types push` does. A version that the cluster has, and that has
all of the controller's, stays: an older controller beside a newer one never takes anything back.
"""

from __future__ import annotations

import logging
from typing import Final

from rube.api import Fence, GetRequest, Object, Precondition, PutRequest
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from rube.api.keys import key_of
from rube.api.types.protos import checked_types
from rube.api.types.pushed import kind_from
from rube.api.types.versions import Standing, compare
from rube.client import Client
from rube.controllers.contract import BringingController, Controller
from rube.controllers.ports import Calls

_LOG = logging.getLogger("rube.controllers")
ATTEMPTS_MAX: Final = 5
"""So often a type is compared again because another process has changed it meanwhile."""


def brought_types(controller: Controller) -> list[Object]:
    """Returns an api.Type for each type that a controller brings. Raises InvalidArgumentError if none is in its files,
    and for what a server would refuse."""
    if not isinstance(controller, BringingController) or not controller.types.file:
        return []
    try:
        return checked_types(controller.types)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"the types of controller {controller.name}: {error.message}", field="types"
        ) from error


async def bring_types(controller: Controller, client: Client, calls: Calls, fence: Fence) -> None:
    """Pushes the types that a controller brings, if the cluster lacks them or has older versions.

    Raises FailedPreconditionError for a version that breaks the cluster's, and the server's errors.
    """
    for own in brought_types(controller):
        for _ in range(ATTEMPTS_MAX):
            try:
                await _bring(controller.name, own, client, calls, fence)
                break
            except AbortedError as error:
                _LOG.info("%s: %s was changed meanwhile: %s", controller.name, own.metadata.name, error.message)
        else:
            raise AbortedError(
                f"type {own.metadata.name} of controller {controller.name} was changed by others {ATTEMPTS_MAX} times "
                "while it was compared: end the other pushes"
            )


async def _bring(controller: str, own: Object, client: Client, calls: Calls, fence: Fence) -> None:
    name, key = own.metadata.name, key_of(own).to_proto()
    try:
        present = (await client.get(GetRequest(key=key))).object
    except NotFoundError:
        condition = Precondition(key=key, absent=True)
    else:
        if not _replaces(controller, present, own):
            return
        condition = Precondition(key=key, revision=present.metadata.revision)
    await calls.put(PutRequest(objects=[own], preconditions=[condition], owner=controller, fence=fence))
    _LOG.info("%s: pushed type %s", controller, name)


def _replaces(controller: str, present: Object, own: Object) -> bool:
    """Returns whether the controller's version is to replace the cluster's. Raises FailedPreconditionError if each
    breaks the other."""
    name = own.metadata.name
    comparison = compare(kind_from(present), kind_from(own))
    match comparison.standing:
        case Standing.BREAKING:
            why = "; ".join(f"{each.path}: {each.text}" for each in comparison.breakages)
            raise FailedPreconditionError(
                f"type {name} of controller {controller} breaks the one that the cluster has: {why}. Change the "
                "controller's .proto file, or, if you know all programs that read the type, push it with "
                "'ructl types push --allow-breaking'",
                type=name,
            )
        case Standing.OLDER:
            _LOG.info("%s: the cluster has a newer version of type %s, which stays", controller, name)
        case Standing.ANOTHER:
            _LOG.warning(
                "%s: the cluster's type %s has the same fields and other names, rules or columns. It stays: 'ructl "
                "types diff' shows the difference, 'ructl types push' takes the controller's",
                controller,
                name,
            )
    return comparison.standing is Standing.NEWER
