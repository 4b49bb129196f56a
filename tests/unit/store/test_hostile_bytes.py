"""Input of strangers: backups, store files, URLs. A named error, in bounded time and memory."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
import zlib

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from rube.api.addresses import check_host_port
from rube.api.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, RubeError
from rube.store import Record, parse_store_url
from rube.store.backends import Damage
from rube.store.engines.image import MAGIC as IMAGE_MAGIC
from rube.store.engines.image import decode_batches, decode_remains
from rube.store.engines.sqlite_files import DescriptorFile
from rube.store.engines.sqlite_pages import cells_of, free_pages, value_at
from rube.store.engines.sqlite_tables import PAGE_BYTES
from rube.store.engines.sqlite_wal import frames_of
from rube.store.maintenance import backup_pb2, format
from rube.store.maintenance.format import FRAME_BYTES_MAX, BackupHeader, Decoder, Encoder
from rube.store.mvcc.evaluate import KEY_BYTES_MAX
from rube.store.mvcc.log import read_row
from rube.store.replicated.backend import member_config


def decoded(data: bytes) -> list[object]:
    decoder = Decoder("FILE")
    return [*decoder.feed(data), *decoder.end()]


class Forger(Encoder):
    """Frames whose checksums are right, of whatever kind and content."""

    def frame(self, kind: bytes, message: Message | bytes) -> bytes:
        body = message if isinstance(message, bytes) else message.SerializeToString()
        start = format._FRAME.pack(format._MARK, kind, len(body), zlib.crc32(body), 0)[: format._SUMMED_BYTES]
        place = format._start_sum(self._offset, start).to_bytes(4, "big")
        return self._add(start + place + body)


@given(st.binary(max_size=400), st.sampled_from([b"H", b"R", b"F", b"?"]))
def test_a_frame_with_any_body_is_damage_or_what_it_says(body: bytes, kind: bytes) -> None:
    forger = Forger()
    data = forger.start(BackupHeader("id", 10)) + forger.frame(kind, body)
    for item in decoded(data):
        assert isinstance(item, BackupHeader | Record | Damage)


@pytest.mark.parametrize("store_id", ["x" * 129, "\x1b[2J", "a\nb", "é"])
def test_a_store_id_that_would_write_on_a_terminal_is_damage(store_id: str) -> None:
    forger = Forger()
    data = forger._add(format._PREAMBLE.pack(format.MAGIC, format.FORMAT_VERSION))
    data += forger.frame(b"H", backup_pb2.Header(store_id=store_id, revision=1))
    assert isinstance(decoded(data)[0], Damage)


@pytest.mark.parametrize(
    "record",
    [
        backup_pb2.Record(key=b"k" * (KEY_BYTES_MAX + 1), create_revision=1, mod_revision=1),
        backup_pb2.Record(key=b"", create_revision=1, mod_revision=1),
        backup_pb2.Record(key=b"k", create_revision=0, mod_revision=1),
        backup_pb2.Record(key=b"k", create_revision=2, mod_revision=1),
        backup_pb2.Record(key=b"k", create_revision=1, mod_revision=2**64 - 1),
    ],
)
def test_a_record_that_no_store_has_is_damage(record: backup_pb2.Record) -> None:
    forger = Forger()
    items = decoded(forger.start(BackupHeader("id", 10)) + forger.frame(b"R", record))
    assert isinstance(items[1], Damage)


def test_nested_groups_are_no_message() -> None:
    forger = Forger()
    items = decoded(forger.start(BackupHeader("id", 10)) + forger.frame(b"R", b"\x5b" * 100_000))
    assert isinstance(items[1], Damage)


def test_a_length_that_is_a_lie_takes_no_memory() -> None:
    forger = Forger()
    data = forger.start(BackupHeader("id", 10))
    start = format._FRAME.pack(format._MARK, b"R", FRAME_BYTES_MAX + 1, 0, 0)[: format._SUMMED_BYTES]
    data += start + format._start_sum(len(data), start).to_bytes(4, "big")
    decoder = Decoder("FILE")
    list(decoder.feed(data))
    tracemalloc.start()
    for _ in range(300):
        list(decoder.feed(bytes(100_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000, "what cannot be a frame is dropped as it comes"


def test_marks_without_frames_take_no_more_time_than_other_bytes() -> None:
    items = decoded(Forger().start(BackupHeader("id", 10)) + format._MARK * 200_000)
    assert isinstance(items[-1], Damage)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_row_or_a_damaged_one(data: bytes) -> None:
    read_row(1 << 16, data)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_image_or_damage(data: bytes) -> None:
    for image in (data, IMAGE_MAGIC + data):
        try:
            list(decode_batches(image, "x"))
        except (DataLossError, FailedPreconditionError):
            pass
        assert all(batch is None or batch == [*batch] for batch in decode_remains(image))


@pytest.mark.parametrize("seed", range(30))
def test_any_pages_are_read_to_their_end(seed: int) -> None:
    """Chains and lists that lead back to themselves, too."""
    chance = random.Random(seed)
    pages = {number: bytearray(chance.randbytes(PAGE_BYTES)) for number in range(1, 9)}
    for page in pages.values():
        if chance.random() < 0.7:
            page[0] = 0x0D
        page[:8] = chance.choice([bytes(page[:8]), chance.randrange(9).to_bytes(4, "big") * 2])
        for index in range(0, 200, 2):
            page[8 + index : 10 + index] = chance.randrange(300, PAGE_BYTES).to_bytes(2, "big")
    pages[1][32:40] = chance.randrange(9).to_bytes(4, "big") + chance.randrange(20).to_bytes(4, "big")

    def read(number: int) -> bytes | None:
        return bytes(pages[number]) if number in pages else None

    free_pages(read, 8)
    for page in pages.values():
        for cell in cells_of(bytes(page)):
            value_at(bytes(page), cell.place, read)


@given(st.binary(max_size=200))
def test_any_log_is_read_to_its_end(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        frames_of(DescriptorFile(file.fileno()), 64)


@given(st.text(max_size=60))
def test_any_url_is_one_or_a_callers_mistake(text: str) -> None:
    for scheme in ("sqlite:///", "rocksdb:///", "raft+sqlite:///", "etcd://", "mysql://", "memory:", ""):
        try:
            url = parse_store_url(scheme + text)
            if url.is_member:
                member_config(url)
        except InvalidArgumentError:
            pass


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a\0b",
        "sqlite:///a?mode=ro",
        "rocksdb:///a?sync=false",
        f"etcd://h:{'9' * 5000}/x",
        f"mysql://h:{'9' * 5000}/x",
        f"raft+sqlite:///a?name=a&listen=h:1&tick_ms={'9' * 5000}",
        "raft+sqlite:///a?name=a&listen=h:1&colour=red",
    ],
)
def test_a_setting_without_effect_and_a_number_without_end_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError):
        member_config(parse_store_url(url))
    with pytest.raises(RubeError):
        check_host_port("h:" + "9" * 5000)
