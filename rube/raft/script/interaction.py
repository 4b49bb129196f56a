"""The commands of etcd-io/raft's interaction tests, over a cluster that is driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rube.api.errors import RubeError
from rube.raft.confchange import ConfChangeError, changes_from_text
from rube.raft.config import ReadMode
from rube.raft.describe import describe_entries, message_type_number
from rube.raft.entries import NO_LIMIT
from rube.raft.raft_pb2 import ConfChange, ConfChangeTransition, ConfChangeV2, Snapshot
from rube.raft.script.cluster import Cluster, Recipient, error_text
from rube.raft.script.output import LOG_LEVELS
from rube.raft.script.parser import Directive, ScriptError
from rube.raft.trace import Observer
from rube.raft.tracker import progress_text

MEMBERS_MAX = 100
"""Members of one cluster."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its usage, its effect, and its handler. The handler raises ScriptError for a directive that it does
    not understand."""

    usage: str
    help: str
    run: Callable[[Interaction, Directive], None]
    options: frozenset[str] | None = frozenset()
    """The names of the arguments with values that it takes; None: the handler checks them."""


class Interaction:
    """A session: `handle` carries out one directive after the other."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        """The observers see every core's steps."""
        self.cluster = Cluster(observers)
        self.output = self.cluster.output

    def handle(self, directive: Directive) -> str:
        """Returns what the directive prints, `ok` if nothing. Refusals of a core are printed, too.

        Raises ScriptError for an unknown command; AssertionError if the script leads a core into an impossible state,
        where etcd panics.
        """
        command = COMMANDS.get(directive.command)
        if command is None:
            raise directive.error(f"unknown command; the commands are {', '.join(sorted(COMMANDS))}")
        for key, value in directive.options():
            if command.options is not None and key not in command.options:
                raise directive.error(f"unknown option {key}={value}: {command.usage}")
        self.output.take()
        try:
            command.run(self, directive)
        except ScriptError:
            raise
        except RubeError as error:
            return self.output.take() + error_text(error)
        return self.output.take() or "ok"

    # Members

    def add_nodes(self, directive: Directive) -> None:
        (count,) = self._numbers(directive, 1)
        if len(self.cluster.nodes) + count > MEMBERS_MAX:
            raise directive.error(f"a cluster has at most {MEMBERS_MAX} members here")
        snapshot = Snapshot()
        options: dict[str, Any] = {}
        for key, value in directive.options():
            if key == "voters":
                snapshot.metadata.conf_state.voters.append(directive.number(value))
            elif key == "learners":
                snapshot.metadata.conf_state.learners.append(directive.number(value))
            elif key == "index":
                snapshot.metadata.index = options["applied"] = directive.number(value)
            elif key == "content":
                snapshot.data = value.encode()
            else:
                options |= _config_option(directive, key, value)
        if snapshot != Snapshot():
            if snapshot.metadata.index <= 1:
                raise directive.error("index must be specified as > 1 due to bootstrap")
            snapshot.metadata.term = 1
        for _ in range(count):
            self.cluster.add_node(snapshot, options)

    def campaign(self, directive: Directive) -> None:
        self.cluster.node(self._member(directive)).raw.campaign()

    def transfer_leadership(self, directive: Directive) -> None:
        ends = {key: directive.number(value) for key, value in directive.options()}
        if sorted(ends) != ["from", "to"]:
            raise directive.error("give from=ID and to=ID")
        self._known(directive, ends.values())
        self.cluster.node(ends["from"]).raw.transfer_leader(ends["to"])

    def forget_leader(self, directive: Directive) -> None:
        self.cluster.node(self._member(directive)).raw.forget_leader()

    def report_unreachable(self, directive: Directive) -> None:
        reporter, reported = self._members(directive, 2)
        self.cluster.node(reporter).raw.report_unreachable(reported)

    def set_randomized_election_timeout(self, directive: Directive) -> None:
        options = dict(directive.options())
        ticks = directive.number(options.get("timeout", ""))
        if not ticks:
            raise directive.error("timeout must be at least 1 tick")
        self.cluster.node(self._member(directive)).raw.raft.randomized_election_timeout = ticks

    # Time

    def tick_election(self, directive: Directive) -> None:
        node = self.cluster.node(self._member(directive))
        for _ in range(node.config.election_ticks):
            node.raw.tick()

    def tick_heartbeat(self, directive: Directive) -> None:
        node = self.cluster.node(self._member(directive))
        for _ in range(node.config.heartbeat_ticks):
            node.raw.tick()

    # Proposals

    def propose(self, directive: Directive) -> None:
        words = directive.words()
        if len(words) != 2 or len(directive.arguments) != 2:
            raise directive.error("give a member's id and one word of data")
        (member,) = self._known(directive, [directive.number(words[0])])
        self.cluster.node(member).raw.propose(words[1].encode())

    def propose_conf_change(self, directive: Directive) -> None:
        v1, transition = False, ConfChangeTransition.TRANSITION_AUTO
        for key, value in directive.options():
            if key == "v1":
                v1 = directive.boolean(value)
            elif key == "transition" and value in _TRANSITIONS:
                transition = _TRANSITIONS[value]
            else:
                raise directive.error(f"unknown option {key}={value}")
        try:
            changes = changes_from_text(directive.input)
        except ConfChangeError as error:
            raise directive.error(error.message) from error
        raw = self.cluster.node(self._member(directive)).raw
        if not v1:
            raw.propose_conf_change(ConfChangeV2(transition=transition, changes=changes))
            return
        if len(changes) != 1 or transition != ConfChangeTransition.TRANSITION_AUTO:
            raise directive.error("v1 conf change can only have one operation and no transition")
        raw.propose_conf_change(ConfChange(type=changes[0].type, node_id=changes[0].node_id))

    # Messages, batches, storage

    def deliver_msgs(self, directive: Directive) -> None:
        recipients = [Recipient(member) for member in directive.numbers()]
        message_type = None
        for key, value in directive.options():
            if key == "drop":
                dropped = Recipient(directive.number(value), drop=True)
                if Recipient(dropped.id) in recipients:
                    raise directive.error(f"can't both deliver and drop msgs to {dropped.id}")
                recipients.append(dropped)
            else:
                message_type = message_type_number(value)
                if message_type is None:
                    raise directive.error(f"unknown message type {value}")
        self._known(directive, [recipient.id for recipient in recipients if not recipient.drop])
        if not self.cluster.deliver(recipients, message_type):
            self.output.line("no messages")

    def send_snapshot(self, directive: Directive) -> None:
        sender, to = self._members(directive, 2)
        self.cluster.send_snapshot(sender, to)

    def process_ready(self, directive: Directive) -> None:
        self._each(directive, "handling Ready", self.cluster.process_ready)

    def process_append_thread(self, directive: Directive) -> None:
        self._each(directive, "processing append thread", self.cluster.process_append_thread)

    def process_apply_thread(self, directive: Directive) -> None:
        self._each(directive, "processing apply thread", self.cluster.process_apply_thread)

    def stabilize(self, directive: Directive) -> None:
        level = self.output.level
        try:
            for _, value in directive.options():
                self._set_level(directive, value)
            everyone = range(1, len(self.cluster.nodes) + 1)
            self.cluster.stabilize(self._known(directive, directive.numbers()) or everyone)
        finally:
            self.output.level = level

    def compact(self, directive: Directive) -> None:
        member, index = self._numbers(directive, 2)
        self._known(directive, [member])
        self.cluster.node(member).storage.compact(index)
        self._print_log(member)

    # Output

    def raft_log(self, directive: Directive) -> None:
        self._print_log(self._member(directive))

    def raft_state(self, directive: Directive) -> None:
        for node in self.cluster.nodes:
            status = node.raw.status()
            voter = "(Voter)" if node.id in status.config.voters.ids() else "(Non-Voter)"
            state = status.soft_state
            self.output.line(f"{node.id}: {state.role} {voter} Term:{status.hard_state.term} Lead:{state.leader}")

    def status(self, directive: Directive) -> None:
        self.output.write(progress_text(self.cluster.node(self._member(directive)).raw.status().progress))

    def log_level(self, directive: Directive) -> None:
        self._set_level(directive, "".join(directive.words()))

    def breakpoint(self, directive: Directive) -> None:
        """Does nothing: a place to stop a debugger at."""

    # Arguments

    def _numbers(self, directive: Directive, count: int) -> list[int]:
        numbers = directive.numbers()
        if len(numbers) != count:
            raise directive.error(f"takes {count} numbers, not {len(numbers)}: {COMMANDS[directive.command].usage}")
        return numbers

    def _members(self, directive: Directive, count: int) -> list[int]:
        return self._known(directive, self._numbers(directive, count))

    def _member(self, directive: Directive) -> int:
        return self._members(directive, 1)[0]

    def _known(self, directive: Directive, members: Iterable[int]) -> list[int]:
        members = list(members)
        for member in members:
            if not 1 <= member <= len(self.cluster.nodes):
                raise directive.error(f"there is no member {member}: add-nodes has made {len(self.cluster.nodes)}")
        return members

    def _each(self, directive: Directive, doing: str, process: Callable[[int], None]) -> None:
        members = self._known(directive, directive.numbers())
        for member in members:
            if len(members) == 1:
                process(member)
                return
            self.output.line(f"> {member} {doing}")
            with self.output.indented():
                process(member)

    def _set_level(self, directive: Directive, name: str) -> None:
        if name.upper() not in LOG_LEVELS:
            raise directive.error(f"log levels must be either of {' '.join(LOG_LEVELS)}")
        self.output.level = name.upper()

    def _print_log(self, member: int) -> None:
        storage = self.cluster.node(member).storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self.output.write(f"log is empty: first index={first}, last index={last}")
        else:
            self.output.write(describe_entries(storage.entries(first, last + 1, NO_LIMIT)))


