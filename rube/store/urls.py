"""Store URLs: the kind of store, its place, its user, its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from rube.api.addresses import port_number, split_host_port
from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion

_PATH_FORM = "{0}:///relative/path or {0}:////absolute/path"
_RAFT_FORM = "raft+{0}:///path?name=a&listen=HOST:PORT&members=a=HOST:PORT,b=…,c=… (or join=HOST:PORT)"
FORMS: Mapping[str, str] = {
    "memory": "memory:",
    "sqlite": _PATH_FORM.format("sqlite"),
    "rocksdb": _PATH_FORM.format("rocksdb"),
    "raft+sqlite": _RAFT_FORM.format("sqlite"),
    "raft+rocksdb": _RAFT_FORM.format("rocksdb"),
    "etcd": "etcd://[user@]host:2379[,host:2379…][/prefix][?option=value&…]",
    "mysql": "mysql://user@host[:3306]/database[?option=value&…]",
}
"""Scheme: the form of its URLs."""
_PORTS = {"etcd": 2379, "mysql": 3306}
# The options after the question mark. Passwords come from a file, so that no process list shows them.
_TLS_OPTIONS = ("ca", "cert", "key", "tls")
_RAFT = "raft+"
# Digits of numbers; and characters of a wrong value that an error repeats.
_SHOWN_MAX = 200
MEMBER_NUMBERS = (
    "tick_ms",
    "election_ticks",
    "heartbeat_ticks",
    "patience_ms",
    "message_bytes_max",
    "inflight_messages_max",
    "inflight_bytes_max",
    "uncommitted_bytes_max",
    "piece_bytes_max",
    "log_entries_kept",
    "log_bytes_kept",
    "caught_up_entries",
)
"""The options of a member (rube.group.MemberConfig) that are numbers from 1 on; times in ms."""
MEMBER_FLAGS = ("pre_vote", "check_quorum")
"""The options of a member that are true or false."""
MEMBER_PARAMETERS = (*MEMBER_NUMBERS, *MEMBER_FLAGS, "read_mode")
"""All of these, and `read_mode`, which is safe or lease-based."""
_MEMBER_OPTIONS = ("name", "listen", "address", "members", "join", *MEMBER_PARAMETERS)
_OPTIONS = {
    "raft+sqlite": _MEMBER_OPTIONS,
    "raft+rocksdb": _MEMBER_OPTIONS,
    "etcd": (*_TLS_OPTIONS, "password_file"),
    "mysql": (*_TLS_OPTIONS, "password_file"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """The parts of a store's URL. `str()` returns it without the password, fit for logs and error messages."""

    scheme: str
    path: str = ""
    """For an engine, and a member of a group: the file or directory. For etcd: the prefix of all keys, without slashes
    at its ends. For a SQL store: the database."""
    servers: tuple[str, ...] = ()
    """The addresses of a server: "host:port" each."""
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_engine(self) -> bool:
        """True if it names an engine (`rube.host.Storage` opens those) instead of a server or a group."""
        return not self.servers and not self.is_member

    @property
    def is_member(self) -> bool:
        """True if it names a member of a replicated group."""
        return self.scheme.startswith(_RAFT)

    @property
    def engine_url(self) -> str:
        """The URL of a member's engine."""
        return f"{self.scheme.removeprefix(_RAFT)}:///{self.path}"

    def option(self, name: str) -> str:
        """Returns its value; "" if it is missing."""
        return dict(self.options).get(name, "")

    def __str__(self) -> str:
        if self.scheme == "memory":
            return f"memory:{self.path}"
        query = "?" + "&".join(f"{name}={value}" for name, value in self.options) if self.options else ""
        if not self.servers:
            return f"{self.scheme}:///{self.path}{query}"
        user = f"{self.user}@" if self.user else ""
        path = f"/{self.path}" if self.path else ""
        return f"{self.scheme}://{user}{','.join(self.servers)}{path}{query}"


