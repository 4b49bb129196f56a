"""The types that controllers bring: pushed to the cluster before the controller decides anything.

A push goes through the server's gate as that of `ructl types push` does. A version that the cluster has, and that has
all of the controller's, stays: an older controller beside a newer one never takes anything back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from rube.api import Fence, GetRequest, Object, Precondition, PutRequest
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from rube.api.keys import TYPE_TYPE, key_of
from rube.api.types.protos import checked_types
from rube.api.types.pushed import kind_from
from rube.api.types.versions import Comparison, Standing, compare
from rube.client import Change, Client, Informer, InformerConfig
from rube.controllers.contract import BringingController, Controller
from rube.controllers.ports import Calls
from rube.host import Host

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
    comparison = compare(kind_from(present), kind_from(own))
    if comparison.standing is Standing.BREAKING:
        why = "; ".join(f"{each.path}: {each.text}" for each in comparison.breakages)
        raise FailedPreconditionError(
            f"type {own.metadata.name} of controller {controller} breaks the one that the cluster has: "
            f"{why}. Change the controller's .proto file, or, if you know all that read the type, push it with "
            "'ructl types push --allow-breaking'",
            type=own.metadata.name,
        )
    return comparison.standing is Standing.NEWER


async def follow_types(controller: Controller, client: Client, host: Host) -> None:
    """Logs where the cluster's types differ from those that the controller brings, now and whenever that changes.

    Runs until cancelled; returns at once for a controller that brings none. It pushes nothing: whoever pushed an older
    version, or deleted the type, meant it.
    """
    async with asyncio.TaskGroup() as group:
        for own in brought_types(controller):
            informer = Informer(client, host, InformerConfig(type=TYPE_TYPE, name=own.metadata.name))
            informer.add_handler(TypeDifference(controller.name, own).changed)
            group.create_task(informer.run())


class TypeDifference:
    """The difference of the cluster's version of a type from a controller's, as the log has it."""

    def __init__(self, controller: str, own: Object) -> None:
        self._controller, self._name, self._own = controller, own.metadata.name, kind_from(own)
        self._said = ""

    def changed(self, change: Change) -> None:
        level, text = _GONE if change.new is None else self._difference(compare(kind_from(change.new), self._own))
        if text != self._said and (text or self._said):
            _LOG.log(level, "%s: type %s %s", self._controller, self._name, text or "is the controller's again")
        self._said = text

    @staticmethod
    def _difference(comparison: Comparison) -> tuple[int, str]:
        """Returns the level and the words of the log; no words where there is no difference."""
        level, text = _DIFFERENCES[comparison.standing]
        return level, text.format(", ".join(each.path for each in comparison.breakages))


_GONE: Final = (
    logging.WARNING,
    "is deleted in the cluster: it is pushed again when the controller starts anew, or by 'ructl types push'",
)
_DIFFERENCES: Final = {
    Standing.SAME: (logging.INFO, ""),
    Standing.OLDER: (
        logging.INFO,
        "has a newer version in the cluster, which stays: the controller sees what that adds once it is built with it",
    ),
    Standing.NEWER: (
        logging.WARNING,
        "has an older version in the cluster, which refuses what the controller's adds: start the controller anew, or "
        "push its version with 'ructl types push'",
    ),
    Standing.ANOTHER: (
        logging.WARNING,
        "has the same fields in the cluster and other names, rules or columns, which stay: 'ructl types diff' shows "
        "them, 'ructl types push' takes the controller's",
    ),
    Standing.BREAKING: (
        logging.ERROR,
        "has a version in the cluster that the controller may misread, at {}: end the controller, build it anew",
    ),
}