_TRANSITIONS = {
    "auto": ConfChangeTransition.TRANSITION_AUTO,
    "implicit": ConfChangeTransition.TRANSITION_JOINT_IMPLICIT,
    "explicit": ConfChangeTransition.TRANSITION_JOINT_EXPLICIT,
}

_READ_MODES = {mode.value: mode for mode in ReadMode}
_NUMBER_OPTIONS = {"inflight": "inflight_messages_max", "max-committed-size-per-ready": "applying_bytes_max"}
_FLAG_OPTIONS = {
    "async-storage-writes": "async_storage_writes",
    "prevote": "pre_vote",
    "checkquorum": "check_quorum",
    "step-down-on-removal": "step_down_on_removal",
}


def _config_option(directive: Directive, key: str, value: str) -> dict[str, Any]:
    if key in _NUMBER_OPTIONS:
        return {_NUMBER_OPTIONS[key]: directive.number(value)}
    if key in _FLAG_OPTIONS:
        return {_FLAG_OPTIONS[key]: directive.boolean(value)}
    if key == "disable-conf-change-validation":
        return {"conf_change_validation": not directive.boolean(value)}
    if key == "read-only" and value in _READ_MODES:
        return {"read_mode": _READ_MODES[value]}
    raise directive.error(f"unknown option {key}={value}")


