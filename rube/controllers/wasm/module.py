"""A module: compiled once, and a fresh instance for each call, so that nothing of one call is left in the next."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Final

import wasmtime

from rube.api.errors import InvalidArgumentError
from rube.controllers.wasm.limits import MIB, LimitExceededError, Limits
from rube.controllers.wasm.system import WASI, ExitError, PointerError, System, missing

ABI: Final = "rube_abi_v1"
_ALLOC, _DESCRIBE, _DECIDE, _INITIALIZE = "rube_alloc", "rube_describe", "rube_decide", "_initialize"
_EXPORTS: Final = {ABI: ("", ""), _ALLOC: ("i", "i"), _DESCRIBE: ("", "I"), _DECIDE: ("ii", "I")}
_LETTERS: Final = {"i32": "i", "i64": "I", "f32": "f", "f64": "F"}
_TRAP: Final = "wasm trap: "
# A module that gets no more memory traps, as it does for other reasons; with so much of it, this is taken for why.
_MEMORY_FULL: Final = 0.75
_TABLE_ELEMENTS: Final = 100_000
_STACK_BYTES: Final = 512 * 1024


class TrapError(Exception):
    """A call of a module ended in a trap: it panicked, say."""


class Module:
    """A compiled module. Raises InvalidArgumentError for bytes that are no module of the ABI."""

    def __init__(self, code: bytes, limits: Limits) -> None:
        self._limits = limits
        self._system = System()
        try:
            self._module = wasmtime.Module(_engine(), code)
        except wasmtime.WasmtimeError as error:
            raise InvalidArgumentError(f"it is no WebAssembly module: {_first_line(error)}") from error
        _check_exports(self._module)
        self._prepared = _linker(self._module, self._system).instantiate_pre(self._module)

    def describe(self) -> bytes:
        """Returns the bytes of the ControllerSpec. Raises as `decide` does."""
        return self._run("", 0, b"", _DESCRIBE, None)

    def decide(self, state: bytes, *, name: str, now_ns: int, seed: bytes) -> bytes:
        """Returns the bytes of the Decision. Raises LimitExceededError, and TrapError for a call that has no result."""
        return self._run(name, now_ns, seed, _DECIDE, state)

    def _run(self, name: str, now_ns: int, seed: bytes, function: str, argument: bytes | None) -> bytes:
        limits = self._limits
        if argument is not None and len(argument) > limits.message_mib * MIB:
            raise LimitExceededError(
                "StateTooLarge", f"the State has {len(argument)} bytes, more than message_mib={limits.message_mib}"
            )
        store = wasmtime.Store(_engine())
        store.set_fuel(limits.fuel)
        store.set_limits(
            memory_size=limits.memory_mib * MIB, table_elements=_TABLE_ELEMENTS, instances=1, memories=1, tables=16
        )
        self._system.begin(name, now_ns, seed, partial(_burn, store, limits.fuel))
        memory_bytes = 0
        try:
            exports = self._prepared.instantiate(store).exports(store)
            memory = exports["memory"]
            assert isinstance(memory, wasmtime.Memory), "checked when the module was compiled"
            try:
                return self._call(store, exports, memory, function, argument)
            finally:
                memory_bytes = memory.data_len(store)
        except wasmtime.Trap as error:
            raise self._told(error, memory_bytes) from error
        except wasmtime.WasmtimeError as error:  # it has no instance: its memory or tables are larger than the limits
            why = f"memory_mib={limits.memory_mib}: {_first_line(error)}"
            raise LimitExceededError("MemoryExhausted", why) from error
        except (ExitError, PointerError) as error:
            raise TrapError(str(error)) from error
        finally:
            self._system.end()
            store.close()

    def _call(
        self,
        store: wasmtime.Store,
        exports: Mapping[str, object],
        memory: wasmtime.Memory,
        function: str,
        argument: bytes | None,
    ) -> bytes:
        if _INITIALIZE in exports:
            _function(exports, _INITIALIZE)(store)
        arguments = []
        if argument is not None:
            start = _function(exports, _ALLOC)(store, len(argument)) & 0xFFFFFFFF
            if start + len(argument) > memory.data_len(store):
                raise PointerError(f"{_ALLOC}({len(argument)}) gave {start}, which is not in its memory")
            memory.write(store, argument, start)
            arguments = [start, len(argument)]
        packed = _function(exports, function)(store, *arguments) & 0xFFFFFFFFFFFFFFFF
        start, size = packed >> 32, packed & 0xFFFFFFFF
        if size > self._limits.message_mib * MIB:
            raise LimitExceededError(
                "ResultTooLarge",
                f"{function} gave {size} bytes, more than message_mib={self._limits.message_mib}",
            )
        if start + size > memory.data_len(store):
            raise PointerError(f"{function} gave {size} bytes at {start}, which are not in its memory")
        return bytes(memory.read(store, start, start + size))

    def _told(self, trap: wasmtime.Trap, memory_bytes: int) -> Exception:
        limits = self._limits
        if trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL:
            return LimitExceededError("FuelExhausted", f"it used up fuel={limits.fuel}")
        why = f"{_first_line(trap)}, with {memory_bytes / MIB:.0f} MiB of memory_mib={limits.memory_mib}"
        if memory_bytes >= limits.memory_mib * MIB * _MEMORY_FULL:
            return LimitExceededError("MemoryExhausted", why)
        return TrapError(why)


def _burn(store: wasmtime.Store, limit: int, fuel: int) -> None:
    """Uses up fuel for work of the host's. Raises LimitExceededError if there is not so much left."""
    left = store.get_fuel()
    if left < fuel:
        raise LimitExceededError("FuelExhausted", f"it used up fuel={limit}")
    store.set_fuel(left - fuel)


