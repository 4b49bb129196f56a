"""Controllers as WebAssembly modules: their contract, their limits, and the system that they see."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import wasmtime

from rube.api import ControllerSpec, CoreEvent, Decision, State
from rube.api.errors import InvalidArgumentError
from rube.controllers.cluster.catalog import make_controller
from rube.controllers.contract import evaluate
from rube.controllers.wasm.controller import WasmController
from rube.controllers.wasm.limits import Limits
from rube.controllers.wasm.module import TrapError
from rube.controllers.wasm.system import LOG_BYTES_MAX

SPEC = ControllerSpec(name="mirror", type="api.Node")
FUEL = "(loop $again (br $again))"
RANDOM = '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))'
CLOCK = '(import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))'
POLL = '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
LOG = '(import "rube" "log" (func $log (param i32 i32 i32)))'
# A Decision whose memory is an Any of eight bytes: those at 2052.
EIGHT = b"\n\x0a\x12\x08"
GIVE_EIGHT = f"(i64.const {2048 << 32 | 12})"


def module(decide: str = "(i64.const 0)", *, imports: str = "", spec: ControllerSpec = SPEC, more: str = "") -> bytes:
    """Returns a module whose `rube_decide` has that body: the State's address and size are the locals 0 and 1."""
    described = spec.SerializeToString()
    return bytes(
        wasmtime.wat2wasm(f"""(module {imports}
          (memory (export "memory") 2)
          (data (i32.const 1024) "{_escaped(described)}") (data (i32.const 2048) "{_escaped(EIGHT)}")
          (global $calls (mut i64) (i64.const 0))
          (func (export "rube_abi_v1"))
          (func (export "rube_alloc") (param i32) (result i32) (i32.const 8192))
          (func (export "rube_describe") (result i64) (i64.const {1024 << 32 | len(described)}))
          (func (export "rube_decide") (param i32 i32) (result i64) {decide}) {more})""")
    )


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def state(revision: int = 1, name: str = "worker-1") -> State:
    made = State()
    made.key.type, made.key.name = "api.Node", name
    made.object.metadata.name, made.object.metadata.revision = name, revision
    made.now.seconds = 100
    return made


def decided(body: str, *, imports: str = "", given: State | None = None, limits: Limits | None = None) -> Decision:
    controller = WasmController(module(body, imports=imports), limits or Limits())
    return evaluate(controller, given or state(), check_purity=True)


def number(decision: Decision) -> int:
    return int.from_bytes(decision.memory.value, "little")


def test_a_module_says_what_it_sees_and_decides_on_the_bytes_of_the_state() -> None:
    controller = WasmController(
        module("(i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.const 0))"), Limits()
    )
    assert (controller.name, controller.type, list(controller.inputs)) == ("mirror", "api.Node", [])
    assert controller.decide(state()) == Decision()
    size = decided(f"(i64.store (i32.const 2052) (i64.extend_i32_u (local.get 1))) {GIVE_EIGHT}")
    assert number(size) == len(state().SerializeToString(deterministic=True))


def test_nothing_of_one_decision_is_left_in_the_next() -> None:
    counts = f"""(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
      (i64.store (i32.const 2052) (global.get $calls)) {GIVE_EIGHT}"""
    controller = WasmController(module(counts), Limits())
    assert [number(controller.decide(state())) for _ in range(3)] == [1, 1, 1]


def test_random_bytes_follow_from_the_key_and_the_revision() -> None:
    draws = f"(drop (call $random (i32.const 2052) (i32.const 8))) {GIVE_EIGHT}"
    drawn = [
        number(decided(draws, imports=RANDOM, given=given))
        for given in (state(), state(), state(revision=2), state(name="worker-2"))
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(("clock", "expected"), [(0, 100_000_001_000), (1, 1_000)])
def test_the_clock_is_that_of_the_state(clock: int, expected: int) -> None:
    looks = f"(drop (call $time (i32.const {clock}) (i64.const 0) (i32.const 2052))) {GIVE_EIGHT}"
    assert number(decided(looks, imports=CLOCK)) == expected


def test_sleeping_moves_the_clock_and_takes_no_time() -> None:
    sleeps = f"""(i32.store (i32.const 3016) (i32.const 1)) (i64.store (i32.const 3024) (i64.const 3600000000000))
      (drop (call $poll (i32.const 3000) (i32.const 3100) (i32.const 1) (i32.const 3200)))
      (drop (call $time (i32.const 1) (i64.const 0) (i32.const 2052))) {GIVE_EIGHT}"""
    assert number(decided(sleeps, imports=CLOCK + POLL)) == 3_600_000_001_000


def test_a_log_line_is_the_controllers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    decided("(call $log (i32.const 2) (i32.const 1024) (i32.const 8)) (i64.const 0)", imports=LOG)
    assert caplog.messages[0] == "mirror: \n\x06mirror"
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize(
    ("body", "limits", "reason", "named"),
    [
        (FUEL + " (unreachable)", Limits(fuel=1_000_000), "FuelExhausted", "fuel=1000000"),
        (f"(i64.const {4096 << 32 | 1024 * 1024 + 1})", Limits(message_mib=1), "ResultTooLarge", "message_mib=1"),
        ("(drop (memory.grow (i32.const 14))) (unreachable)", Limits(memory_mib=1), "MemoryExhausted", "memory_mib=1"),
    ],
)
def test_what_exceeds_a_limit_is_an_event_that_names_it_and_forgets_nothing(
    body: str, limits: Limits, reason: str, named: str
) -> None:
    given = state()
    given.memory.value = b"kept"
    decision = decided(body, given=given, limits=limits)
    (event,) = decision.events
    assert (event.type, event.reason) == (CoreEvent.WARNING, reason)
    assert named in event.message
    assert decision.memory.value == b"kept"
    assert decision.wake_after.seconds
    assert not decision.calls


BIG = "(memory.grow (i32.const 1000)) (drop)"


@pytest.mark.parametrize(
    ("body", "imports"),
    [
        ("(call $log (i32.const 1) (i32.const 0) (i32.const 0))", LOG),
        (f"{BIG} (call $log (i32.const 1) (i32.const 0) (i32.const 60000000))", LOG),
        (f"{BIG} (drop (call $random (i32.const 0) (i32.const 1048576)))", RANDOM),
        ("(drop (call $time (i32.const 1) (i64.const 0) (i32.const 2052)))", CLOCK),
    ],
)
def test_the_hosts_work_uses_up_fuel_too(body: str, imports: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rube.controllers.wasm")
    controller = WasmController(module(f"(loop $again {body} (br $again)) (unreachable)", imports=imports), Limits())
    (event,) = controller.decide(state()).events
    assert event.reason == "FuelExhausted"
    assert len(caplog.messages) <= LOG_BYTES_MAX // 64
    assert sum(map(len, caplog.messages)) <= LOG_BYTES_MAX * 2


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("(func $f (unreachable)) (start $f)", "unreachable"),
        ("(func $f (call $exit (i32.const 3))) (start $f)", "code 3"),
        ("(func $f (loop $again (br $again))) (start $f)", "used up fuel"),
        ('(global (export "_initialize") i32 (i32.const 1))', "no function '_initialize'"),
        ("(memory 1)", "memory count too high"),
        ("(table 200000 funcref)", "memory_mib=128"),
    ],
)
def test_a_module_that_cannot_start_is_refused(more: str, why: str) -> None:
    exit_ = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    with pytest.raises(InvalidArgumentError, match=why):
        WasmController(module(imports=exit_, more=more), Limits())