COMMANDS: dict[str, Command] = {
    "add-nodes": Command(
        "COUNT [voters=(ID,…)] [learners=(ID,…)] [index=N] [content=TEXT] [prevote=true] [checkquorum=true] "
        "[async-storage-writes=true] [inflight=N] [max-committed-size-per-ready=BYTES] [read-only=safe|lease-based] "
        "[step-down-on-removal=true] [disable-conf-change-validation=true]",
        "make members, with a first snapshot if it names voters",
        Interaction.add_nodes,
        options=None,
    ),
    "campaign": Command("ID", "start an election", Interaction.campaign),
    "compact": Command("ID INDEX", "drop the log up to the index", Interaction.compact),
    "deliver-msgs": Command(
        "ID… [drop=(ID,…)] [type=MsgApp]",
        "deliver or drop waiting messages",
        Interaction.deliver_msgs,
        frozenset({"drop", "type"}),
    ),
    "forget-leader": Command("ID", "have no leader until one is heard from", Interaction.forget_leader),
    "log-level": Command(" | ".join(LOG_LEVELS), "what to print; NONE: only errors", Interaction.log_level),
    "process-append-thread": Command("ID…", "do the oldest storage write", Interaction.process_append_thread),
    "process-apply-thread": Command("ID…", "apply the oldest batch", Interaction.process_apply_thread),
    "process-ready": Command("ID…", "take the next batch and carry it out", Interaction.process_ready),
    "propose": Command("ID DATA", "propose an entry", Interaction.propose),
    "propose-conf-change": Command(
        "ID [v1=true] [transition=auto|implicit|explicit], and below it: v1 l2 r3 u4",
        "make voters or learners, remove, update; with nothing below it, leave a joint configuration",
        Interaction.propose_conf_change,
        options=None,
    ),
    "raft-log": Command("ID", "print the stored log", Interaction.raft_log),
    "raft-state": Command("", "print every member's role, term and leader", Interaction.raft_state),
    "report-unreachable": Command(
        "ID ID", "report to the first that a message to the second was lost", Interaction.report_unreachable
    ),
    "send-snapshot": Command("FROM TO", "queue a snapshot", Interaction.send_snapshot),
    "set-randomized-election-timeout": Command(
        "ID timeout=TICKS",
        "until the next change of role",
        Interaction.set_randomized_election_timeout,
        frozenset({"timeout"}),
    ),
    "stabilize": Command(
        "[ID…] [log-level=LEVEL]",
        "go on until nothing is left to do",
        Interaction.stabilize,
        frozenset({"log-level"}),
    ),
    "status": Command("ID", "print a leader's view of the followers", Interaction.status),
    "tick-election": Command("ID", "let an election timeout pass", Interaction.tick_election),
    "tick-heartbeat": Command("ID", "let a heartbeat interval pass", Interaction.tick_heartbeat),
    "transfer-leadership": Command(
        "from=ID to=ID", "give the leadership away", Interaction.transfer_leadership, frozenset({"from", "to"})
    ),
    "_breakpoint": Command("", "nothing: a place to stop a debugger at", Interaction.breakpoint),
}
