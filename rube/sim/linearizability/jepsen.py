"""Histories as Jepsen writes them: one operation a line, as an EDN map (`history.edn`) or as its log prints it.

    {:process 3, :type :invoke, :f :cas, :key "a", :value [1 2], :time 1200}
    INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]

`:invoke` begins a call and `:ok` ends it with its answer. `:fail` says that it did not happen; of a `:cas`, that its
compare failed, unless there is an :error. `:info` leaves it open. Without `:time` a line's number is its time. https://github.com/jepsen-io/history
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator

from rube.api.errors import InvalidArgumentError
from rube.sim.linearizability.history import UNKNOWN, Call

_TOKEN = re.compile(r'[\s,]*("(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s,{}\[\]"]+)')
_LOG_LINE = re.compile(r"^INFO\s+jepsen\.util - (\S+)\t(:\w+)\t(:\w+)\t(.*)$")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r"})
_TIMED_OUT = ":timed-out"


def read_history(text: str) -> list[Call]:
    """Returns the calls of a history.

    Raises InvalidArgumentError, which names the line, for a line of neither form. In a log (a file that has lines
    `INFO  jepsen.util - …`) other lines are skipped.
    """
    lines = text.splitlines()
    is_log = any(map(_LOG_LINE.match, lines))
    open_calls: dict[Hashable, _Opened] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines, start=1):
        operation = _of_log(line) if is_log else _of_edn(line, number)
        if operation is None:
            continue
        process, kind = operation.get(":process"), operation.get(":type")
        if not isinstance(process, int):
            continue  # the nemesis, whose operations are faults
        time = operation.get(":time", number)
        if not isinstance(time, int):
            raise InvalidArgumentError(f"line {number}: :time is {time!r}, not a number")
        if kind == ":invoke":
            if process in open_calls:
                raise InvalidArgumentError(
                    f"line {number}: process {process} begins a call, but its call of line "
                    f"{open_calls[process].line} has not ended"
                )
            open_calls[process] = _Opened(number, time, operation)
        elif kind in (":ok", ":fail", ":info"):
            if process not in open_calls:
                raise InvalidArgumentError(f"line {number}: process {process} ends a call that it has not begun")
            calls.extend(open_calls.pop(process).ended(kind, time, operation))
        else:
            raise InvalidArgumentError(f"line {number}: :type is {kind!r}: write :invoke, :ok, :fail or :info")
    for opened in open_calls.values():
        calls.extend(opened.ended(":info", 0, opened.operation))
    return calls


def print_history(calls: Iterable[Call]) -> str:
    """Returns the history as EDN, a map a line, for other judges to read. Processes become numbers."""
    numbers: dict[str, int] = {}
    lines: list[tuple[int, int, str]] = []
    for call in calls:
        process = numbers.setdefault(call.process, len(numbers))
        lines.append((call.start, 0, _printed(process, ":invoke", call, call.argument, call.start)))
        if call.end is None or call.result is UNKNOWN:
            lines.append((2**63, process, _printed(process, ":info", call, call.argument, None)))
        elif call.action == "cas":
            kind = ":ok" if call.result else ":fail"
            lines.append((call.end, 1, _printed(process, kind, call, call.argument, call.end)))
        else:
            value = call.argument if call.argument is not None else call.result
            lines.append((call.end, 1, _printed(process, ":ok", call, value, call.end)))
    return "".join(line for *_, line in sorted(lines, key=lambda item: item[:2]))


class _Opened:
    """A call that has begun."""

    def __init__(self, line: int, start: int, operation: dict[Hashable, Hashable]) -> None:
        self.line = line
        self.operation = operation
        self._start = start

    def ended(self, kind: Hashable, end: int, answer: dict[Hashable, Hashable]) -> Iterator[Call]:
        """Yields the call, unless it did not happen."""
        action = str(self.operation.get(":f", "")).removeprefix(":")
        reads = action in ("read", "get")
        argument = None if reads else self.operation.get(":value")
        result: Hashable = answer.get(":value") if reads else (True if action == "cas" else None)
        known = kind == ":ok"
        if kind == ":fail":
            if action != "cas" or ":error" in answer or answer.get(":value") == _TIMED_OUT:
                return
            known, result = True, False
        key = self.operation.get(":key")
        yield Call(
            process=str(self.operation[":process"]),
            action=action,
            key="" if key is None else str(key),
            argument=argument,
            result=result if known else UNKNOWN,
            start=self._start,
            end=end if known else None,
        )


def _of_log(line: str) -> dict[Hashable, Hashable] | None:
    if not (found := _LOG_LINE.match(line)):
        return None
    process, kind, action, value = found.groups()
    (read,) = _values(value)
    return {":process": int(process) if process.isdigit() else process, ":type": kind, ":f": action, ":value": read}


def _of_edn(line: str, number: int) -> dict[Hashable, Hashable] | None:
    if not line.strip() or line.lstrip().startswith(";"):
        return None
    try:
        (value,) = _values(line)
    except (ValueError, IndexError):
        value = None
    if not isinstance(value, tuple) or not value or value[0] != "{":
        raise InvalidArgumentError(
            f"line {number} is no operation: {line.strip()[:60]!r}; write {{:process 0, :type :invoke, …}}"
        )
    fields = value[1:]
    if len(fields) % 2:
        raise InvalidArgumentError(f"line {number}: the field {fields[-1]} has no value")
    return dict(zip(fields[::2], fields[1::2], strict=True))


def _values(text: str) -> Iterator[Hashable]:
    """The values of EDN in a text: numbers, strings, nil, true, false, vectors as tuples, and maps."""
    tokens = iter(_TOKEN.findall(text))
    for token in tokens:
        yield _value(token, tokens)


def _value(token: str, tokens: Iterator[str]) -> Hashable:
    if token in ("[", "{"):
        close = "]" if token == "[" else "}"
        items: list[Hashable] = [] if token == "[" else ["{"]
        for inner in tokens:
            if inner == close:
                return tuple(items)
            items.append(_value(inner, tokens))
        raise ValueError("a bracket is not closed")
    if token.startswith('"'):
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), token[1:-1])
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    return {"nil": None, "true": True, "false": False}.get(token, token)


def _printed(process: int, kind: str, call: Call, value: Hashable, time: int | None) -> str:
    key = f", :key {_edn(call.key)}" if call.key else ""
    at = "" if time is None else f", :time {time}"
    return f"{{:process {process}, :type {kind}, :f :{call.action}{key}, :value {_edn(value)}{at}}}\n"


def _edn(value: Hashable) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case tuple():
            return f"[{' '.join(map(_edn, value))}]"
    return '"' + str(value).translate(_ESCAPED) + '"'
