"""`rube examples`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from rube.shipped import shipped_directory


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False, path_type=Path))
def examples(directory: Path | None) -> None:
    """List the examples' files, or copy them into DIRECTORY, where nothing is overwritten.

    \b
    Example:
      rube examples .
      ructl put 01-hello-unit/hello.textproto
    """
    source = shipped_directory("examples")
    files = sorted(path.relative_to(source) for path in source.rglob("*") if _is_example(path))
    if directory is None:
        click.echo("\n".join(map(str, files)))
        return
    if there := [str(directory / file) for file in files if (directory / file).exists()]:
        raise click.ClickException(f"{there[0]} is there already: name a directory that has no such file")
    try:
        for file in files:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, directory / file)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or directory}: {error.strerror}") from error
    click.echo("\n".join(f"{directory / file}" for file in files))


def _is_example(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