def parse_store_url(url: str) -> StoreUrl:
    """Parses a URL. Raises InvalidArgumentError that says what is wrong, gives the form, and lists the known
    schemes."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in FORMS:
        raise InvalidArgumentError(_unknown(url, scheme if colon else ""))
    if scheme == "memory":
        return StoreUrl(scheme=scheme, path=rest)
    return _server(url, scheme, rest) if scheme in _PORTS else _engine(url, scheme, rest)


def _unknown(url: str, scheme: str) -> str:
    """Returns the error text for an unknown scheme; docs/reference/stores.md has the full forms."""
    shown = _without_password(url)
    if not scheme:
        return f"store URL {shown[:_SHOWN_MAX]!r} has no kind: for a file write sqlite:///{shown[:_SHOWN_MAX]}"
    near = suggestion(scheme, FORMS)
    kinds = ", ".join(FORMS)
    return f"store URL {shown[:_SHOWN_MAX]!r} is of no known kind; " + (
        near if near.startswith("did") else f"write one of {kinds}, such as sqlite:////var/lib/rubeapiserver/store.db"
    )


def _engine(url: str, scheme: str, rest: str) -> StoreUrl:
    place, question, query = rest.partition("?") if scheme.startswith(_RAFT) else (rest, "", "")
    path = place.removeprefix("///")
    if "?" in place:
        raise InvalidArgumentError(f"store URL {url!r} has options, and {scheme} takes none: write {FORMS[scheme]}")
    if not path.isprintable():
        raise InvalidArgumentError(
            f"store URL {url[:_SHOWN_MAX]!r} has a character that no file name has: leave it out"
        )
    if path == place or path in ("", "/"):
        raise InvalidArgumentError(f"store URL {url!r} names no file: write {FORMS[scheme]}")
    return StoreUrl(scheme=scheme, path=path, options=_options(url, scheme, query) if question else ())


def _server(url: str, scheme: str, rest: str) -> StoreUrl:
    place, _, query = rest.removeprefix("//").partition("?")
    authority, _, path = place.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":") if at else ("", "", "")
    servers = tuple(_server_address(url, scheme, host) for host in hosts.split(","))
    path = unquote(path.strip("/"))
    if scheme == "mysql" and (not path or "/" in path):
        raise _wrong(url, scheme, "names no database")
    if scheme == "mysql" and len(servers) > 1:
        raise _wrong(url, scheme, "names more than one server")
    return StoreUrl(
        scheme=scheme,
        path=path,
        servers=servers,
        user=unquote(user),
        password=unquote(password),
        options=_options(url, scheme, query),
    )


def _server_address(url: str, scheme: str, text: str) -> str:
    host, port = split_host_port(text)
    if not host:
        raise _wrong(url, scheme, "names no host")
    if not port and not text.endswith(":"):
        port = str(_PORTS[scheme])
    if not port_number(port):
        raise _wrong(url, scheme, f"has the port {port[:_SHOWN_MAX]!r}, which is no number from 1 to 65535")
    return f"{host}:{port}"


def _options(url: str, scheme: str, query: str) -> tuple[tuple[str, str], ...]:
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise _wrong(url, scheme, f"has options that are not written name=value: {query!r}") from error
    for number, (name, value) in enumerate(options):
        if name not in _OPTIONS[scheme]:
            raise _wrong(url, scheme, f"has the unknown option {name!r}; known are {', '.join(_OPTIONS[scheme])}")
        if name in dict(options[:number]):
            raise _wrong(url, scheme, f"has the option {name!r} twice")
        if name == "tls" and value != "true":
            raise _wrong(url, scheme, f"has tls={value!r}: write tls=true, or leave it out")
    return tuple(options)


def _wrong(url: str, scheme: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"store URL {_without_password(url)!r} {what}: write {FORMS[scheme]}")


def _without_password(url: str) -> str:
    start, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    if not separator or not at or ":" not in credentials:
        return url
    return f"{start}://{credentials.partition(':')[0]}:…@{hosts}{slash}{path}"
