"""`rube new`: begins a project."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from pathlib import Path

import click

from rube.api.errors import RubeError
from rube.api.keys import is_name
from rube.console import WholeGroup

_TEMPLATES = Path(__file__).parents[1] / "templates" / "controller"
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
FILES = {
    "README.md": "README.md.tmpl",
    "pyproject.toml": "pyproject.toml.tmpl",
    "chaos.yaml": "chaos.yaml.tmpl",
    "objects.textproto": "objects.textproto.tmpl",
    "@module@/@module@.proto": "type.proto.tmpl",
    "@module@/controller.py": "controller.py.tmpl",
    "tests/test_controller.py": "test_controller.py.tmpl",
}
"""The files of a project, each with its template."""
NAME_CHARS_MAX = 40
"""Units and modules have longer names, which have limits of their own."""


@click.group("new", cls=WholeGroup)
def new() -> None:
    """Begins a project of your own.

    \b
    rube new controller greeter
    """


@new.command("controller", short_help="Begin a controller: type, decide, tests, scenario.")
@click.argument("name", metavar="NAME")
@click.argument("directory", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@click.option(
    "--package", default="example", show_default=True, metavar="PACKAGE", help="The .proto package of the type."
)
def controller(name: str, directory: Path | None, package: str) -> None:
    """Writes a small project into DIR, or into ./NAME: a type of one's own, a controller of it, tests, a scenario with
    chaos, a README and a pyproject.toml. It passes its own tests. Nothing is overwritten.

    \b
    Example:
      rube new controller greeter
      cd greeter
      python -m pytest -q
      rube sim chaos.yaml
    """
    words = _words(name, package)
    root = directory if directory is not None else Path(name)
    texts = {_filled(file, words): _filled((_TEMPLATES / tmpl).read_text(), words) for file, tmpl in FILES.items()}
    module = words["@module@"]
    texts[f"{module}/__init__.py"] = f'"""The type {package}.{words["@Type@"]} and its controller."""\n'
    texts[f"{module}/{module}_pb2.py"] = _classes(texts[f"{module}/{module}.proto"], module)
    if there := [str(root / file) for file in sorted(texts) if (root / file).exists()]:
        raise click.ClickException(f"{there[0]} is there already: name a directory that has no such file")
    try:
        for file in sorted(texts):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(texts[file])
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or root}: {error.strerror}") from error
    for file in sorted(texts):
        click.echo(root / file)
    click.echo(f"\nNext: cd {root} && python -m pytest -q && rube sim chaos.yaml", err=True)


def _words(name: str, package: str) -> dict[str, str]:
    """Returns what stands for the placeholders. Raises click.UsageError for names that some part cannot have."""
    module = name.replace("-", "_")
    if not is_name(name) or not name[0].isalpha():
        raise click.UsageError(
            f"{name!r} is no name for a controller: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
        )
    if len(name) > NAME_CHARS_MAX:
        raise click.UsageError(f"{name!r} is longer than {NAME_CHARS_MAX} characters: choose a shorter name")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise click.UsageError(f"there is a Python module {module!r} already: choose another name")
    if not _PACKAGE.match(package):
        raise click.UsageError(
            f"--package {package!r} is no .proto package: write lower-case words with dots, as acme.v1"
        )
    from rube.api.types.provided import is_reserved

    if is_reserved(package):
        raise click.UsageError(f"--package {package!r} is reserved for Rube and protobuf: choose another one")
    camel = "".join(word[:1].upper() + word[1:] for word in name.split("-"))
    return {"@name@": name, "@module@": module, "@Type@": camel, "@package@": package}


def _filled(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text


def _classes(proto: str, module: str) -> str:
    """Returns the Python module of a .proto file."""
    from rube.compiler import python_classes

    root = Path(tempfile.mkdtemp(prefix="rube-new-"))
    try:
        path = root / module / f"{module}.proto"
        path.parent.mkdir()
        path.write_text(proto)
        return python_classes(path, root)
    except RubeError as error:
        raise click.ClickException(error.message) from error
    finally:
        shutil.rmtree(root)
