"""The .proto files of a type that users push: checked as an attacker would have written them, and made into classes.

`load` does bounded work: it counts what a set declares before it reads a name, and no set has more than `SET_BYTES_MAX`
bytes, `FILES_MAX` files, `MESSAGES_MAX` messages and enums, `ELEMENTS_MAX` other parts and `DEPTH_MAX` levels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    Edition,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rube.api.spelling import quoted, suggestion
from rube.api.types import provided
from rube.api.types.declarations import (
    Budget,
    Declaration,
    count,
    declarations,
    refusal,
    text_of,
)
from rube.api.types.symbols import Symbols, imports_of
from rube.api.types.wellformed import NUMBER_MAX, Scope, check_enum, check_field, check_message

SET_BYTES_MAX: Final = 1 << 20
"""With comments. An object has 2 MiB at most."""
FILES_MAX: Final = 128
_PATH_CHARS_MAX = 256
_HINTS_MAX = 200
_HINT_CHARS_MAX = 100

_PATH = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.+]*(/[A-Za-z0-9_][-A-Za-z0-9_.+]*)*\Z")
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_SYNTAXES = {"": "proto2", "proto2": "proto2", "proto3": "proto3", "editions": "editions"}
_EDITIONS = {name: number for name, number in Edition.items() if name in ("EDITION_2023", "EDITION_2024")}
_OPTIONS = re.compile(r"\.google\.protobuf\.[A-Z][A-Za-z]*Options\Z").match


@dataclass(frozen=True, slots=True)
class Loaded:
    """Files that were checked, in a pool of their own, with the provided files that they import."""

    pool: DescriptorPool
    files: tuple[FileDescriptorProto, ...]
    """The files of the pool in the order of imports, without provided ones, without comments and services, and without
    those that the type does not import. Equal types have equal bytes."""
    messages: Mapping[str, Descriptor]
    """The messages of `files` by full name, sorted, without the entries of maps."""

    def message_class(self, full_name: str) -> type[Message]:
        """Returns the class of a message of these files or of a provided one that they import. Raises KeyError if there
        is none."""
        return GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def descriptor_set(self) -> FileDescriptorSet:
        return FileDescriptorSet(file=self.files)


def load(files: FileDescriptorSet, *, root: str, status: str = "") -> Loaded:
    """Returns the classes of a type's files. `root` is the full name of the spec's message, `status` that of the
    status's (empty: none).

    Raises InvalidArgumentError with the file, the message and field at fault and the remedy, whatever the files are.
    Its metadata has `file` and `symbol` where they are known.
    """
    _check_bounds(files)
    given = _by_name(files.file)
    own = {name: file for name, file in given.items() if name not in provided.FILES}
    for name in given.keys() - own.keys():
        _check_provided(given[name])
    for file in own.values():
        _check_header(file)
        _check_imports(file, own)
    order = _in_order(own)
    symbols = Symbols(own)
    for name in order:
        _check_declarations(own[name], symbols)
    used = _reachable(own, _homes(symbols, root, status))
    return _build(own, symbols, [name for name in order if name in used], used)


def _check_bounds(files: FileDescriptorSet) -> None:
    """Raises InvalidArgumentError for more than any honest set has. Depth comes before the size, whose computation is
    recursive."""
    if not files.file:
        raise refusal("there are no files: give the compiled .proto file of the type")
    if len(files.file) > FILES_MAX:
        raise refusal(
            f"there are {len(files.file)} files, more than {FILES_MAX}: leave out those that are not imported"
        )
    budget = Budget()
    for file in files.file:
        count(file, budget)
    try:
        size = files.ByteSize()
    except EncodeError as error:
        raise refusal(f"the files cannot be encoded: {error}") from error
    if size > SET_BYTES_MAX:
        raise refusal(
            f"the files have {size} bytes, more than {SET_BYTES_MAX}: leave out comments (--include_source_info) and "
            "files that are not imported"
        )


def _by_name(files: Iterable[FileDescriptorProto]) -> dict[str, FileDescriptorProto]:
    """Returns copies of the files by name, without what Rube has no use for: comments and services."""
    found: dict[str, FileDescriptorProto] = {}
    for index, file in enumerate(files):
        name = text_of(file.name, f"the name of file {index}")
        if not _PATH.match(name) or len(name) > _PATH_CHARS_MAX:
            raise refusal(
                f"file {index} has the name {quoted(name)}: a name is a relative path of letters, digits, and _ - . +, "
                f"of at most {_PATH_CHARS_MAX} characters"
            )
        copy = FileDescriptorProto()
        copy.CopyFrom(file)
        copy.ClearField("source_code_info")
        del copy.service[:]
        if name in found and found[name] != copy:
            raise refusal("there are two files of this name, and they differ: leave one out", file=name)
        found[name] = copy
    return found


def _check_provided(file: FileDescriptorProto) -> None:
    """Raises InvalidArgumentError if a file that came with the type contradicts the one that this server has.

    The server's is used: another version of it may have fewer or more fields.
    """
    ours = {each.name: each.proto for each in declarations(provided.descriptor(file.name))}
    for name, _, proto, _ in declarations(file):
        if name in ours and not _agree(proto, ours[name]):
            raise refusal(
                f"{name} differs from the one that this server provides: leave {file.name} out, and compile against "
                "the server's",
                file=file.name,
                symbol=name,
            )


def _agree(
    given: DescriptorProto | EnumDescriptorProto,
    ours: DescriptorProto | EnumDescriptorProto,
) -> bool:
    if isinstance(given, EnumDescriptorProto) and isinstance(ours, EnumDescriptorProto):
        numbers = {value.name: value.number for value in ours.value}
        return all(numbers.get(value.name, value.number) == value.number for value in given.value)
    if isinstance(given, DescriptorProto) and isinstance(ours, DescriptorProto):
        fields = {field.number: _shape(field) for field in ours.field}
        return all(fields.get(field.number, _shape(field)) == _shape(field) for field in given.field)
    return False


def _shape(field: FieldDescriptorProto) -> tuple[object, ...]:
    return field.name, field.type, field.label, field.type_name


def _check_header(file: FileDescriptorProto) -> None:
    """Raises InvalidArgumentError unless a file's syntax, edition and package are ones that a type can have."""
    name = file.name
    syntax = text_of(file.syntax, "the syntax", name)
    if syntax not in _SYNTAXES:
        raise refusal(f"the syntax {quoted(syntax)} is unknown; {suggestion(syntax, _SYNTAXES)}", file=name)
    if syntax == "editions" and file.edition not in _EDITIONS.values():
        raise refusal(
            f"the edition (number {file.edition}) is not one that this server reads ({', '.join(_EDITIONS)}): write "
            'one of them, or syntax = "proto3"',
            file=name,
        )
    package = text_of(file.package, "the package", name)
    if not package:
        raise refusal("there is no package: write one, such as `package acme;`", file=name)
    if not _PACKAGE.match(package) or len(package) > _PATH_CHARS_MAX:
        raise refusal(f"the package {quoted(package)} is no name: use letters, digits, underscores and dots", file=name)
    if len(file.options.uninterpreted_option):
        raise refusal("there are options that were not compiled: compile the .proto files anew", file=name)


