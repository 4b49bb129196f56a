"""A scenario's types of one's own, and the objects of any type that its steps put and delete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import Object
from rube.api.errors import InvalidArgumentError, RubeError
from rube.api.keys import TYPE_TYPE, ObjectKey, key_of
from rube.api.textproto import parse_documents
from rube.api.types import BUILTIN, Kind, Types
from rube.api.types.protos import checked_types
from rube.api.types.pushed import kind_from
from rube.compiler import compile_protos
from rube.controllers.bringing import brought_types
from rube.controllers.cluster.catalog import make_controllers
from rube.installed import installed_types
from rube.sim.scenario.files import read_bytes, read_text
from rube.sim.scenario.scenario_pb2 import ObjectsDelete, Scenario
from rube.sim.scenario.yamlproto import Source, check_known

COMPILED = ".binpb"
SOURCE = ".proto"


class ScenarioTypes(Types):
    """The types of a scenario: those of its files, of its controllers, and of installed packages, as they are asked
    for."""

    def __init__(self, pushed: Sequence[Object], brought: Sequence[Object]) -> None:
        super().__init__(BUILTIN.kinds(), BUILTIN.messages)
        self.pushed = list(pushed)
        """The api.Type objects that a user pushes."""
        self.brought = list(brought)
        """Those that controllers push."""
        for obj in (*brought, *pushed):
            self._kinds[obj.metadata.name] = kind_from(obj)

    def get(self, type_name: str) -> Kind | None:
        found = super().get(type_name)
        # What is installed beside the scenario's types must not change its trace.
        if found is None and "." in type_name and (obj := installed_types().find(type_name)) is not None:
            found = self._kinds[type_name] = kind_from(obj)
            self.pushed.append(obj)
        return found


def read_types(scenario: Scenario, file: str, source: Source) -> ScenarioTypes:
    """Returns the types that there are. Notes errors in `source`."""
    pushed: dict[str, Object] = {}
    for index, name in enumerate(scenario.types):
        try:
            for obj in _types_in(Path(file).parent / name):
                if obj.metadata.name in pushed or BUILTIN.get(obj.metadata.name) is not None:
                    raise InvalidArgumentError(f"{name}: there is a type {obj.metadata.name} already: leave one out")
                pushed[obj.metadata.name] = obj
        except RubeError as error:
            source.error(("types", index), error.message)
    try:
        controllers = make_controllers(scenario.cluster.controllers)
    except InvalidArgumentError:
        controllers = []  # noted by `validate`
    return ScenarioTypes([*pushed.values()], [obj for each in controllers for obj in brought_types(each)])


def read_objects(scenario: Scenario, file: str, source: Source, types: Types) -> dict[str, list[Object]]:
    """Returns the objects of each file that a step puts, by the step's name of it, and completes the keys that steps
    delete. Notes errors in `source`."""
    found: dict[str, list[Object]] = {}
    for index, step in enumerate(scenario.workload.steps):
        if (name := step.put_file) and name not in found:
            try:
                found[name] = _objects_in(Path(file).parent / name, types)
            except RubeError as error:
                source.error(("workload", "steps", index, "put_file"), error.message)
    put = {key_of(obj) for objects in found.values() for obj in objects}
    for index, step in enumerate(scenario.workload.steps):
        if step.HasField("delete_objects"):
            _check_deletion(step.delete_objects, ("workload", "steps", index, "delete_objects"), put, types, source)
    return found


def types_with(objects: Iterable[Object]) -> Types:
    """Returns the built-in types and those of api.Type objects, of two with one name the last."""
    types: Types = BUILTIN
    for obj in objects:
        types = types.with_kind(kind_from(obj))
    return types


def messages_of(pushed: Sequence[Object]) -> dict[str, type[Message]]:
    """Returns the classes of all messages that came with types, by full name."""
    kinds = [kind_from(obj) for obj in pushed]
    return {name: GetMessageClass(kind.messages[name]) for kind in kinds for name in sorted(kind.messages)}


def _types_in(path: Path) -> list[Object]:
    """Returns the types in a .proto file or a FileDescriptorSet, without comments: what is stored in a simulation, and
    so its hash, must not depend on the compiler's version."""
    data = read_bytes(path)
    if path.suffix == COMPILED:
        try:
            compiled = FileDescriptorSet.FromString(data)
        except DecodeError as error:
            raise InvalidArgumentError(
                f"{path} is no FileDescriptorSet: make it with protoc --include_imports "
                f"--descriptor_set_out={path.name}"
            ) from error
        sources: list[str] = []
    else:
        compiled, sources = compile_protos([str(path)]), [str(path)]
    try:
        return checked_types(compiled, sources)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}: {error.message}") from error


def _objects_in(path: Path, types: Types) -> list[Object]:
    if path.suffix in (SOURCE, COMPILED):
        return _types_in(path)
    documents = parse_documents(read_text(path), str(path), types)
    objects = [obj for document in documents for obj in document.objects]
    for obj in objects:
        if key_of(obj).type == TYPE_TYPE:
            raise InvalidArgumentError(f"{path}: {key_of(obj)} is a type: name its .proto file")
    return objects


def _check_deletion(
    wanted: ObjectsDelete, path: tuple[str | int, ...], put: set[ObjectKey], types: Types, source: Source
) -> None:
    try:
        kind = types.kind(wanted.type)
    except InvalidArgumentError as error:
        source.error((*path, "type"), error.message)
        return
    if kind.namespaced:
        wanted.namespace = wanted.namespace or "default"
    if not wanted.names:
        source.error(path, "no names: add `names: [nightly]`")
    known = sorted(key.name for key in put if (key.type, key.namespace) == (wanted.type, wanted.namespace))
    for index, name in enumerate(wanted.names):
        check_known(kind.words()[0], name, known, (*path, "names", index), source)
