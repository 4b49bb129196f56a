"""The errors of a SQL store that cannot be opened or used: what is wrong, where, what to do, and never the password."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import asyncmy
import pytest

from rube.api.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.cli.real_host import real_host
from rube.store import Op, StoreConfig, Txn, open_store, parse_store_url
from rube.store.backends import backend_of
from tests.mariadb import MariaDb, free_port, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

ALL = (b"\x00", b"\xff" * 16)
PASSWORD = "se/cret?"
_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    directory = tmp_path_factory.mktemp("mariadb")
    _make_certificate(directory)
    server = MariaDb(directory, f"--ssl-cert={directory}/server.pem", f"--ssl-key={directory}/server.key")
    server.start()
    yield server
    server.stop()


def _make_certificate(directory: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(directory / "server.key"), "-out", str(directory / "server.pem"), "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def database(server: MariaDb) -> str:
    name = f"refused{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    return name


def user_with(server: MariaDb, database: str, grant: str, extra: str = "") -> str:
    """A new user's URL, with its password."""
    name = f"user{next(_numbers)}"
    server.sql(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' {extra}")
    if grant:
        server.sql(f"GRANT {grant} ON {database}.* TO {name}@'127.0.0.1'")
    return f"mysql://{name}:se%2Fcret%3F@127.0.0.1:{server.port}/{database}"


def open_and_close(url: str) -> None:
    async def main() -> None:
        await (await open_store(real_host(), url)).close()

    asyncio.run(main())


def refusal(url: str, cls: type[RubeError]) -> str:
    with pytest.raises(cls) as caught:
        open_and_close(url)
    assert PASSWORD not in caught.value.message
    assert "se%2Fcret" not in caught.value.message
    return caught.value.message


def test_a_server_that_is_not_there_is_named() -> None:
    port = free_port()
    said = refusal(f"mysql://root:se%2Fcret%3F@127.0.0.1:{port}/rube", UnavailableError)
    assert f"127.0.0.1:{port} does not answer" in said
    assert "is it running" in said


def test_wrong_credentials_say_which_user_and_where_a_password_comes_from(server: MariaDb, database: str) -> None:
    url = user_with(server, database, "ALL").replace("se%2F", "wrong")
    said = refusal(url, FailedPreconditionError)
    assert "Access denied for user" in said
    assert "password_file=" in said
    assert "wrong" not in said


def test_a_missing_database_comes_with_the_statement_that_makes_it(server: MariaDb) -> None:
    assert "CREATE DATABASE `nowhere`" in refusal(server.url("nowhere"), FailedPreconditionError)


def test_missing_privileges_come_with_the_statement_that_gives_them(server: MariaDb, database: str) -> None:
    said = refusal(user_with(server, database, "SELECT"), FailedPreconditionError)
    assert f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON `{database}`.* TO" in said


def test_the_named_privileges_are_enough(server: MariaDb, database: str) -> None:
    open_and_close(user_with(server, database, "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP"))


def test_settings_that_lose_acknowledged_writes_are_refused(server: MariaDb, database: str) -> None:
    server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        said = refusal(server.url(database), FailedPreconditionError)
    finally:
        server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert "innodb_flush_log_at_trx_commit = 2" in said
    assert "SET GLOBAL innodb_flush_log_at_trx_commit = 1" in said


def test_a_store_of_a_newer_format_and_an_unfinished_copy_are_refused(server: MariaDb, database: str) -> None:
    url = server.url(database)
    open_and_close(url)
    server.sql(f"UPDATE {database}.rube_head SET state = 'loading'")
    assert "restore again" in refusal(url, FailedPreconditionError)
    server.sql(f"UPDATE {database}.rube_head SET format = 2, state = 'ready'")
    assert "use a newer version of Rube" in refusal(url, FailedPreconditionError)


def test_a_table_of_another_engine_is_refused(server: MariaDb, database: str) -> None:
    url = server.url(database)
    open_and_close(url)
    server.sql(f"ALTER TABLE {database}.rube_log ENGINE=MyISAM")
    assert "ALTER TABLE rube_log ENGINE=InnoDB" in refusal(url, FailedPreconditionError)


def test_a_read_only_server_refuses_writes_serves_reads_and_recovers(server: MariaDb, database: str) -> None:
    url = user_with(server, database, "ALL")

    async def main() -> None:
        store = await open_store(real_host(), url)
        await store.commit(Txn((Op(b"a", b"1"),)))
        server.sql("SET GLOBAL read_only = 1")
        try:
            with pytest.raises(UnavailableError, match="point the URL at the primary"):
                await store.commit(Txn((Op(b"a", b"2"),)))
            assert [record.value for record in (await store.range(*ALL)).records] == [b"1"]
            other = await open_store(real_host(), url)
            assert [record.value for record in (await other.range(*ALL)).records] == [b"1"]
            await other.close()
        finally:
            server.sql("SET GLOBAL read_only = 0")
        await store.commit(Txn((Op(b"a", b"3"),)))
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("table", ["rube_log", "rube_current"])  # the first that is written, and a later one
def test_a_full_table_is_an_exhausted_resource_and_writes_go_on_when_there_is_room(
    server: MariaDb, database: str, table: str
) -> None:
    """The server's own answer, on behalf of a disk that has no room: a trigger gives it."""

    async def main() -> None:
        store = await open_store(real_host(), server.url(database))
        full = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'"
        server.sql(f"USE {database}; CREATE TRIGGER full_ BEFORE INSERT ON {table} FOR EACH ROW {full}")
        with pytest.raises(ResourceExhaustedError, match=r"table is full.*make room"):
            await store.commit(Txn((Op(b"a", b"1"),)))
        server.sql(f"DROP TRIGGER {database}.full_")
        assert server.sql(f"SELECT COUNT(*) FROM {database}.rube_log").strip() == "0"
        assert await store.commit(Txn((Op(b"a", b"2"),))) == 1
        await store.close()

    asyncio.run(main())


def test_a_member_of_a_galera_cluster_is_refused(tmp_path: Path) -> None:
    server = MariaDb(tmp_path, "--wsrep-on=ON")
    server.start()
    try:
        server.sql("CREATE DATABASE rube")
        assert "Galera cluster" in refusal(server.url("rube"), FailedPreconditionError)
    finally:
        server.stop()


def test_privileges_that_come_back_bring_the_watches_back(server: MariaDb, database: str) -> None:
    url = user_with(server, database, "ALL")
    user = url.removeprefix("mysql://").partition(":")[0]

    async def main() -> None:
        store = await open_store(real_host(), url, StoreConfig(poll_interval_s=0.02))
        watch = aiter(store.watch(*ALL, after_revision=0))
        await anext(watch)
        server.sql(f"REVOKE ALL ON {database}.* FROM {user}@'127.0.0.1'; KILL USER {user}@'127.0.0.1'")
        with pytest.raises(FailedPreconditionError, match="GRANT"):
            await store.range(*ALL)
        await asyncio.sleep(0.1)  # the watch has met it, too
        server.sql(f"GRANT ALL ON {database}.* TO {user}@'127.0.0.1'")
        await store.commit(Txn((Op(b"a", b"1"),)))
        async with asyncio.timeout(5):
            assert [change.record.key for change in (await anext(watch)).changes] == [b"a"]
        await store.close()

    asyncio.run(main())


def test_no_defaults_of_the_server_cut_answers_or_show_what_is_not_committed_or_leave_it_so(
    server: MariaDb, database: str
) -> None:
    async def main() -> None:
        store = await open_store(real_host(), server.url(database))
        for number in range(4):
            await store.commit(Txn(tuple(Op(b"%d-%d" % (number, n), b"x") for n in range(4))))
        assert len((await store.range(*ALL)).records) == 16
        seen = 0
        async for batch in store.watch(*ALL, after_revision=0):
            seen += len(batch.changes)
            if batch.revision == 4:
                break
        assert seen == 16
        assert server.sql("SET sql_big_selects = 1; SELECT COUNT(*) FROM information_schema.INNODB_TRX").strip() == "0"
        foreign = await asyncmy.connect(host="127.0.0.1", port=server.port, user="root", db=database, autocommit=False)
        await foreign.cursor().execute("UPDATE rube_head SET revision = 99 WHERE id = 1")
        assert (await store.range(*ALL)).revision == 4
        await foreign.rollback()
        await foreign.ensure_closed()
        await store.close()

    server.sql("SET GLOBAL sql_select_limit = 5, completion_type = CHAIN, max_join_size = 1, sql_safe_updates = 1")
    server.sql("SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    try:
        asyncio.run(main())
    finally:
        server.sql("SET GLOBAL sql_select_limit = DEFAULT, completion_type = DEFAULT")
        server.sql("SET GLOBAL max_join_size = DEFAULT, sql_safe_updates = 0")
        server.sql("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def test_an_unfriendly_sql_mode_changes_nothing(server: MariaDb, database: str) -> None:
    value = bytes(range(256)) + b"\\'\"%s`" * 3

    async def main() -> None:
        store = await open_store(real_host(), server.url(database))
        await store.commit(Txn((Op(b"'\\\"%\xff", value), Op(b"A", b"upper"), Op(b"a", b"lower"), Op(b"a ", b"space"))))
        found = {record.key: record.value for record in (await store.range(*ALL)).records}
        assert found == {b"'\\\"%\xff": value, b"A": b"upper", b"a": b"lower", b"a ": b"space"}
        assert (await store.get([b"a"])).records[0].value == b"lower"
        await store.close()

    modes = server.sql("SELECT @@GLOBAL.sql_mode").strip()
    server.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH'")
    server.sql(f"ALTER DATABASE {database} CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    try:
        asyncio.run(main())
    finally:
        server.sql(f"SET GLOBAL sql_mode = '{modes}'")


def test_limits_are_the_servers_where_those_are_lower(server: MariaDb, database: str) -> None:
    packet_bytes = int(server.sql("SELECT @@GLOBAL.max_allowed_packet"))

    async def main() -> None:
        store = await open_store(real_host(), server.url(database))
        assert store.limits.value_bytes_max < 512 * 1024
        await store.commit(Txn((Op(b"k" * 4096, b"'" * store.limits.value_bytes_max),)))
        assert len((await store.range(*ALL)).records[0].value) == store.limits.value_bytes_max
        with pytest.raises(ResourceExhaustedError, match="value_bytes_max"):
            await store.commit(Txn((Op(b"a", b"'" * (store.limits.value_bytes_max + 1)),)))
        await store.close()

    server.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        asyncio.run(main())
    finally:
        server.sql(f"SET GLOBAL max_allowed_packet = {packet_bytes}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncmy leaves a refused TLS socket
def test_tls_is_verified_and_a_password_comes_from_a_file(server: MariaDb, database: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    url = user_with(server, database, "ALL", "REQUIRE SSL").replace(":se%2Fcret%3F", "")
    url += f"?password_file={tmp_path / 'password'}"
    open_and_close(f"{url}&ca={server.directory / 'server.pem'}")
    assert "TLS options" in refusal(f"{url}&tls=true", FailedPreconditionError)
    assert "Access denied" in refusal(url, FailedPreconditionError)
    with pytest.raises(InvalidArgumentError, match=r"password_file=/nowhere .*cannot be read"):
        open_and_close(server.url(database) + "?password_file=/nowhere")
    with pytest.raises(InvalidArgumentError, match="cert and key together"):
        open_and_close(server.url(database) + "?cert=/nowhere")
    gc.collect()


def test_without_asyncmy_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    assert "pip install 'rube-plane[mysql]'" in refusal("mysql://root@127.0.0.1:1/rube", FailedPreconditionError)


def test_damage_is_named_by_verify_and_by_reads(server: MariaDb, database: str) -> None:
    url = parse_store_url(server.url(database))

    async def found() -> list[str]:
        damage = [checked.damage async for checked in backend_of(url).verify(real_host(), url)]
        return [f"{one.where}: {one.what}" for one in damage if one]

    async def main() -> None:
        store = await open_store(real_host(), str(url), StoreConfig())
        for number in range(5):
            await store.commit(Txn((Op(b"k%d" % number, b"value"), Op(b"same", b"%d" % number))))
        assert await found() == []
        server.sql(f"UPDATE {database}.rube_log SET value = 'valuf' WHERE head = 'k1'")
        server.sql(f"DELETE FROM {database}.rube_current WHERE head = 'k2'")
        server.sql(f"DELETE FROM {database}.rube_log WHERE position >> 16 = 4")
        assert await found() == [
            "revision 2, key b'k1': the stored row does not match its checksum",
            "revisions 4 to 4: are missing in the log",
            "revision 4, key b'k3': the table of newest writes does not match the log",
            "revision 3, key b'k2': is missing in the table of newest writes",
            "revision 5, key b'same': the write that this one replaced is missing in the log",
        ]
        with pytest.raises(DataLossError, match=r"revision 2 \(key b'k1'\)"):
            await store.get([b"k1"])
        await store.close()

    asyncio.run(main())


def test_a_store_that_another_took_the_place_of_is_not_used(server: MariaDb, database: str) -> None:
    async def main() -> None:
        store = await open_store(real_host(), server.url(database))
        watch = aiter(store.watch(*ALL, after_revision=0))
        await anext(watch)
        server.sql(f"UPDATE {database}.rube_head SET store_id = 'other'")
        for attempt in (store.range(*ALL), store.commit(Txn((Op(b"a", b""),))), anext(watch)):
            with pytest.raises(FailedPreconditionError, match="replaced by another"):
                await attempt
        assert "replaced by another" in (await store.failed()).message
        await store.close()

    asyncio.run(main())


def test_an_older_state_of_the_database_put_in_its_place_is_not_used(server: MariaDb, database: str) -> None:
    """Else watches would stand still until the revisions come again, and then leave out what happened before."""

    async def main() -> None:
        store = await open_store(real_host(), server.url(database), StoreConfig(poll_interval_s=0.02))
        for number in range(9):
            await store.commit(Txn((Op(b"k", b"%d" % number),)))
        watch = aiter(store.watch(*ALL, after_revision=9))
        await anext(watch)
        server.sql(
            f"USE {database}; START TRANSACTION; DELETE FROM rube_log WHERE position >> 16 > 5;"
            "UPDATE rube_current SET position = 5 << 16; UPDATE rube_head SET revision = 5; COMMIT"
        )
        for attempt in (anext(watch), store.range(*ALL), store.commit(Txn((Op(b"a", b""),))), store.get([b"k"])):
            with pytest.raises(DataLossError, match=r"went back from revision 9 to 5.*SET store_id"):
                await attempt
        assert "went back" in (await store.failed()).message
        await store.close()

    asyncio.run(main())


GREETING = (
    b"\x0a8.0.40\0"
    + b"\x01\0\0\0"
    + b"saltsalt\0"
    + b"\xff\xf7"
    + b"\xff"
    + b"\x02\0"
    + b"\xff\xdf"
    + b"\x15"
    + bytes(10)
) + b"saltsaltsalt\0caching_sha2_password\0"
"""The beginning of MySQL 8's side of a connection: a greeting that asks for caching_sha2_password, then "prove it in
full" and its public key, which a client needs cryptography for."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncmy leaves the socket
def test_a_way_to_log_in_that_needs_a_package_names_it_and_the_way_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncmy.auth._have_cryptography", False)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(number: int, payload: bytes) -> None:
            writer.write(len(payload).to_bytes(3, "little") + bytes([number]) + payload)

        send(0, GREETING)
        await reader.readexactly(int.from_bytes((await reader.readexactly(4))[:3], "little"))
        send(2, b"\x01\x04")
        await reader.readexactly(5)
        send(4, b"\x01-----BEGIN PUBLIC KEY-----")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FailedPreconditionError, match=r"tls=true.*pip install cryptography"):
            await open_store(real_host(), f"mysql://rube:secret@127.0.0.1:{port}/rube")
        server.close()

    asyncio.run(main())
    gc.collect()
