"""SimFabric: all hosts' network: connections, listeners, and the faults of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from rube.host import ServerOptions
from rube.sim.world.kernel import Death, SimHost, SimProcess, World
from rube.sim.world.network.connection import End, Narrator, Pipe
from rube.sim.world.network.cuts import Cuts
from rube.sim.world.network.frames import Frame, FrameKind
from rube.sim.world.network.links import LOOPBACK, Link, Route
from rube.sim.world.network.tls import TlsFiles
from rube.transport import ChannelOptions

HostRef = SimHost | str
EPHEMERAL_PORT_FIRST = 49152
PORT_MAX = 65535
HANDSHAKE_BYTES = 60
"""A TCP segment without data."""


class Listener:
    """A process's listening socket."""

    def __init__(
        self, process: SimProcess, options: ServerOptions, accept: Callable[[End, str, bool], None], loopback: bool
    ) -> None:
        self.process = process
        self.options = options
        self.accept = accept
        """Takes the server's end, the client's name, and whether the client's first bytes are those of TLS."""
        self.loopback = loopback
        """True if only the own host may connect."""


class Sockets:
    """The sockets that the operating system closes when a process dies."""

    def __init__(self, fabric: SimFabric, process: SimProcess) -> None:
        self._fabric = fabric
        self.ends: dict[End, None] = {}
        self.listeners: dict[tuple[str, str], Listener] = {}
        process.on_death(self._died)

    def _died(self, process: SimProcess, death: Death) -> None:
        for address in list(self.listeners):
            self._fabric.unlisten(address)
        for end in list(self.ends):
            end.process_died(death)
        self._fabric.buried(process)


