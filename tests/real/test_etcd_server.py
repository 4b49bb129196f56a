"""A store on one real etcd: its quota, its credentials, its TLS, its other users."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.cli.real_host import real_host
from rube.store import Op, Store, StoreConfig, Txn, parse_store_url
from rube.store.backends import backend_of
from rube.store.etcd.values import encode_value
from tests.real.etcd_cluster import EtcdCluster
from tests.real.etcd_load import ALL, opened

QUOTA_BYTES = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), options=[f"--quota-backend-bytes={QUOTA_BYTES}"]) as etcd:
        yield etcd


async def fill(store: Store) -> ResourceExhaustedError:
    for number in range(QUOTA_BYTES // 250_000):
        try:
            await store.commit(Txn((Op(b"big%d" % (number % 2), b"x" * 500_000),)))
        except ResourceExhaustedError as error:
            return error
    raise AssertionError("the quota did not end")


def test_a_used_up_quota_is_named_with_its_remedy_and_cured_by_it(etcd: EtcdCluster) -> None:
    async def main() -> None:
        async with opened(etcd.url("quota")) as store:
            watch = aiter(store.watch(*ALL, after_revision=store.revision))
            await anext(watch)
            error = await fill(store)
            for remedy in ("compact", "defrag", "alarm disarm", "quota"):
                assert remedy in error.message
            page = await store.range(*ALL)  # reads go on
            assert len(page.records) == 2
            while (await anext(watch)).revision < page.revision:
                pass
            await store.compact(page.revision)
            etcd.ctl("defrag")
            etcd.ctl("alarm", "disarm")
            revision = await store.commit(Txn((Op(b"again", b"1"),)))
            while (await anext(watch)).revision < revision:
                pass

    asyncio.run(main())


def test_a_resumed_watch_gets_its_first_bookmark_where_only_others_write(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case holds behind the tail, too, where etcd's log gives no sign that its end is reached."""
    monkeypatch.setattr("rube.store.etcd.store.TAIL_REACH_REVISIONS", 0)

    async def main() -> None:
        async with opened(etcd.url("quiet")) as store:
            before = store.revision
        etcd.ctl("put", "somebody", "else")
        async with opened(etcd.url("quiet")) as store:
            assert store.revision > before
            async with asyncio.timeout(2):
                batch = await anext(aiter(store.watch(*ALL, after_revision=before)))
            assert batch.changes == []
            assert batch.revision > before

    asyncio.run(main())


def test_a_bookmark_passes_revisions_that_others_have_made(etcd: EtcdCluster) -> None:
    async def main() -> None:
        async with opened(etcd.url("idle"), StoreConfig(bookmark_interval_s=0.2)) as store:
            watch = aiter(store.watch(*ALL, after_revision=store.revision))
            await anext(watch)
            etcd.ctl("put", "somebody", "else")
            seen = (await store.range(b"a", None)).revision
            async with asyncio.timeout(15):
                batch = await anext(watch)
            assert batch.changes == []
            assert batch.revision >= seen

    asyncio.run(main())


def test_a_store_that_is_replaced_under_its_server_takes_nothing_more(etcd: EtcdCluster) -> None:
    async def main() -> None:
        async with opened(etcd.url("replaced")) as store, opened(etcd.url("replaced")) as watched:
            watch = aiter(watched.watch(*ALL, after_revision=store.revision))
            await anext(watch)
            etcd.ctl("del", "--prefix", "replaced/")
            with pytest.raises(UnavailableError, match="removed or replaced"):
                await store.commit(Txn((Op(b"a", b""),)))
            with pytest.raises(UnavailableError, match="removed or replaced"):  # nothing but the log tells it
                [batch async for batch in watch]
            assert "removed or replaced" in (await watched.failed()).message
            async with opened(etcd.url("replaced")) as anew:
                assert anew.store_id != store.store_id
                assert (await anew.range(*ALL)).records == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "error"),
    [("rube etcd 3\nx\nready\n", "rube etcd 3.*use the version of Rube that wrote it"), ("nonsense", "is damaged")],
)
def test_a_mark_that_this_version_does_not_know_is_refused(etcd: EtcdCluster, value: str, error: str) -> None:
    async def main() -> None:
        etcd.ctl("put", "strange/m/store", value)
        with pytest.raises(RubeError, match=error):
            async with opened(etcd.url("strange")):
                pass

    asyncio.run(main())


def test_keys_that_somebody_else_put_where_records_go_are_no_store(etcd: EtcdCluster) -> None:
    async def main() -> None:
        etcd.ctl("put", "foreign/k/a", "1")
        with pytest.raises(FailedPreconditionError, match="another kind"):
            async with opened(etcd.url("foreign")):
                pass

    asyncio.run(main())


def test_answers_larger_than_a_message_come_in_parts_at_one_revision(tmp_path: Path) -> None:
    """34 values of 1 MiB do not fit into one message of 32 MiB: not of a range, a lookup, or a watch."""
    keys = [b"%02d" % number for number in range(34)]
    value = b"x" * 1024 * 1024

    async def main(url: str) -> None:
        async with opened(url, StoreConfig(tail_bytes_max=0)) as store:
            base = store.revision
            for key in keys:
                await store.commit(Txn((Op(key, value),)))
            lookup = await store.get(keys)
            assert [record.key for record in lookup.records if record] == keys
            page = await store.range(*ALL)
            assert page.records == lookup.records
            assert page.revision == lookup.revision == store.revision
            seen: list[bytes] = []
            async for batch in store.watch(*ALL, after_revision=base):
                seen += [change.record.key for change in batch.changes]
                if len(seen) == len(keys):
                    break
            assert seen == keys

    with EtcdCluster(tmp_path) as etcd:
        asyncio.run(main(etcd.url()))


