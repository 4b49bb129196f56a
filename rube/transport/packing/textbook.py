"""The objects that the dictionary is trained on: services as textbooks and distributions describe them, with their
nodes and events.

`python -m rube.transport.packing.textbook` writes the dictionary anew. Another dictionary needs another name
(`form.NAME`), since clients and servers of different versions meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import zstandard
from google.protobuf.message import Message

from rube.api import (
    CoreEvent,
    Event,
    Install,
    Key,
    ListResponse,
    Metadata,
    Node,
    NodeStatus,
    Object,
    PutRequest,
    Service,
    Unit,
    UnitStatus,
    WatchResponse,
)
from rube.api.types import pack
from rube.transport.packing.form import DICTIONARY, DICTIONARY_ID

DICTIONARY_BYTES = 16 * 1024
SAMPLES = 400
_BEGIN_S = 1_790_000_000
_SERVICES = (
    # name, description, command, user, type, restart
    (
        "nginx",
        "A high performance web server and reverse proxy",
        "/usr/sbin/nginx -g 'daemon off;'",
        "www-data",
        5,
    ),
    (
        "postgresql",
        "PostgreSQL database server",
        "/usr/bin/postgres -D /var/lib/postgresql",
        "postgres",
        5,
    ),
    ("redis-server", "Advanced key-value store", "/usr/bin/redis-server /etc/redis/redis.conf", "redis", 5),
    ("mariadb", "MariaDB database server", "/usr/sbin/mariadbd --defaults-file=/etc/mysql/my.cnf", "mysql", 5),
    (
        "prometheus",
        "Monitoring and time series",
        "/usr/bin/prometheus --web.listen-address=:9090",
        "prometheus",
        1,
    ),
    ("node-exporter", "Prometheus exporter for machine metrics", "/usr/bin/prometheus-node-exporter", "prometheus", 1),
    (
        "grafana",
        "Grafana instance",
        "/usr/bin/grafana server --config=/etc/grafana/grafana.ini",
        "grafana",
        5,
    ),
    ("haproxy", "HAProxy Load Balancer", "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg", "haproxy", 5),
    ("memcached", "memcached daemon", "/usr/bin/memcached -m 64 -p 11211 -l 127.0.0.1", "memcache", 1),
    ("rabbitmq-server", "RabbitMQ Messaging Server", "/usr/sbin/rabbitmq-server", "rabbitmq", 5),
    ("etcd", "etcd - highly-available key value store", "/usr/bin/etcd --data-dir /var/lib/etcd", "etcd", 5),
    ("ssh", "OpenBSD Secure Shell server", "/usr/sbin/sshd -D", "", 5),
    ("cron", "Regular background program processing daemon", "/usr/sbin/cron -f", "", 1),
    ("rsyslog", "System Logging Service", "/usr/sbin/rsyslogd -n -iNONE", "syslog", 5),
    ("chrony", "chrony, an NTP client/server", "/usr/sbin/chronyd -F 1", "_chrony", 3),
    ("docker", "Docker Application Container Engine", "/usr/sbin/dockerd -H fd://", "", 5),
    ("web", "The shop's web front end", "/usr/bin/python3 -m gunicorn --bind 0.0.0.0:8000 shop.wsgi", "app", 5),
    ("api", "The shop's orders", "/usr/bin/java -Xmx512m -jar /opt/orders/orders.jar --server.port=8080", "app", 2),
    (
        "worker",
        "Background jobs",
        "/usr/bin/python3 -m celery --app=jobs worker --concurrency=4",
        "app",
        2,
    ),
    ("backup", "Nightly backup", "/usr/bin/restic backup /var/lib --repo sftp:backup:/srv/restic", "backup", 4),
)
_NAMESPACES = ("default", "system", "production", "staging", "monitoring", "shop")
_TARGETS = ("network-online.target", "multi-user.target", "nss-lookup.target", "remote-fs.target", "basic.target")
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "LOG_LEVEL": "info",
    "PORT": "8080",
    "DATABASE_URL": "postgresql:///shop",
}


def samples() -> list[bytes | bytearray | memoryview]:
    """Returns messages as servers send them: lists, watch responses and puts of a few objects."""
    store_id = _hex("store", 0)[:16]
    found: list[Message] = []
    for number in range(SAMPLES):
        objects = [*_objects(number), *_objects(number + SAMPLES)]
        found.append(ListResponse(items=objects, revision=9000 + number, store_id=store_id))
        events = [Event(update=each) for each in objects[:2]] + [Event(delete=objects[2])]
        found.append(WatchResponse(events=events, revision=9000 + number, store_id=store_id))
        found.append(PutRequest(objects=objects[:1], request_id=_uid("request", number)))
    return [message.SerializeToString(deterministic=True) for message in found]


def dictionary() -> bytes:
    """Returns the dictionary. One version of zstd gives the same one always."""
    trained = zstandard.train_dictionary(
        DICTIONARY_BYTES, samples(), dict_id=DICTIONARY_ID, d=8, k=512, steps=1, threads=0, level=3
    )
    return trained.as_bytes()


def _objects(number: int) -> Iterator[Object]:
    """Yields a unit, its node, and an event about it."""
    name, description, command, user, kind = _SERVICES[number % len(_SERVICES)]
    namespace = _NAMESPACES[number // 3 % len(_NAMESPACES)]
    node = f"node-{number * 7 % 50}"
    unit = Unit(
        description=description,
        after=_TARGETS[: 1 + number % 3],
        wants=_TARGETS[:1],
        requires=[] if number % 4 else ["postgresql.service"],
        service=Service(
            type=kind,  # type: ignore[arg-type]  # a number is an enum's value
            exec=Service.Exec(start=[command], reload=["/bin/kill -HUP $MAINPID"] if number % 2 else []),
            user=user,
            group=user,
            restart=Service.ON_FAILURE if number % 3 else Service.ALWAYS,
            environment=dict(list(_ENVIRONMENT.items())[: number % 6]),
            working_directory=f"/var/lib/{name}" if number % 2 else "",
            time=Service.Time(restart=5, timeout=30),
            limits=Service.Limits(memory_bytes=(1 + number % 8) << 28, open_files=65536),
            no_new_privileges=True,
            private_tmp=True,
            protect_system="full",
        ),
        install=Install(wanted_by=["multi-user.target"]),
        enabled=True,
    )
    status = UnitStatus(
        load_state="loaded",
        active_state=("active", "active", "active", "failed", "inactive", "activating")[number % 6],
        sub_state=("running", "running", "running", "failed", "dead", "auto-restart")[number % 6],
        result=("success", "exit-code")[number % 6 // 3],
        main_pid=1000 + number * 37 % 30000,
        unit_file_state="enabled",
        observed_generation=1 + number % 5,
        node=node,
    )
    status.active_time.FromSeconds(_BEGIN_S + number * 61)
    labels = {"node": node, "app": name, "tier": ("web", "db", "batch")[number % 3], "environment": namespace}
    metadata = _metadata(namespace, name, number, labels)
    yield Object(metadata=metadata, spec=pack(unit), status=pack(status))
    ready = NodeStatus(
        readiness=NodeStatus.READY, boot_id=_uid("boot", number), rubelet_version="0.3.0", driver="systemd"
    )
    ready.readiness_time.FromSeconds(_BEGIN_S)
    yield Object(
        metadata=_metadata("", node, number, {"zone": "ab"[number % 2]}), spec=pack(Node()), status=pack(ready)
    )
    event = CoreEvent(
        regarding=Key(type="api.systemd.Unit", namespace=namespace, name=name),
        regarding_uid=_uid(name, number),
        reason=("Started", "Bound", "Failed", "Restarted")[number % 4],
        message=(f"unit {name} runs on {node}", f"bound to node {node}", "main process exited, status=1")[number % 3],
        controller=("units", "placement", "node-health")[number % 3],
        instance=node,
        count=1 + number % 9,
        report=_hex("report", number)[:16],
    )
    event.first_time.FromSeconds(_BEGIN_S + number)
    event.last_time.FromSeconds(_BEGIN_S + number * 3)
    labels = {"rube/regarding": event.regarding_uid}
    metadata = _metadata(namespace, f"{name}.{_hex('event', number)[:10]}", number, labels)
    yield Object(metadata=metadata, spec=pack(event))


def _metadata(namespace: str, name: str, number: int, labels: dict[str, str]) -> Metadata:
    metadata = Metadata(
        namespace=namespace,
        name=name,
        uid=_uid(name, number),
        labels=labels,
        revision=5000 + number * 3,
        create_revision=4000 + number,
        generation=1 + number % 5,
    )
    metadata.create_time.FromSeconds(_BEGIN_S + number * 11)
    return metadata


def _hex(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def _uid(kind: str, number: int) -> str:
    digits = _hex(kind, number)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


if __name__ == "__main__":
    DICTIONARY.write_bytes(dictionary())