class SimFabric:
    """The network of a World. Faults and links name hosts by name or by SimHost; times in seconds, rates as named."""

    def __init__(self, world: World, link: Link | None = None) -> None:
        """`link` is what every route between two hosts is like until `set_link`."""
        self.world = world
        self._link = link or Link()
        self._routes: dict[tuple[str, str], Route] = {}
        self._cuts = Cuts()
        self._listeners: dict[tuple[str, str], Listener] = {}
        self._sockets: dict[SimProcess, Sockets] = {}
        self._connections = 0
        self._ports: dict[str, int] = {}
        self._tls_files: dict[str, TlsFiles] = {}
        self.narrator: Narrator | None = None
        """Says in the trace's records what is sent; set it before anything connects. None: sends are not noted."""

    # Faults

    def partition(self, hosts_a: Iterable[HostRef], hosts_b: Iterable[HostRef], *, one_way: bool = False) -> None:
        """Lets nothing pass from `hosts_a` to `hosts_b`, nor back unless `one_way`."""
        names_a, names_b = self._names(hosts_a), self._names(hosts_b)
        self._record("partition", ",".join(names_a), ",".join(names_b), "one way" if one_way else "both ways")
        self._cuts.part(names_a, names_b)
        if not one_way:
            self._cuts.part(names_b, names_a)
        self._cut_routes()

    def unite(self, hosts_a: Iterable[HostRef], hosts_b: Iterable[HostRef]) -> None:
        """Ends partitions between the two groups, both ways; isolated hosts stay so."""
        names_a, names_b = self._names(hosts_a), self._names(hosts_b)
        self._record("unite", ",".join(names_a), ",".join(names_b))
        self._cuts.unite(names_a, names_b)
        self._cut_routes()

    def isolate(self, host: HostRef) -> None:
        """Cuts one host off from all others, also from hosts made later."""
        name = self.host(host).name
        self._record("isolate", name)
        self._cuts.isolate(name)
        self._cut_routes()

    def rejoin(self, host: HostRef) -> None:
        """Undoes `isolate`; partitions stay."""
        name = self.host(host).name
        self._record("rejoin", name)
        self._cuts.rejoin(name)
        self._cut_routes()

    def heal(self, hosts: Iterable[HostRef]) -> None:
        """Ends the isolation and every partition of these hosts; others that are isolated stay so."""
        names = self._names(hosts)
        self._record("heal", ",".join(names))
        self._cuts.heal(names)
        self._cut_routes()

    def heal_all(self) -> None:
        """Ends every isolation and partition."""
        self._record("heal-all")
        self._cuts.clear()
        self._cut_routes()

    def reach(self, a: str, b: str) -> bool:
        """Returns whether no isolation or partition is between two hosts, either way."""
        return not (self._cuts.block(a, b) or self._cuts.block(b, a))

    def set_link(
        self,
        a: HostRef,
        b: HostRef,
        *,
        latency_ms: float | None = None,
        jitter_ms: float | None = None,
        bandwidth_mbps: float | None = None,
        loss: float | None = None,
        one_way: bool = False,
    ) -> None:
        """Changes the given properties of the link between two hosts, in both directions unless `one_way`."""
        changes = {"latency_ms": latency_ms, "jitter_ms": jitter_ms, "bandwidth_mbps": bandwidth_mbps, "loss": loss}
        given = {name: value for name, value in changes.items() if value is not None}
        name_a, name_b = self.host(a).name, self.host(b).name
        self._record("link", name_a, name_b, ",".join(f"{name}={value}" for name, value in given.items()))
        for route in (self.route(name_a, name_b), self.route(name_b, name_a))[: 1 if one_way else 2]:
            route.link = replace(route.link, **given)

    def clog(self, a: HostRef, b: HostRef, seconds: float) -> None:
        """Holds back everything between two hosts, both ways, for `seconds`; nothing is lost."""
        name_a, name_b = self.host(a).name, self.host(b).name
        self._record("clog", name_a, name_b, round(seconds * 1e9))
        routes = (self.route(name_a, name_b), self.route(name_b, name_a))
        for route in routes:
            route.clogs += 1
        self.world.loop.after_ns(round(seconds * 1e9), self._unclog, routes)

    def reset_connections(self, a: HostRef, b: HostRef) -> None:
        """Breaks every connection between two hosts, as a firewall that sends resets to both ends does."""
        name_a, name_b = self.host(a).name, self.host(b).name
        self._record("reset-connections", name_a, name_b)
        pipes = self.route(name_a, name_b).pipes() + self.route(name_b, name_a).pipes()
        # All of them first: an end that hears of it closes the pipe to the other.
        ends = [pipe.receiver for pipe in pipes if isinstance(pipe, Pipe) and pipe.receiver is not None]
        for end in ends:
            end.arrived(Frame(FrameKind.RESET))

    def tls_files(self, host: HostRef) -> TlsFiles:
        """The TLS files of one host."""
        name = self.host(host).name
        return self._tls_files.setdefault(name, TlsFiles(name))

    # For SimNetwork, its channels and servers

    def route(self, source: str, target: str) -> Route:
        """The direction from one host to another."""
        route = self._routes.get((source, target))
        if route is None:
            rng = self.world.random(f"network/{source}/{target}")
            route = self._routes[source, target] = Route(LOOPBACK if source == target else self._link, rng)
            route.partitioned = self._cuts.block(source, target)
        return route

    def sockets(self, process: SimProcess) -> Sockets:
        """The table of what `process` holds open."""
        sockets = self._sockets.get(process)
        if sockets is None:
            sockets = self._sockets[process] = Sockets(self, process)
        return sockets

    def listen(self, host: SimHost, address: str, listener: Listener) -> bool:
        """Lets `listener` take connections to `address` (a port's digits or `unix:/path`); False if it is taken."""
        key = (host.name, address)
        if key in self._listeners:
            return False
        self._listeners[key] = listener
        self.sockets(listener.process).listeners[key] = listener
        return True

    def unlisten(self, key: tuple[str, str]) -> None:
        """Takes no new connections to that (host, address)."""
        listener = self._listeners.pop(key, None)
        if listener is not None:
            self.sockets_of(listener.process).pop(key, None)

    def buried(self, process: SimProcess) -> None:
        """A process is dead and its sockets are seen to."""
        self._sockets.pop(process, None)

    def sockets_of(self, process: SimProcess) -> dict[tuple[str, str], Listener]:
        """The listeners of a process that may be dead."""
        sockets = self._sockets.get(process)
        return sockets.listeners if sockets else {}

    def free_port(self, host: SimHost) -> int:
        """A port of `host` that was not given before."""
        port = self._ports.get(host.name, EPHEMERAL_PORT_FIRST)
        while (host.name, str(port)) in self._listeners:
            port += 1
        if port > PORT_MAX:
            port = EPHEMERAL_PORT_FIRST
        self._ports[host.name] = port + 1
        return port

    def datagram(self, source: SimHost, target: SimHost, what: str, arrived: Callable[[], None]) -> None:
        """Carry one segment of a handshake: it arrives once, or is lost while the route is blocked."""
        route = self.route(source.name, target.name)
        if self.narrator is not None:
            self.world.trace.note("send", source.name, target.name, what)
        if route.blocked:
            return

        def arrive() -> None:
            if not route.blocked and target.powered:
                self.world.trace.add("deliver", source.name, target.name, what)
                arrived()

        self.world.loop.after_ns(route.delay_ns(self.world.now_ns, HANDSHAKE_BYTES), arrive)

    def connect(
        self,
        process: SimProcess,
        target: SimHost,
        address: str,
        options: ChannelOptions,
        connected: Callable[[End], None],
        refused: Callable[[], None],
        *,
        secured: bool = False,
    ) -> None:
        """Begins a connection. `connected` gets the client's end, which still waits for the server's SETTINGS.
        `secured`: its client begins with a handshake of TLS."""
        source = process.host

        def refuse() -> None:
            self.datagram(target, source, "refuse", refused)

        def syn() -> None:
            listener = self._listeners.get((target.name, address))
            if listener is None or (listener.loopback and source is not target):
                refuse()
            else:
                listener.process.call_soon(accept, listener)

        def accept(listener: Listener) -> None:
            if not process.alive:
                return
            client, server = self._connection(process, listener, options)
            connected(client)
            listener.accept(server, f"{source.name}:{self._connections}", secured)

        self.datagram(source, target, f"connect {address}", syn)

    def _forget(self, end: End) -> None:
        """An end is closed: its process's death concerns it no more."""
        sockets = self._sockets.get(end.process)
        if sockets is not None:
            sockets.ends.pop(end, None)

    def _connection(self, process: SimProcess, listener: Listener, options: ChannelOptions) -> tuple[End, End]:
        self._connections += 1
        number = self._connections
        source, target = process.host, listener.process.host
        there = Pipe(self.world, self.route(source.name, target.name), number, source, target, self.narrator)
        back = Pipe(self.world, self.route(target.name, source.name), number, target, source, self.narrator)
        client = End(process, back, there, options.keepalive_s, options.keepalive_timeout_s, self._forget)
        promised = listener.options
        server = End(listener.process, there, back, promised.keepalive_s, promised.keepalive_timeout_s, self._forget)
        self.sockets(process).ends[client] = None
        self.sockets(listener.process).ends[server] = None
        return client, server

    def _cut_routes(self) -> None:
        """Block first and open then, so that nothing that an opened route carries passes where it no longer may."""
        opened = []
        for (source, target), route in self._routes.items():
            was, route.partitioned = route.partitioned, self._cuts.block(source, target)
            if was and not route.partitioned:
                opened.append(route)
        for route in opened:
            route.unblocked()

    def _unclog(self, routes: tuple[Route, Route]) -> None:
        for route in routes:
            route.clogs -= 1
            route.unblocked()

    def _record(self, fault: str, *fields: str | int) -> None:
        self.world.trace.add("fault", fault, *fields)

    def host(self, host: HostRef) -> SimHost:
        """The host of that name. Raises KeyError that lists the hosts there are."""
        if isinstance(host, SimHost):
            return host
        if host == self.world.observer.name:
            return self.world.observer
        for known in self.world.hosts:
            if known.name == host:
                return known
        raise KeyError(f"no host {host} in this world: {', '.join(self._all_names())}")

    def find_host(self, name: str) -> SimHost | None:
        """The host of that name, as a name service would say."""
        try:
            return self.host(name)
        except KeyError:
            return None

    def _names(self, hosts: Iterable[HostRef]) -> list[str]:
        return [self.host(host).name for host in hosts]

    def _all_names(self) -> list[str]:
        return [host.name for host in (*self.world.hosts, self.world.observer)]
