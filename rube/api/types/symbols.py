"""The full names that a set of files declares, and what each file may name of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto

from rube.api.types import provided
from rube.api.types.declarations import Declaration, declarations, identifier_of, refusal


def imports_of(file: FileDescriptorProto) -> list[str]:
    """Returns the names of a file's imports, those for its options too."""
    return [*file.dependency, *getattr(file, "option_dependency", ())]


class Symbols:
    """The declarations of a set's files and of the provided files that they import, by full name."""

    def __init__(self, own: Mapping[str, FileDescriptorProto]) -> None:
        self._files: dict[str, FileDescriptorProto] = {}
        self.declared: dict[str, Declaration] = {}
        self._homes: dict[str, str] = {}
        """The file of every full name, also of fields and values; empty for a package."""
        for name in sorted(own):
            self._add_own(own[name])
        for name in sorted({name for file in own.values() for name in imports_of(file)} - own.keys()):
            self._add_provided(name)

    def visible(self, file: FileDescriptorProto) -> frozenset[str]:
        """Returns the names of the files whose declarations a file can name: itself, its imports, and what those import
        publicly."""
        found = {file.name, *file.dependency}
        waiting = list(file.dependency)
        while waiting:
            imported = self._files[waiting.pop()]
            public = {imported.dependency[index] for index in imported.public_dependency} - found
            found |= public
            waiting.extend(public)
        return frozenset(found)

    def provided_files(self, names: Iterable[str]) -> Iterator[str]:
        """Yields the provided ones of some files and what those import, imports first."""
        done = set()
        waiting = [name for name in sorted(names, reverse=True) if name in provided.FILES]
        while waiting:
            imports = [each for each in self._files[waiting[-1]].dependency if each not in done]
            if imports:
                waiting.extend(imports)
            elif (name := waiting.pop()) not in done:
                done.add(name)
                yield name

    def _add_provided(self, name: str) -> None:
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in self._files:
                file = self._files[name] = provided.descriptor(name)
                self.declared.update((each.name, each) for each in declarations(file))
                waiting.extend(file.dependency)

    def _add_own(self, file: FileDescriptorProto) -> None:
        self._files[file.name] = file
        parts = file.package.split(".")
        for end in range(1, len(parts) + 1):
            self._take_package(".".join(parts[:end]), file)
        for declaration in declarations(file):
            self._take(declaration.name, file)
            self.declared[declaration.name] = declaration
            for name in _names_within(declaration):
                self._take(name, file)
        for extension in file.extension:
            self._take(f"{file.package}.{identifier_of(extension.name, 'an extension', file.name)}", file)

    def _take(self, name: str, file: FileDescriptorProto) -> None:
        if provided.is_reserved(name):
            raise refusal(
                f"{name} is in a package of protobuf's or of Rube itself ({', '.join(provided.PACKAGES)}): use a "
                "package of your own",
                file=file.name,
                symbol=name,
            )
        if (home := self._homes.get(name)) is not None:
            also = {"": "as a package too", file.name: "twice"}.get(home, f"in {home} too")
            raise refusal(f"{name} is declared {also}: rename one", file=file.name, symbol=name)
        self._homes[name] = file.name

    def _take_package(self, name: str, file: FileDescriptorProto) -> None:
        if home := self._homes.setdefault(name, ""):
            raise refusal(f"the package {name} is a declaration in {home}: rename one", file=file.name, symbol=name)


def _names_within(declaration: Declaration) -> Iterator[str]:
    """Yields the full names of fields, oneofs and extensions in a message, and of the values of an enum."""
    name, file, proto, _ = declaration
    if isinstance(proto, EnumDescriptorProto):
        scope = name.rpartition(".")[0]
        yield from (f"{scope}.{identifier_of(each.name, f'a value of enum {name}', file)}" for each in proto.value)
        return
    for what, parts in (("a field", proto.field), ("a oneof", proto.oneof_decl), ("an extension", proto.extension)):
        yield from (f"{name}.{identifier_of(part.name, f'{what} of message {name}', file)}" for part in parts)
