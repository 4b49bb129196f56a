"""The compilers of .proto files: protoc, as grpcio-tools brings it or as it is installed, and buf.

An adapter: it runs programs and reads files.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess  # noqa: TID251 (an adapter)
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.distribution import install_command

COMPILERS: Final = ("protoc", "buf")
"""The compilers that can be asked for; the first that is installed is the default."""
FILES_MAX: Final = 1000
"""The files that buf gets in one call."""
_PACKAGE = Path(__file__).parent
# The roots below which rube/api/….proto and buf/validate/validate.proto are.
_INCLUDES = (_PACKAGE.parent, _PACKAGE / "api" / "types" / "include")
_IMPORT: Final = re.compile(r"""^\s*import\s+(?:public\s+|weak\s+)?["']([^"']+)["']\s*;""", re.MULTILINE)
_PLACE: Final = re.compile(r"^(.+?)(:\d+:\d+):(?=\S)")
# Warnings, and lines of protobuf's log (absl).
_NOISE: Final = re.compile(r"warning:|RuntimeWarning|^WARNING: All log messages|^[IW]\d{4} ")


def compile_protos(paths: Sequence[str], includes: Sequence[str] = (), compiler: str = "") -> FileDescriptorSet:
    """Returns the files and all that they import, with their comments.

    Imports are looked up in `includes` and beside each file; `rube/`, `google/protobuf/` and `buf/validate/` are
    provided. `compiler` is one of COMPILERS, or empty. Raises InvalidArgumentError with the compiler's own words, which
    name file, line and column, and FailedPreconditionError where there is no compiler.
    """
    for path in paths:
        if not Path(path).is_file():
            raise InvalidArgumentError(f"{path}: there is no such file: name a .proto file", field="file")
    sources = [Path(path).resolve() for path in paths]
    roots = [Path(root).resolve() for root in includes] or sorted({source.parent for source in sources})
    for path, source in zip(paths, sources, strict=True):
        if not any(source.is_relative_to(root) for root in roots):
            raise InvalidArgumentError(
                f"{path} is below none of the directories for imports ({', '.join(includes)}): name one above it, too",
                field="file",
            )
    with tempfile.TemporaryDirectory(prefix="rube-types-") as directory:
        output = Path(directory) / "types.binpb"
        command, where = _command(compiler, sources, roots, output)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=where)
        if ended.returncode or not output.exists():
            errors = "\n".join(_worded(ended.stderr, roots))
            raise InvalidArgumentError(errors or f"{command[0]} failed", field="file")
        return FileDescriptorSet.FromString(output.read_bytes())


def python_classes(path: Path, root: Path) -> str:
    """Returns the text of the Python module `…_pb2` of a .proto file below `root`. Raises the errors of
    `compile_protos`."""
    with tempfile.TemporaryDirectory(prefix="rube-types-") as directory:
        command = [*_program("protoc"), *(f"-I{each}" for each in (root, *_INCLUDES)), f"--python_out={directory}"]
        ended = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise InvalidArgumentError("\n".join(_worded(ended.stderr, [root])), field="file")
        return (Path(directory) / path.relative_to(root)).with_name(f"{path.stem}_pb2.py").read_text()


def _command(
    compiler: str, sources: Sequence[Path], roots: Sequence[Path], output: Path
) -> tuple[list[str], Path | None]:
    """Returns the command that writes `output`, and the directory to run it in."""
    program = _program(compiler)
    roots = (*roots, *_INCLUDES)
    if program[-1] != "build":
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={output}"]
        return [*program, *(f"-I{root}" for root in roots), *options, *map(str, sources)], None
    module = output.parent / "module"
    names = [_name(source, roots) for source in sources]
    _copy(names, roots, module)
    only = [option for name in names for option in ("--path", name)]
    return [*program, ".", "--as-file-descriptor-set", "--output", str(output), *only], module


def _program(compiler: str) -> list[str]:
    """Returns the beginning of a command line."""
    if compiler in ("", "protoc"):
        if (tools := importlib.util.find_spec("grpc_tools")) is not None:
            google = Path(str(tools.origin)).parent / "_proto"
            return [sys.executable, "-m", "grpc_tools.protoc", f"-I{google}"]
        if (found := shutil.which("protoc")) is not None:
            return [found]
    # Beside this interpreter too: an environment that is not activated.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    if compiler in ("", "buf") and (found := shutil.which("buf", path=path)) is not None:
        return [found, "build"]
    raise FailedPreconditionError(
        f"there is no {compiler or 'compiler of .proto files'} here: {install_command('types')}"
        + ("" if compiler == "protoc" else ", or install buf (https://buf.build/docs/cli/installation/)")
    )


def _copy(names: Sequence[str], roots: Sequence[Path], module: Path) -> None:
    """Copies files, and their imports that are below a root, into one module of buf, which knows no roots.

    An import that is not found is left to the compiler's own words; it brings google/protobuf/.
    """
    waiting = [*names]
    module.mkdir()
    for _ in range(FILES_MAX):
        if not waiting:
            return
        name = waiting.pop()
        found = next((root / name for root in roots if (root / name).is_file()), None)
        target = module / name
        if found is None or target.exists() or not target.resolve().is_relative_to(module.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        text = found.read_bytes()
        target.write_bytes(text)
        waiting += (
            each for each in _IMPORT.findall(text.decode(errors="replace")) if not each.startswith("google/protobuf/")
        )
    raise InvalidArgumentError(f"the files import more than {FILES_MAX} others: push fewer of them at a time")


def _name(source: Path, roots: Sequence[Path]) -> str:
    """Returns the path of a source below the first root that it is below, by which others import it."""
    return str(next(source.relative_to(root) for root in roots if source.is_relative_to(root)))


def _worded(errors: str, roots: Sequence[Path]) -> Iterator[str]:
    """Yields the compiler's errors without its warnings and its own log's lines; files by their paths."""

    def placed(match: re.Match[str]) -> str:
        name, place = match.groups()
        return f"{next((root / name for root in roots if (root / name).is_file()), name)}{place}: "

    for line in errors.splitlines():
        if line.strip() and not _NOISE.search(line):
            yield _PLACE.sub(placed, line.strip())