def _check_imports(file: FileDescriptorProto, own: Mapping[str, FileDescriptorProto]) -> None:
    seen = set()
    for imported in imports_of(file):
        name = text_of(imported, "an import", file.name)
        if name == file.name:
            raise refusal("the file imports itself: remove the import", file=name)
        if name in seen:
            raise refusal(f"{name} is imported twice: remove one import", file=file.name)
        seen.add(name)
        if name not in own and name not in provided.FILES:
            raise refusal(
                f"the import {quoted(name)} is missing: give that file too (protoc --include_imports)"
                + _hint(name, {*own, *provided.FILES} - {file.name}),
                file=file.name,
            )
    if len(file.weak_dependency):
        raise refusal("there are weak imports: write `import` alone", file=file.name)
    for index in file.public_dependency:
        if not 0 <= index < len(file.dependency):
            raise refusal(f"import number {index} is public, and there is none: compile the file anew", file=file.name)


def _check_declarations(file: FileDescriptorProto, symbols: Symbols) -> None:
    visible = symbols.visible(file)

    def find(name: str, what: str) -> Declaration:
        found = symbols.declared.get(name)
        if found is None:
            raise refusal(
                f"{what} has the type {quoted(name)}, which is in none of the files: import the file that declares it"
                + _hint(name, symbols.declared),
                file=file.name,
                symbol=name,
            )
        if found.file not in visible:
            raise refusal(f"{what} has the type {name} of {found.file}: import that file", file=file.name, symbol=name)
        return found

    scope = Scope(file=file.name, syntax=_SYNTAXES[file.syntax], find=find)
    _check_extensions(scope, file.package, file.extension)
    for name, _, proto, nested in declarations(file):
        if isinstance(proto, EnumDescriptorProto):
            check_enum(scope, name, proto)
        else:
            check_message(scope, name, proto, nested=nested)
            _check_extensions(scope, name, proto.extension)