@pytest.mark.parametrize("tail_bytes_max", [16 * 1024 * 1024, 0], ids=["tail", "log"])
def test_a_revision_that_etcd_splits_into_fragments_arrives_whole(etcd: EtcdCluster, tail_bytes_max: int) -> None:
    """100 values of 10 KB and what was before them are more than etcd puts into one message."""

    async def main() -> None:
        url = etcd.url(f"fragments-{tail_bytes_max}")
        async with opened(url, StoreConfig(tail_bytes_max=tail_bytes_max)) as store:
            keys = [b"%02d" % number for number in range(100)]
            base = await store.commit(Txn(tuple(Op(key, b"1" * 10_000) for key in keys)))
            watch = aiter(store.watch(*ALL, after_revision=base))
            await anext(watch)
            await store.commit(Txn(tuple(Op(key, b"2" * 10_000) for key in keys)))
            batch = await anext(watch)
            assert [change.record.key for change in batch.changes] == keys
            assert all(change.previous and change.previous.value[:1] == b"1" for change in batch.changes)

    asyncio.run(main())
    etcd.ctl("del", "--prefix", f"fragments-{tail_bytes_max}/")


# Credentials and TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server's and a client's certificate."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=rube test")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "2", "-extfile", "names"),
        )
    return directory


def test_tls_both_ways_and_what_is_said_without_it(tls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rube.store.etcd.client.OPEN_TIMEOUT_S", 1.0)

    async def main(etcd: EtcdCluster) -> None:
        files = f"ca={tls}/ca.pem&cert={tls}/client.pem&key={tls}/client.key"
        async with opened(etcd.url("tls", f"?{files}")) as store:
            await store.commit(Txn((Op(b"a", b"1"),)))
            watch = aiter(store.watch(*ALL, after_revision=store.revision))
            await anext(watch)
        for query, what in (
            (f"?ca={tls}/ca.pem", "TLS options"),  # the server wants to know who we are
            ("", "TLS options"),
            (f"?ca={tls}/client.pem", "not of the CA that this client trusts.*TLS options"),
        ):
            with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1.*{what}"):
                async with opened(etcd.url("tls", query)):
                    pass
        for query, what in (
            (f"?ca={tls}/absent.pem", "ca=.*absent.pem cannot be read: No such file"),
            (f"?ca={tls}/names", "ca=.*names is no PEM file"),
            (f"?ca={tls}/ca.pem&cert={tls}/client.pem", "cert and key together"),
        ):
            with pytest.raises(InvalidArgumentError, match=what):
                async with opened(etcd.url("tls", query)):
                    pass

    with EtcdCluster(tmp_path, tls=tls) as etcd:
        asyncio.run(main(etcd))


def test_users_are_known_by_password_and_tokens_are_renewed(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")

    async def main(etcd: EtcdCluster) -> None:
        url = f"etcd://rube@{etcd.addresses}/mine?password_file={password}"
        async with opened(url) as store:
            watch = aiter(store.watch(*ALL, after_revision=store.revision))
            await anext(watch)
            await store.commit(Txn((Op(b"a", b"1"),)))
            assert len((await anext(watch)).changes) == 1
            await asyncio.sleep(2.2)  # the token ends
            revision = await store.commit(Txn((Op(b"a", b"2"),)))
            assert (await store.range(b"a", None)).revision == revision
            assert len((await anext(watch)).changes) == 1
            # The watch, too, gets a new token, though nothing else asks for one; etcd forgets them when it ends.
            etcd.members[0].kill()
            etcd.members[0].start()
            value = os.fsdecode(encode_value(b"a", b"3"))
            async with asyncio.timeout(20):
                while "OK" not in etcd.ctl("--user=root:root", "put", "mine/k/a", value, check=False):
                    await asyncio.sleep(0.1)
                while not (changes := (await anext(watch)).changes):
                    pass
            assert changes[0].record.value == b"3"
        # Comparing the members is root's alone: the rest of the check is done without.
        parsed = parse_store_url(url)
        checked = [checked async for checked in backend_of(parsed).verify(real_host(), parsed)]
        assert (checked[-1].records, [one for one in checked if one.damage]) == (1, [])
        for wrong, what in (
            (f"etcd://rube:wrong@{etcd.addresses}/mine", "refuses user 'rube'"),
            (f"etcd://{etcd.addresses}/mine", "asks for a user"),
            (f"etcd://rube@{etcd.addresses}/theirs?password_file={password}", "does not let user 'rube'.*grant a role"),
        ):
            with pytest.raises(FailedPreconditionError, match=what) as caught:
                async with opened(wrong):
                    pass
            assert "wrong" not in caught.value.message

    with EtcdCluster(tmp_path, options=["--auth-token-ttl=1"]) as etcd:
        etcd.ctl("user", "add", "root:root")
        etcd.ctl("user", "add", "rube:secret")
        etcd.ctl("role", "add", "mine")
        etcd.ctl("role", "grant-permission", "mine", "readwrite", "mine/", "--prefix=true")
        etcd.ctl("user", "grant-role", "rube", "mine")
        etcd.ctl("user", "grant-role", "root", "root", check=False)
        etcd.ctl("role", "add", "root", check=False)
        etcd.ctl("user", "grant-role", "root", "root", check=False)
        etcd.ctl("auth", "enable")
        asyncio.run(main(etcd))
