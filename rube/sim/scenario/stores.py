"""The stores of a scenario's apiservers: on a disk of their own, an etcd that they share, or replicated."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api.errors import InvalidArgumentError
from rube.raft.config import ReadMode
from rube.sim.etcd import CLIENT_PORT
from rube.sim.scenario.replicas import controller_replicas
from rube.sim.scenario.scenario_pb2 import LEASE_BASED, Cluster, Raft
from rube.sim.scenario.yamlproto import Path, Source, suggest
from rube.store.replicated.backend import member_config
from rube.store.urls import MEMBER_FLAGS, MEMBER_NUMBERS, StoreUrl, parse_store_url

MEMBERS_ALLOWED = (1, 3, 5)
RAFT_MEMBERS_MAX = 7
RAFT_PORT = 7824
RAFT_PATH = "//var/lib/rube/apiserver.db"
LEADER = "leader"
"""The word in place of a host's name in a fault that means the one of `may_lead` that leads then."""
_ADD_ETCD = "add `etcd: {members: 3}` to `cluster`"


def etcd_members(cluster: Cluster) -> list[str]:
    """The hosts of the cluster's etcd; none without one."""
    if not cluster.HasField("etcd") or cluster.etcd.members not in MEMBERS_ALLOWED:
        return []
    return [f"etcd-{number + 1}" for number in range(cluster.etcd.members)]


def may_lead(cluster: Cluster) -> list[str]:
    """The hosts that `leader` may stand for: those of the apiservers' group, of the etcd or of the replicated
    controllers, the first of these that there is."""
    return raft_members(cluster) or etcd_members(cluster) or controller_replicas(cluster)


def etcd_url(cluster: Cluster) -> str:
    """The store URL of the cluster's etcd, with all of its members."""
    return f"etcd://{','.join(f'{name}:{CLIENT_PORT}' for name in etcd_members(cluster))}"


def raft_members(cluster: Cluster) -> list[str]:
    """The hosts of the replicated group; none without one."""
    return [f"api-{number + 1}" for number in range(min(cluster.raft.members, RAFT_MEMBERS_MAX))]


def raft_url(cluster: Cluster, name: str) -> str:
    """The store URL of a member of the replicated group."""
    options = (
        ("name", name),
        ("listen", f"0.0.0.0:{RAFT_PORT}"),
        ("members", ",".join(f"{member}={member}:{RAFT_PORT}" for member in raft_members(cluster))),
        *_parameters(cluster.raft),
    )
    return str(StoreUrl(scheme="raft+sqlite", path=RAFT_PATH.removeprefix("/"), options=options))


def _parameters(raft: Raft) -> Iterator[tuple[str, str]]:
    """Yields the given ones, as the URL has them."""
    for option in MEMBER_NUMBERS:
        name = option.removesuffix("_ms")
        number = getattr(raft, name).ToMilliseconds() if name != option else getattr(raft, option)
        if number:
            yield option, str(number)
    for flag in MEMBER_FLAGS:
        if raft.HasField(flag):  # type: ignore[arg-type]  # a name of MEMBER_FLAGS
            yield flag, str(getattr(raft, flag)).lower()
    if raft.read_mode == LEASE_BASED:
        yield "read_mode", ReadMode.LEASE_BASED.value


def check_raft(cluster: Cluster, source: Source) -> None:
    """Notes in `source` the errors of the replicated group."""
    raft, path = cluster.raft, ("cluster", "raft")
    if not 1 <= raft.members <= RAFT_MEMBERS_MAX:
        source.error((*path, "members"), f"{raft.members} members: write 1 to {RAFT_MEMBERS_MAX}")
    if cluster.HasField("etcd"):
        source.error(path, "a replicated group and an etcd: leave one out")
    elif [apiserver.store for apiserver in cluster.apiservers] != [raft_url(cluster, n) for n in raft_members(cluster)]:
        source.error(path, "a replicated group makes its apiservers itself: leave `apiservers` out")
    for name in ("tick", "patience"):
        if raft.HasField(name) and getattr(raft, name).ToMilliseconds() < 1:
            source.error((*path, name), "impossible time: write at least 1ms")
            return
    try:
        member_config(parse_store_url(raft_url(cluster, next(iter(raft_members(cluster)), ""))))
    except InvalidArgumentError as error:
        source.error(path, error.message)


def check_stores(cluster: Cluster, source: Source) -> None:
    """Notes in `source` the errors of the etcd and of the apiservers' stores."""
    if cluster.HasField("etcd") and cluster.etcd.members not in MEMBERS_ALLOWED:
        source.error(("cluster", "etcd", "members"), f"{cluster.etcd.members} members: write 1, 3 or 5")
        return
    if cluster.HasField("raft"):
        check_raft(cluster, source)
        return
    urls: list[StoreUrl] = []
    for index, apiserver in enumerate(cluster.apiservers):
        path: Path = ("cluster", "apiservers", index, "store")
        try:
            url = parse_store_url(apiserver.store)
        except InvalidArgumentError as error:
            source.error(path, error.message)
            return
        _check_store(url, path, cluster, source)
        urls.append(url)
    if len(urls) < 2:
        return
    for index, url in enumerate(urls):
        if url.is_engine:
            source.error(
                ("cluster", "apiservers", index, "store"),
                f"several apiservers need a store that they share, and {url} is on one host",
                hint=f": write `store: etcd://etcd-1:{CLIENT_PORT}`, and {_ADD_ETCD}",
            )
            return
        if url.path != urls[0].path:
            source.error(
                ("cluster", "apiservers", index, "store"),
                f'{url} has the prefix "{url.path}", and the first apiserver\'s store "{urls[0].path}"',
                hint=": several apiservers share one store",
            )


def _check_store(url: StoreUrl, path: Path, cluster: Cluster, source: Source) -> None:
    if url.is_engine:
        return
    if url.scheme != "etcd":
        source.error(path, f"no {url.scheme} server is simulated", hint=f": write sqlite:////path, or {_ADD_ETCD}")
        return
    if url.user or url.options:
        source.error(path, "the simulated etcd has neither users nor TLS", hint=": write host and port alone")
    known = [f"{name}:{CLIENT_PORT}" for name in etcd_members(cluster)]
    for server in url.servers:
        if server not in known:
            hint = suggest(server, known) if known else f": {_ADD_ETCD}"
            source.error(path, f'unknown etcd member "{server}"', hint=hint)
