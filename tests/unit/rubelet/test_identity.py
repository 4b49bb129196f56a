"""The owner of a data directory: a node, on one machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rube.api.errors import FailedPreconditionError
from rube.cli.real_host import real_host
from rube.host import Engine, Host, Write
from rube.rubelet.identity import Identity


def on_data(path: Path, body: Callable[[Engine, Host], Coroutine[Any, Any, Any]]) -> Any:
    """Opens the data directory's store, as a rubelet does, for one call."""

    async def main() -> Any:
        host = real_host()
        engine = await host.storage.open(f"sqlite:///{path / 'rubelet.db'}")
        try:
            return await body(engine, host)
        finally:
            await engine.close()

    return asyncio.run(main())


def load(path: Path, node: str = "a", **options: Any) -> Identity:
    identity: Identity = on_data(path, lambda engine, host: Identity.load(engine, host, node, **options))
    return identity


def test_a_data_directory_of_another_machine_is_refused_with_both_remedies(tmp_path: Path) -> None:
    first = load(tmp_path, machine_id="one")
    assert load(tmp_path, machine_id="one").instance_id == first.instance_id
    with pytest.raises(FailedPreconditionError, match=r"on another machine .*one.*two.*--adopt.*--new-identity"):
        load(tmp_path, machine_id="two")
    assert load(tmp_path, machine_id="one").instance_id == first.instance_id, "nothing has changed"


def test_adopt_moves_the_identity_to_this_machine(tmp_path: Path) -> None:
    first = load(tmp_path, machine_id="one")
    assert load(tmp_path, machine_id="two", policy="adopt").instance_id == first.instance_id
    load(tmp_path, machine_id="two")
    with pytest.raises(FailedPreconditionError):
        load(tmp_path, machine_id="one")


def test_a_new_identity_forgets_all_that_the_copy_had(tmp_path: Path) -> None:
    first = load(tmp_path, machine_id="one")

    async def fill(engine: Engine, host: Host) -> None:
        await engine.commit([Write(f"controller/unit/{number}".encode(), b"x") for number in range(2_500)])

    on_data(tmp_path, fill)
    second = load(tmp_path, "b", machine_id="two", policy="new")
    assert second.instance_id != first.instance_id
    assert not second.registered

    async def rows(engine: Engine, host: Host) -> int:
        return len(list(engine.scan(b"", b"\xff")))

    assert on_data(tmp_path, rows) == 1
    load(tmp_path, "b", machine_id="two")


def test_a_directory_from_before_machines_were_noted_is_taken_over(tmp_path: Path) -> None:
    first = load(tmp_path)
    assert load(tmp_path, machine_id="one").instance_id == first.instance_id
    with pytest.raises(FailedPreconditionError):
        load(tmp_path, machine_id="two")


def test_a_machine_without_an_identity_is_not_looked_at(tmp_path: Path) -> None:
    first = load(tmp_path, machine_id="one")
    assert load(tmp_path).instance_id == first.instance_id
