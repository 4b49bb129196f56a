"""A scenario's claims about objects and its judges of one's own: their check at the start, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.api.types import Types
from rube.sim.judges import History, Verdict
from rube.sim.judges.claims import Claim, always, compiled, eventually, never
from rube.sim.judges.verdict import judge
from rube.sim.scenario.scenario_pb2 import Expectation, Scenario
from rube.sim.scenario.yamlproto import Path, Source

Judge = Callable[[History], Iterable[str]]
"""A judge of one's own: it returns a sentence for each violation."""


def check_claims(scenario: Scenario, source: Source, types: Types) -> None:
    """Notes in `source` what makes a claim or a judge unusable."""
    for index, expectation in enumerate(scenario.expect):
        match expectation.WhichOneof("check"):
            case "always" | "eventually" | "never" as check:
                _check_claim(expectation, ("expect", index, check), source, types)
            case "judge":
                try:
                    _judge_named(expectation.judge)
                except InvalidArgumentError as error:
                    source.error(("expect", index, "judge"), error.message)


def claim_of(expectation: Expectation) -> Claim:
    """Returns the claim of an `always`, `eventually` or `never`."""
    match expectation.WhichOneof("check"):
        case "always":
            return always(expectation.always.type, expectation.always.cel)
        case "eventually":
            soon = expectation.eventually
            return eventually(soon.type, soon.cel, within=soon.within.ToNanoseconds() / 1e9)
        case "never":
            bad = expectation.never
            return never(bad.type, bad.cel, lasting=bad.lasting.ToNanoseconds() / 1e9)
        case check:
            raise AssertionError(f"{check} is no claim")


def own_verdict(name: str, history: History) -> Verdict:
    """The verdict of a judge of one's own. An exception in it counts as a violation."""
    try:
        offending = [str(line) for line in _judge_named(name)(history)]
    except Exception as error:  # whatever a user's judge raises
        return Verdict(check=name, passed=False, text=f"the judge failed: {type(error).__name__}: {error}")
    return judge(name, "the judge finds no violation", offending, violated="the judge finds violations")


def _check_claim(expectation: Expectation, path: Path, source: Source, types: Types) -> None:
    claim = claim_of(expectation)
    if not claim.type:
        source.error(path, "no type: add `type: api.systemd.Unit`")
    if not claim.expression:
        source.error(path, "no condition: add `cel: \"spec.description != ''\"`")
    if expectation.HasField("eventually") and not expectation.eventually.HasField("within"):
        source.error(path, "no time: add `within: 30s`")
    elif claim.limit_ns is not None and claim.limit_ns <= 0:
        source.error(path, "impossible time: write more than 0s")
    if not (claim.type and claim.expression):
        return
    try:
        types.kind(claim.type)
    except InvalidArgumentError as error:
        source.error((*path, "type"), error.message)
        return
    try:
        compiled(claim.type, claim.expression, types)
    except InvalidArgumentError as error:
        source.error((*path, "cel"), error.message)


def _judge_named(name: str) -> Judge:
    """Returns a judge. Raises InvalidArgumentError that says what is missing: the module, or the function in it."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise InvalidArgumentError(f"{name!r} names no judge: write module:function")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        raise InvalidArgumentError(f"cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    found: Judge | None = getattr(module, attribute, None)
    if not callable(found):
        functions = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        raise InvalidArgumentError(f"{module_name} has no function {attribute!r}; {suggestion(attribute, functions)}")
    return found