def _check_extensions(scope: Scope, within: str, extensions: Iterable[FieldDescriptorProto]) -> None:
    """Raises InvalidArgumentError unless each is an option: objects have no extensions."""
    for extension in extensions:
        name = f"{within}.{extension.name}"
        what = f"extension {name}"
        extendee = text_of(extension.extendee, f"the message that {what} extends", scope.file)
        if not _OPTIONS(extendee):
            raise scope.refusal(
                f"{what} extends {quoted(extendee.removeprefix('.'))}, and only options such as "
                "google.protobuf.FieldOptions can be: declare a field, or one of type google.protobuf.Any",
                name,
            )
        scope.find(extendee[1:], what)
        if extension.HasField("oneof_index") or not 1 <= extension.number <= NUMBER_MAX:
            raise scope.refusal(f"{what} has no number of 1 to {NUMBER_MAX}, or is in a oneof: correct it", name)
        check_field(scope, extension, what, name)


def _in_order(own: Mapping[str, FileDescriptorProto]) -> list[str]:
    """Returns the names of the files, each after those that it imports. Raises InvalidArgumentError for a cycle."""
    done: dict[str, None] = {}
    for first in sorted(own):
        path = [first]
        while path:
            file = own[path[-1]]
            following = next((name for name in imports_of(file) if name in own and name not in done), None)
            if following is None:
                done[path.pop()] = None
            elif following in path:
                cycle = [*path[path.index(following) :], following]
                raise refusal(
                    f"the files import each other ({' → '.join(cycle)}): move what both need to a file of its own",
                    file=following,
                )
            else:
                path.append(following)
    return list(done)


def _reachable(own: Mapping[str, FileDescriptorProto], homes: Iterable[str]) -> set[str]:
    """Returns the names of these files, and of those that they import, provided ones too."""
    found: set[str] = set()
    waiting = list(homes)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(imports_of(own[name]) if name in own else ())
    return found


def _homes(symbols: Symbols, root: str, status: str) -> list[str]:
    """Returns the names of the files in which the spec's and the status's message are declared."""
    if provided.is_reserved(root):
        raise refusal(f"{root} is a message of protobuf's or of Rube itself: declare one of your own", symbol=root)
    homes = []
    for what, name in (("spec", root), ("status", status)):
        if not name and what == "status":
            continue
        found = symbols.declared.get(name)
        if found is None:
            raise refusal(
                f"the {what}'s message {quoted(name)} is in none of the files: give the file that declares it"
                + _hint(name, symbols.declared),
                symbol=name,
            )
        if isinstance(found.proto, EnumDescriptorProto) or found.proto.options.map_entry:
            raise refusal(f"the {what} is {name}, which is no message: name one", file=found.file, symbol=name)
        homes.append(found.file)
    return homes


