"""A bound on the time that a type's rules in CEL take for one object.

The engine has no limit of work, only one of iterations. So an object that could take longer is refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from rube.api.types.declared import Expression, messages_in

COST_NS_MAX: Final = 1_000_000_000
# Measured, on the slow side: one evaluation; a byte that an operator reads; an item that `in` looks at; an iteration.
_EVALUATION_NS: Final = 15_000
_BYTE_NS: Final = 10
_ITEM_NS: Final = 130
_ITERATION_NS: Final = 300
_ITERATIONS_MAX: Final = 10_000
_ITEM_BYTES_MIN: Final = 2
# Sizes of objects, the largest first, of which one may be too small to take long in any case.
_SIZES: Final = tuple(1 << power for power in range(24, 6, -1))


class Costs:
    """The expressions of a type, by the messages that they are about."""

    def __init__(self, message: Descriptor, expressions: Sequence[Expression]) -> None:
        self._by_message: dict[str, list[Expression]] = {}
        for each in expressions:
            self._by_message.setdefault(each.message, []).append(each)
        self._many = _held_in_lists(message)
        self._cheap_bytes = next((size for size in _SIZES if self._bound(size) <= COST_NS_MAX), 0)

    def exceeded(self, message: Message) -> bool:
        """Returns whether the rules could take longer than COST_NS_MAX for this message."""
        return message.ByteSize() > self._cheap_bytes and self._counted(message) > COST_NS_MAX

    def _bound(self, size: int) -> int:
        """Returns the cost of the worst message of that many bytes."""
        items = size // _ITEM_BYTES_MIN
        return sum(
            _cost(each, 1 + items if name in self._many or each.each else 1, size, items)
            for name, all_of_it in self._by_message.items()
            for each in all_of_it
        )

    def _counted(self, message: Message) -> int:
        total = 0
        for part, items in _parts(message):
            size = part.ByteSize()
            for each in self._by_message.get(part.DESCRIPTOR.full_name, ()):
                total += _cost(each, 1 + items if each.each else 1, size, items)
            if total > COST_NS_MAX:
                break
        return total


def _cost(expression: Expression, times: int, size: int, items: int) -> int:
    """Returns nanoseconds for that many evaluations on messages of `size` bytes and `items` items, all together."""
    weight = expression.weight
    cost = times * _EVALUATION_NS + weight.nodes * _BYTE_NS * size
    if weight.nesting:
        own, others = items, (items + weight.literals) ** (weight.nesting - 1)
        if weight.compared:
            own += times * weight.literals
            read = min((items + weight.literals) * others, _ITERATIONS_MAX) * weight.compared
            cost += read * (_BYTE_NS * size + _ITEM_NS * items)
        cost += min(own * others, times * _ITERATIONS_MAX) * _ITERATION_NS
    return cost


def _held_in_lists(message: Descriptor) -> frozenset[str]:
    """Returns the names of messages of which one object can hold any number."""
    found: set[str] = set()
    for each in messages_in(message):
        for field in each.fields:
            if (field.message_type is not None and field.is_repeated) or (
                field.message_type is not None and each in messages_in(field.message_type)
            ):
                found.update(inner.full_name for inner in messages_in(field.message_type))
    return frozenset(found)


def _parts(message: Message) -> Iterator[tuple[Message, int]]:
    """Yields a message and those in it, each with the number of items that it holds."""
    items = 0
    parts: list[Message] = []
    for field, value in message.ListFields():
        if not field.is_repeated:
            if field.message_type is not None:
                parts.append(value)
            continue
        items += len(value)
        values: Iterable[object] = value.values() if isinstance(value, Mapping) else value
        parts += [each for each in values if isinstance(each, Message)]
    for part in parts:
        for inner, count in _parts(part):
            items += count if inner is part else 0
            yield inner, count
    yield message, items