def test_tables_are_bounded_as_memory_is() -> None:
    grows = "(drop (table.grow $t (ref.null func) (i32.const 100000000)))"
    code = module(f"{grows} (i64.const 0)", more="(table $t 1 funcref)")
    assert WasmController(code, Limits()).decide(state()) == Decision()  # it was not given the elements


def test_any_sleep_leaves_a_clock() -> None:
    sleeps = "(drop (call $poll (i32.const 3000) (i32.const 3100) (i32.const 1) (i32.const 3200)))"
    body = f"""(i32.store (i32.const 3016) (i32.const 1)) (i64.store (i32.const 3024) (i64.const -1)) {sleeps * 8}
      (drop (call $time (i32.const 0) (i64.const 0) (i32.const 2052))) {GIVE_EIGHT}"""
    assert number(decided(body, imports=CLOCK + POLL)) >= 1 << 60


def test_fuel_is_equal_in_each_instance() -> None:
    loops = """(local $i i32) (loop $again (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 200000)))) (i64.const 0)"""
    used = {bool(decided(loops, limits=Limits(fuel=fuel)).events) for fuel in (1_300_000, 1_300_000)}
    assert used == {True}
    assert not decided(loops, limits=Limits(fuel=3_000_000)).events


@pytest.mark.parametrize(
    ("body", "imports", "why"),
    [
        ("(unreachable)", "", "unreachable"),
        (f"(i64.const {0xFFFFFF00 << 32 | 16})", "", "not in its memory"),
        ("(i64.const 4398046511105)", "", "no api.controller.Decision"),
        ("(call $log (i32.const 1) (i32.const -8) (i32.const 64)) (i64.const 0)", LOG, "not in its memory"),
        (
            "(call $exit (i32.const 3)) (i64.const 0)",
            '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))',
            "code 3",
        ),
    ],
)
def test_a_call_without_a_result_is_the_controllers_mistake(body: str, imports: str, why: str) -> None:
    with pytest.raises(TrapError, match=why):
        decided(body, imports=imports)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (b"no module", "no WebAssembly module"),
        (bytes(wasmtime.wat2wasm("(module)")), "no memory called 'memory'"),
        (bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1))')), "no function 'rube_abi_v1'"),
        (module(imports='(import "env" "open" (func))'), "imports env.open"),
        (module(imports='(import "rube" "now" (func (result i64)))'), "imports rube.now"),
        (module(imports='(import "rube" "log" (func))'), r"another signature than \(i32, i32, i32\)"),
        (module(spec=ControllerSpec(name="Mirror", type="api.Node")), "name"),
        (module(spec=ControllerSpec(name="mirror", type="api.Nod")), "did you mean 'api.Node'"),
    ],
)
def test_what_is_no_controller_is_refused_when_it_is_named(code: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "mirror.wasm"
    file.write_bytes(code)
    with pytest.raises(InvalidArgumentError, match=why) as refused:
        make_controller(str(file))
    assert refused.value.message.startswith(f"controller '{file}': ")


def test_a_name_carries_limits_and_is_found_where_python_finds_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror.wasm").write_bytes(module(FUEL + " (unreachable)"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (event,) = make_controller("mirror.wasm?fuel=2000000").decide(state()).events
    assert "fuel=2000000" in event.message


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent.wasm", "cannot read it"),
        ("mirror.wasm?fule=1", "did you mean 'fuel'"),
        ("mirror.wasm?fuel=ten", "fuel=ten: write a number from"),
        ("mirror.wasm?memory_mib=0", "memory_mib=0: write a number from 1"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror.wasm").write_bytes(module())
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidArgumentError, match=why):
        make_controller(name)
