"""`ructl auth`: who I am, what I may do, and why."""

from __future__ import annotations

from typing import Final

import click

from rube.api import ExplainRequest, ExplainResponse, Subject, WhoAmIRequest, WhoAmIResponse
from rube.api.errors import RubeError
from rube.client.blocking import BlockingClient
from rube.console import WholeGroup
from ructl.completion import complete_namespaces
from ructl.connection import explain, one_line
from ructl.options import Target, server_options, server_target
from ructl.places import full_type_name

EXIT_DENIED: Final = 1
namespace_option = click.option(
    "-n", "--namespace", metavar="NAME", shell_complete=complete_namespaces, help="The namespace of the object."
)


@click.group("auth", cls=WholeGroup)
def command() -> None:
    """Asks who may do what.

    \b
    ructl auth whoami
    ructl auth can-i put Unit -n shop
    ructl auth why user/ada delete Unit -n shop till
    """


@command.command("whoami", short_help="Say who the server takes you for, and your roles.")
@server_options
def whoami(server: str | None, timeout_s: float | None) -> None:
    """Says who the server takes you for, and your roles.

    \b
    ructl auth whoami
    """
    target = server_target(server, timeout_s)
    response = _asked(target, WhoAmIRequest())
    assert isinstance(response, WhoAmIResponse)
    subject = response.subject
    kind = Subject.Kind.Name(subject.kind).lower()
    click.echo(f"{kind}/{subject.name}" if subject.name else kind)
    click.echo(f"known by: {subject.method or 'nothing'}")
    if subject.groups:
        click.echo(f"groups: {', '.join(subject.groups)}")
    if not response.enforced:
        click.echo("rights are off: everyone may do everything")
    for role in response.roles:
        click.echo(f"role: {role}")


@command.command("can-i", short_help="Say whether you may do something: exit code 0, or 1.")
@click.argument("verb")
@click.argument("type_name", metavar="TYPE")
@click.argument("name", required=False)
@namespace_option
@server_options
def can_i(
    verb: str, type_name: str, name: str | None, namespace: str | None, server: str | None, timeout_s: float | None
) -> None:
    """Says whether you may do something: `yes` and exit code 0, `no` and 1, or what it depends on and 0.

    \b
    ructl auth can-i put Unit -n shop
    ructl auth can-i delete Unit -n shop till && ructl delete -t Unit -n shop till

    Without a name: to an object of any name.
    """
    _explain(server_target(server, timeout_s), "", (), verb, type_name, name, namespace)


@command.command("why", short_help="Say why a caller may do something, or what is missing.")
@click.argument("subject", metavar="WHO")
@click.argument("verb")
@click.argument("type_name", metavar="TYPE")
@click.argument("name", required=False)
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group of WHO; repeat it.")
@namespace_option
@server_options
def why(
    subject: str,
    verb: str,
    type_name: str,
    name: str | None,
    groups: tuple[str, ...],
    namespace: str | None,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Says why a caller may do something, or what is missing: the rule that decides, or the remedy.

    \b
    ructl auth why user/ada delete Unit -n shop till
    ructl auth why user/ada put Node --group operators
    ructl auth why node/edge-1 get Unit -n shop till

    WHO is user/NAME, node/NAME, controller/NAME or anonymous. To ask about others takes the right to get roles and
    bindings. Exit codes are those of can-i.
    """
    _explain(server_target(server, timeout_s), subject, groups, verb, type_name, name, namespace)


def _explain(
    target: Target,
    subject: str,
    groups: tuple[str, ...],
    verb: str,
    type_name: str,
    name: str | None,
    namespace: str | None,
) -> None:
    request = ExplainRequest(
        subject=subject, verb=verb, type=full_type_name(type_name), namespace=namespace or "", name=name or ""
    )
    request.groups.extend(groups)
    response = _asked(target, request)
    assert isinstance(response, ExplainResponse)
    match response.answer:
        case ExplainResponse.ALLOWED:
            click.echo("yes: rights are off, everyone may do everything" if response.unenforced else "yes")
        case ExplainResponse.DEPENDS:
            click.echo("it depends on the object")
        case _:
            click.echo("no")
    for rule in response.rules:
        click.echo(f"  {rule}")
    if response.missing:
        click.echo(f"  {response.missing}")
    if response.answer == ExplainResponse.DENIED:
        raise click.exceptions.Exit(EXIT_DENIED)


def _asked(target: Target, request: WhoAmIRequest | ExplainRequest) -> WhoAmIResponse | ExplainResponse:
    try:
        with BlockingClient(target.endpoints, target.timeout_s, target.tls) as client:
            asked = client.who_am_i(request) if isinstance(request, WhoAmIRequest) else client.explain(request)
            try:
                asked.send(None)
            except StopIteration as ended:
                response: WhoAmIResponse | ExplainResponse = ended.value
                return response
    except RubeError as error:
        raise click.ClickException(one_line(explain(error, target))) from error
    raise AssertionError("it never waits")
