"""Specs in canonical form, which writes share."""

from __future__ import annotations

from rube.api import Unit
from rube.api.types import BUILTIN
from rube.server.specs import SPEC_BYTES_MAX, read_spec, spec_of

TYPE = "api.systemd.Unit"
UNKNOWN = b"\xf8\x7f\x01"
"""A field that no Unit has: number 2047, of value 1."""


def test_unknown_fields_stay_in_the_value_and_in_the_message() -> None:
    known = Unit(after=["a.service"], description="x").SerializeToString(deterministic=True)
    spec = spec_of(Unit.FromString(known + UNKNOWN))
    assert spec.has_unknown
    assert spec.value == known + UNKNOWN
    assert spec.message == Unit.FromString(known + UNKNOWN)


def test_the_value_does_not_depend_on_the_order_of_the_bytes() -> None:
    first, second = Unit(description="x").SerializeToString(), Unit(after=["a.service"]).SerializeToString()
    assert read_spec(BUILTIN, TYPE, first + second).field == read_spec(BUILTIN, TYPE, second + first).field


def test_a_spec_is_read_once_unless_it_is_large() -> None:
    small = Unit(description="remembered").SerializeToString()
    large = Unit(description="x" * SPEC_BYTES_MAX).SerializeToString()
    assert read_spec(BUILTIN, TYPE, small) is read_spec(BUILTIN, TYPE, small)
    assert read_spec(BUILTIN, TYPE, large) is not read_spec(BUILTIN, TYPE, large)


def test_a_spec_without_unknown_fields_says_so() -> None:
    assert not read_spec(BUILTIN, TYPE, Unit(after=["a.service"]).SerializeToString()).has_unknown
