"""The outbox: what is committed, what a newer decision replaces, what a restart finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rube.api import Written
from rube.api.errors import ResourceExhaustedError
from rube.api.keys import ObjectKey
from rube.controllers.outbox import Outbox
from rube.host import Write
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from tests.unit.controllers.cluster_fake import decision, word

KEY = ObjectKey("api.systemd.Unit", "default", "web")


class FullDisk(MemoryEngine):
    """Refuses commits while `full`."""

    full = False

    async def commit(self, batch: Sequence[Write]) -> None:
        if self.full:
            raise ResourceExhaustedError("disk full")
        await super().commit(batch)


async def open_engine() -> MemoryEngine:
    return await MemoryEngine.open(VolatileDisk(), "memory:")


def outbox_on(engine: MemoryEngine) -> Outbox:
    ids = iter(f"id-{number}" for number in range(100))
    made = Outbox(engine, "unit", lambda: next(ids))
    made.load()
    return made


def actions(outbox: Outbox) -> list[tuple[str, str]]:
    return [(action.id, word(action.action)) for action in outbox.get(KEY).left.actions]


def statuses(outbox: Outbox) -> list[str]:
    return [word(call.update_status.status) for call in outbox.get(KEY).left.calls]


def test_a_restart_finds_memory_actions_and_calls_of_a_decision() -> None:
    async def main() -> None:
        engine = await open_engine()
        await outbox_on(engine).record(KEY, decision("asked", ["start"], ["up"]))
        again = outbox_on(engine)
        assert again.known() == [KEY]
        assert word(again.get(KEY).left.memory) == "asked"
        assert (actions(again), statuses(again)) == ([("id-0", "start")], ["up"])

    asyncio.run(main())


def test_newer_calls_replace_older_ones_and_no_calls_replace_them_too() -> None:
    async def main() -> None:
        outbox = outbox_on(await open_engine())
        await outbox.record(KEY, decision("m", statuses=["up"]))
        await outbox.record(KEY, decision("m", statuses=["down"]))
        assert statuses(outbox) == ["down"]
        await outbox.record(KEY, decision("m"))
        assert statuses(outbox) == []

    asyncio.run(main())


def test_actions_stay_until_a_newer_decision_has_others() -> None:
    async def main() -> None:
        outbox = outbox_on(await open_engine())
        await outbox.record(KEY, decision("m", ["start"]))
        await outbox.record(KEY, decision("m"))
        assert actions(outbox) == [("id-0", "start")]
        await outbox.record(KEY, decision("m", ["stop", "start"]))
        assert actions(outbox) == [("id-1", "stop"), ("id-0", "start")], "an equal action keeps its id"

    asyncio.run(main())


def test_a_decision_that_forgets_all_forgets_the_actions_too() -> None:
    async def main() -> None:
        outbox = outbox_on(await open_engine())
        await outbox.record(KEY, decision("m", ["start"]))
        await outbox.record(KEY, decision())
        assert outbox.known() == []

    asyncio.run(main())


def test_a_row_that_holds_nothing_goes() -> None:
    async def main() -> None:
        engine = await open_engine()
        outbox = outbox_on(engine)
        await outbox.record(KEY, decision(actions=["remove"]))
        await outbox.action_done(KEY, "id-0")
        assert outbox.known() == []
        assert list(engine.scan(b"", b"\xff")) == []

    asyncio.run(main())


def test_a_commit_that_fails_changes_nothing() -> None:
    async def main() -> None:
        engine = await FullDisk.open(VolatileDisk(), "memory:")
        assert isinstance(engine, FullDisk)
        outbox = outbox_on(engine)
        await outbox.record(KEY, decision("old", ["start"]))
        engine.full = True
        with pytest.raises(ResourceExhaustedError):
            await outbox.record(KEY, decision("new", ["stop"]))
        assert word(outbox.get(KEY).left.memory) == "old"
        assert actions(outbox) == [("id-0", "start")]

    asyncio.run(main())


def test_writes_are_kept_until_they_are_seen() -> None:
    async def main() -> None:
        engine = await open_engine()
        outbox = outbox_on(engine)
        await outbox.record(KEY, decision("m", statuses=["up"]))
        await outbox.call_done(KEY, [Written(key=KEY.to_proto(), revision=7, store_id="s")])
        again = outbox_on(engine)
        assert statuses(again) == []
        assert not await again.forget_written(KEY, lambda written: written.revision < 7)
        assert await again.forget_written(KEY, lambda written: written.revision <= 7)
        assert await again.forget_written(KEY, lambda written: False)

    asyncio.run(main())