@cache
def _engine() -> wasmtime.Engine:
    """Returns the engine of all modules. Whatever machine it runs on, a call does the same and costs the same fuel."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.max_wasm_stack = _STACK_BYTES
    config.cache = True  # Wasmtime's own, in the user's cache directory: compiling takes seconds
    return wasmtime.Engine(config)


def _check_exports(module: wasmtime.Module) -> None:
    exports = {export.name: export.type for export in module.exports}
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        raise InvalidArgumentError("it exports no memory called 'memory'")
    optional = {_INITIALIZE: ("", "")} if _INITIALIZE in exports else {}
    for name, wanted in (_EXPORTS | optional).items():
        found = exports.get(name)
        if not isinstance(found, wasmtime.FuncType):
            raise InvalidArgumentError(f"it exports no function {name!r}: it is no controller of Rube's ABI")
        if _signature(found) != wanted:
            raise InvalidArgumentError(f"its function {name!r} has another signature than {_written(*wanted)}")


def _linker(module: wasmtime.Module, system: System) -> wasmtime.Linker:
    linker = wasmtime.Linker(_engine())
    functions = system.functions()
    for wanted in module.imports:
        place, name, found = wanted.module, wanted.name or "", wanted.type
        if not isinstance(found, wasmtime.FuncType) or place not in ("rube", WASI):
            raise InvalidArgumentError(
                f"it imports {place}.{name}, which no controller gets: rube.log and WASI preview 1 are all"
            )
        parameters, results = _signature(found)
        if (known := functions.get((place, name))) is not None:
            expected = known[0], "" if name in ("log", "proc_exit") else "i"
            if (parameters, results) != expected:
                raise InvalidArgumentError(
                    f"it imports {place}.{name} with another signature than {_written(*expected)}"
                )
            function = known[1]
        elif place == WASI and results == "i":
            function = missing
        else:
            raise InvalidArgumentError(f"it imports {place}.{name}, which there is not")
        linker.define_func(place, name, found, system.counted(function), access_caller=True)
    return linker


def _signature(function: wasmtime.FuncType) -> tuple[str, str]:
    return (
        "".join(_LETTERS.get(str(each), "?") for each in function.params),
        "".join(_LETTERS.get(str(each), "?") for each in function.results),
    )


def _written(parameters: str, results: str) -> str:
    names = {letter: name for name, letter in _LETTERS.items()}
    return f"({', '.join(names[each] for each in parameters)}) -> ({', '.join(names[each] for each in results)})"


def _function(exports: Mapping[str, object], name: str) -> wasmtime.Func:
    found = exports[name]
    assert isinstance(found, wasmtime.Func), "checked when the module was compiled"
    return found


def _first_line(error: Exception) -> str:
    """Returns the reason of a trap, without the frames before it, or the first line of another error."""
    lines = str(error).strip().splitlines()
    return next((line.partition(_TRAP)[2] for line in lines if _TRAP in line), lines[0])
