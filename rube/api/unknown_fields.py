"""Fields of a request that this build does not know: they are refused, since a request must be carried out as a whole.

A server that ignored what a newer client asks for (`validate_only`, a condition, a filter) would do something else. The
content of an object is another matter: unknown fields of a spec are kept.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rube.api import Fence, Key, Precondition
from rube.api.errors import InvalidArgumentError

# The messages in a request that change its meaning.
_ASKING: Final = frozenset(message.DESCRIPTOR.full_name for message in (Precondition, Fence, Key))
_NAMED_MAX: Final = 5


def check_known(request: Message) -> None:
    """Raises InvalidArgumentError that names the numbers of unknown fields, in the request or in the messages that
    change its meaning."""
    _check(request, "")
    for field, value in request.ListFields():
        if field.message_type is None or field.message_type.full_name not in _ASKING:
            continue
        for part in value if field.is_repeated else (value,):
            _check_part(part, f" in {field.name}")


def _check_part(part: Message, where: str) -> None:
    _check(part, where)
    if isinstance(part, Precondition) and part.HasField("key"):
        _check(part.key, f"{where}.key")


def _check(message: Message, where: str) -> None:
    unknown = UnknownFieldSet(message)
    if not len(unknown):
        return
    numbers = sorted({entry.field_number for entry in unknown})  # type: ignore[attr-defined]
    shown = ", ".join(map(str, numbers[:_NAMED_MAX])) + (", …" if len(numbers) > _NAMED_MAX else "")
    raise InvalidArgumentError(
        f"{message.DESCRIPTOR.full_name}{where} has fields that this server does not know (numbers {shown}): nothing "
        "was done; it is older than the client, or they are a mistake",
        field=shown,
    )
