"""Store URLs in, their parts out; what is wrong with one is said with how it is written."""

from __future__ import annotations

import pytest

from rube.api.errors import InvalidArgumentError
from rube.store import StoreUrl, parse_store_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("memory:", StoreUrl(scheme="memory")),
        ("memory:a", StoreUrl(scheme="memory", path="a")),
        ("sqlite:///rube.db", StoreUrl(scheme="sqlite", path="rube.db")),
        ("rocksdb:////var/lib/rube", StoreUrl(scheme="rocksdb", path="/var/lib/rube")),
        ("etcd://h", StoreUrl(scheme="etcd", servers=("h:2379",))),
        (
            "etcd://a:1,b,[::1]:3,[::1]/x/y/",
            StoreUrl(scheme="etcd", servers=("a:1", "b:2379", "[::1]:3", "[::1]:2379"), path="x/y"),
        ),
        (
            "etcd://us%40er:p%2Fw@h:1/p?ca=/etc/ca.pem&tls=true",
            StoreUrl(
                scheme="etcd",
                servers=("h:1",),
                user="us@er",
                password="p/w",
                path="p",
                options=(("ca", "/etc/ca.pem"), ("tls", "true")),
            ),
        ),
        ("mysql://root@h/rube", StoreUrl(scheme="mysql", servers=("h:3306",), user="root", path="rube")),
    ],
)
def test_a_url_has_parts(url: str, parts: StoreUrl) -> None:
    assert parse_store_url(url) == parts


@pytest.mark.parametrize("url", ["memory:", "sqlite:///rube.db", "sqlite:////a/b", "etcd://u@a:1,b:2/p?ca=x&key=y"])
def test_a_url_prints_as_it_was_written(url: str) -> None:
    assert str(parse_store_url(url)) == url


def test_a_password_is_in_no_text() -> None:
    url = parse_store_url("etcd://user:secret@h:1/p")
    assert url.password == "secret"
    assert "secret" not in f"{url} {url!r}"
    for wrong in ("etdc://user:secret@h", "etcd://user:secret@h:x", "mysql://user:secret@h"):
        with pytest.raises(InvalidArgumentError) as caught:
            parse_store_url(wrong)
        assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rube.db", "has no kind: for a file write sqlite:///rube.db"),
        ("/a/rube.db", "has no kind: for a file write sqlite:////a/rube.db"),
        (
            "foo:///a",
            r"write one of memory, sqlite, rocksdb, raft\+sqlite, raft\+rocksdb, etcd, mysql, such",
        ),
        ("SQLITE:///a", "is of no known kind; did you mean 'sqlite'?"),
        ("rocksdb:///", "names no file: write rocksdb:///relative/path"),
        ("etcd://", "names no host: write etcd://"),
        ("etcd:///prefix", "names no host"),
        ("etcd://a,,b", "names no host"),
        ("etcd://a:0", "has the port '0', which is no number from 1 to 65535"),
        ("etcd://a:x", "has the port 'x'"),
        ("etcd://a?ca", "options that are not written name=value: 'ca'"),
        ("etcd://a?verify=no", "unknown option 'verify'; known are ca, cert, key, tls, password_file"),
        ("etcd://a?ca=1&ca=2", "the option 'ca' twice"),
        ("etcd://a?tls=no", "write tls=true"),
        ("mysql://h", "names no database: write mysql://"),
        ("mysql://a,b/d", "more than one server"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_store_url(url)


def test_a_question_mark_alone_asks_for_nothing() -> None:
    assert parse_store_url("etcd://a?").options == ()
