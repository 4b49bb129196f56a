"""`rube join` and `rubelet join`: a machine becomes part of a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from rube.api.errors import RubeError
from rube.cli.joining import Line
from rube.cli.joining import join as join_cluster

IDENTITY_DIRECTORY: Final = "tls"
"""A node's identity is in there, below its --data."""


@click.command()
@click.argument("identity", metavar="KIND/NAME")
@click.argument("line", metavar="LINE")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="For the three files.")
@click.option("--host", "hosts", metavar="NAME", multiple=True, help="A name or address that it serves at; repeat it.")
def join(identity: str, line: str, out: Path, hosts: tuple[str, ...]) -> None:
    """Joins a cluster as an apiserver, a controller or a relay: makes a key here, and gets a certificate for it.

    \b
    Example:
      rube join member/rube-2 rube1.…@10.0.0.1:7823 --host 10.0.0.2 --out /etc/rube/server
      rube apiserver --tls /etc/rube/server --listen 0.0.0.0:7823 --store 'raft+sqlite:///…'

    LINE is what 'rube token create --member rube-2' prints. The daemon renews the certificate by itself.
    """
    kind, _, name = identity.partition("/")
    become(kind, name, line, out, hosts)
    click.echo(f"joined as {identity}: {out}")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.argument("line", metavar="LINE")
@click.option("--only", is_flag=True, help="End once it has joined.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF rubelet]")
def join_node(line: str, only: bool, options: tuple[str, ...]) -> None:
    """Joins this machine to a cluster as a node, and runs its rubelet.

    \b
    Examples:
      rubelet join rube1.…@10.0.0.1:7823
      rubelet join rube1.…@10.0.0.1:7823 --only --node edge-7 --data /var/lib/rube

    LINE is what 'rube init' and 'rube token create --node …' print. The certificate is in DATA/tls: later a plain
    'rubelet' finds it there, with the server's address, and renews it.
    """
    from rube.cli.rubelet import rubelet

    wanted = rubelet.make_context("rubelet", list(options)).params
    directory = Path(wanted["data"]) / IDENTITY_DIRECTORY
    become("node", wanted["node"], line, directory, ())
    click.echo(f"joined as node/{wanted['node']}: {directory}")
    if not only:
        sys.stdout.flush()
        rubelet.main(list(options), "rubelet")


def become(kind: str, name: str, text: str, directory: Path, hosts: tuple[str, ...]) -> None:
    """Joins as that identity. Raises click.ClickException."""
    try:
        from rube.trust import Identity

        join_cluster(Line.parse(text), Identity(kind=kind, name=name, names=hosts), directory)
    except RubeError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory}: {error.strerror}") from error
