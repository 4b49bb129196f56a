"""The compiler of .proto files: protoc, as grpcio-tools brings it or as it is installed.

An adapter: it runs a program and reads files.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess  # noqa: TID251 (an adapter)
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.distribution import install_command

_PACKAGE = Path(__file__).parent
# The roots below which rube/api/….proto and buf/validate/validate.proto are.
_INCLUDES = (_PACKAGE.parent, _PACKAGE / "api" / "types" / "include")


def compile_protos(paths: Sequence[str], includes: Sequence[str] = ()) -> FileDescriptorSet:
    """Returns the files and all that they import, with their comments.

    Imports are looked up in `includes` and beside each file; `rube/`, `google/protobuf/` and `buf/validate/` are
    provided. Raises InvalidArgumentError with the compiler's own words, which name file, line and column, and
    FailedPreconditionError where there is no compiler.
    """
    for path in paths:
        if not Path(path).is_file():
            raise InvalidArgumentError(f"{path}: there is no such file: name a .proto file", field="file")
    roots = [Path(root) for root in includes] or sorted({Path(path).resolve().parent for path in paths})
    with tempfile.TemporaryDirectory(prefix="rube-types-") as directory:
        output = Path(directory) / "types.binpb"
        command = [
            *_protoc(),
            *(f"-I{root}" for root in (*roots, *_INCLUDES)),
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={output}",
            *(str(Path(path).resolve()) for path in paths),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode or not output.exists():
            raise InvalidArgumentError("\n".join(_worded(ended.stderr)) or f"{command[0]} failed", field="file")
        return FileDescriptorSet.FromString(output.read_bytes())


def _protoc() -> list[str]:
    if importlib.util.find_spec("grpc_tools") is not None:
        google = Path(str(importlib.util.find_spec("grpc_tools").origin)).parent / "_proto"  # type: ignore[union-attr]
        return [sys.executable, "-m", "grpc_tools.protoc", f"-I{google}"]
    if (found := shutil.which("protoc")) is not None:
        return [found]
    raise FailedPreconditionError(f"there is no compiler of .proto files here: {install_command('types')}")


def _worded(errors: str) -> Iterator[str]:
    """Yields the compiler's errors without its warnings of imports that only an option uses."""
    for line in errors.splitlines():
        if line.strip() and "warning:" not in line and "RuntimeWarning" not in line:
            yield line.strip()