def _build(own: Mapping[str, FileDescriptorProto], symbols: Symbols, names: list[str], used: set[str]) -> Loaded:
    """Returns the files in a pool of their own. What protobuf itself still refuses is an InvalidArgumentError too."""
    pool = DescriptorPool()
    for name in symbols.provided_files(used):
        pool.AddSerializedFile(provided.serialized(name))
    files = tuple(own[name] for name in names)
    messages: dict[str, Descriptor] = {}
    for file in files:
        try:
            pool.AddSerializedFile(file.SerializeToString(deterministic=True))
            messages.update(_built(pool, file))
        except (TypeError, ValueError, KeyError, DecodeError, EncodeError) as error:
            raise refusal(f"protobuf refuses the file ({error}): compile it anew", file=file.name) from error
    return Loaded(pool, files, dict(sorted(messages.items())))


def _built(pool: DescriptorPool, file: FileDescriptorProto) -> Iterator[tuple[str, Descriptor]]:
    """Yields the messages of a file that is in the pool, after a look at what only the pool knows: the options, and the
    features that editions pass down."""
    built = pool.FindFileByName(file.name)
    for described, proto in [(built, file), *_parts(pool, file)]:
        if proto.HasField("options"):
            _read_options(pool, described.GetOptions())
    for name, _, proto, _ in declarations(file):
        if isinstance(proto, DescriptorProto):
            message = pool.FindMessageTypeByName(name)
            if file.syntax == "editions":
                _check_features(message, file.name)
            if not proto.options.map_entry:
                yield name, message


def _parts(pool: DescriptorPool, file: FileDescriptorProto) -> Iterator[tuple[Any, Any]]:
    """Yields what a file declares and can have options, as the pool's and as it was given."""
    for name, _, proto, _ in declarations(file):
        if isinstance(proto, EnumDescriptorProto):
            enum = pool.FindEnumTypeByName(name)
            yield enum, proto
            yield from ((enum.values_by_name[each.name], each) for each in proto.value)
        else:
            message = pool.FindMessageTypeByName(name)
            yield message, proto
            yield from ((message.fields_by_name[each.name], each) for each in proto.field)
            yield from ((message.oneofs_by_name[each.name], each) for each in proto.oneof_decl)


def _read_options(pool: DescriptorPool, options: Message) -> None:
    """Parses options with the extensions that the files import, so that none fails to parse later."""
    try:
        descriptor = pool.FindMessageTypeByName(options.DESCRIPTOR.full_name)
    except KeyError:
        return  # descriptor.proto is not imported, and so no extension of it
    waiting = [GetMessageClass(descriptor).FromString(options.SerializeToString())]
    while waiting:
        for field, value in waiting.pop().ListFields():
            entries = field.message_type is not None and field.message_type.GetOptions().map_entry
            values = list(value.values()) if entries else list(value) if field.is_repeated else [value]
            waiting.extend(each for each in values if isinstance(each, Message))
            if field.type == field.TYPE_STRING and any(isinstance(each, bytes) for each in values):
                raise ValueError(f"the option {field.full_name} is not UTF-8")


def _check_features(message: Descriptor, file: str) -> None:
    for field in message.fields:
        what = f"field {field.name} of message {message.full_name}"
        if field.is_required:
            raise refusal(
                f"{what} is required, and objects without it could not be read: set features.field_presence = EXPLICIT",
                file=file,
                symbol=field.full_name,
            )
        if field.type == field.TYPE_GROUP:
            raise refusal(
                f"{what} is encoded as a group: set features.message_encoding = LENGTH_PREFIXED",
                file=file,
                symbol=field.full_name,
            )


def _hint(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` if a known name is similar, else nothing. The search is bounded: names are the
    sender's."""
    candidates = [each for each in sorted(known) if len(each) <= _HINT_CHARS_MAX]
    last = name.rpartition(".")[2]
    same = [each for each in candidates if each.rpartition(".")[2] == last]
    hint = suggestion(name, (same or candidates)[:_HINTS_MAX])
    return f"; {hint}" if hint.startswith("did") else ""
