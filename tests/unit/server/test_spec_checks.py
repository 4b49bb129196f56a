"""A put asks the checks of an object's type, names all that they find, and lets be what is stored already."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.api import Metadata, Type, Unit
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey, key_of
from rube.api.textproto import parse_documents
from rube.api.types import BUILTIN
from rube.api.types.protos import types_of
from rube.api.types.pushed import checked_kind
from rube.compiler import compile_protos
from rube.server.stored_object import StoredObject, spec_field
from rube.server.violations import check_specs
from rube.units.spec_checks import built_in_spec_checks

REPOSITORY = Path(__file__).parents[3]
TYPE = "api.systemd.Unit"


def stored(unit: Unit) -> StoredObject:
    return StoredObject(Metadata(), spec_field(f"rube/{TYPE}", unit.SerializeToString(deterministic=True)))


def runnable() -> Unit:
    unit = Unit()
    unit.service.exec.start.append("/bin/true")
    return unit


def check(*units: Unit) -> None:
    keys = [ObjectKey(TYPE, "default", f"u{index}").to_bytes() for index in range(len(units))]
    specs = [(index, key, stored(unit)) for index, (key, unit) in enumerate(zip(keys, units, strict=True))]
    check_specs(specs, dict.fromkeys(keys), BUILTIN, built_in_spec_checks())


def test_what_is_right_passes() -> None:
    check(runnable(), runnable())


def test_all_that_is_wrong_with_all_objects_is_named() -> None:
    bad = runnable()
    bad.service.nice, bad.service.umask = 99, "9"
    with pytest.raises(InvalidArgumentError) as caught:
        check(runnable(), bad, Unit())
    assert caught.value.metadata["field"] == "objects[1].spec.service.umask"
    assert "objects[1] (api.systemd.Unit/default/u1): service.umask '9'" in caught.value.message
    assert "service.nice 99 must be greater than or equal to -20 and less than or equal to 19" in caught.value.message
    assert caught.value.violations[1][::2] == ("objects[1].spec.service.nice", "int32.gte_lte")
    assert "objects[2] (api.systemd.Unit/default/u2): service.exec.start is missing" in caught.value.message


def test_what_is_named_is_bounded() -> None:
    bad = Unit(wants=["x"] * 1000)
    with pytest.raises(InvalidArgumentError) as caught:
        check(*[bad] * 100)
    assert len(caught.value.message) < 8_000
    assert caught.value.message.endswith("; and 95 more objects")


def test_other_types_are_asked_nothing() -> None:
    key = ObjectKey("api.Node", "", "n").to_bytes()
    spec = StoredObject(Metadata(), spec_field("rube/api.Node", b""))
    check_specs([(0, key, spec)], {key: None}, BUILTIN, built_in_spec_checks())


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*/*.textproto")), ids=lambda path: path.name)
def test_the_examples_pass(path: Path) -> None:
    protos = [str(proto) for proto in sorted(path.parent.glob("*.proto"))]
    types = BUILTIN
    for pushed in types_of(compile_protos(protos), protos) if protos else ():
        types = types.with_kind(checked_kind(pushed.metadata.name, Type.FromString(pushed.spec.value)))
    found = 0
    for document in parse_documents(path.read_text(), filename=str(path), types=types):
        for obj in document.objects:
            spec = types.unpack(obj.spec)
            if isinstance(spec, Unit):
                check(spec)
            assert types.kind(key_of(obj).type).rules.violations(spec) == []
            found += 1
    assert found
