"""The driver's commands: their errors, and what no judging script shows."""

from __future__ import annotations

import pytest

from rube.raft.script import COMMANDS, Interaction, ScriptError, parse_script, without_log_lines


def run(session: Interaction, *commands: str) -> list[str]:
    """The output of each command; its input stands behind a line end."""
    text = "\n".join(f"{command}\n----\n" for command in commands)
    return [session.handle(directive) for directive in parse_script(text, "x.txt").directives]


@pytest.fixture
def three() -> Interaction:
    """Three members, of which 1 leads."""
    session = Interaction()
    setup = ["log-level none", "add-nodes 3 voters=(1,2,3) index=2", "campaign 1", "stabilize", "log-level error"]
    assert set(run(session, *setup)) == {"ok"}
    return session


def test_a_follower_with_a_compacted_log_gets_a_snapshot(three: Interaction) -> None:
    run(three, "propose 1 a", "stabilize 1 2", "compact 1 4", "deliver-msgs drop=(3)", "tick-heartbeat 1", "stabilize")
    assert "StateReplicate match=4 next=5" in run(three, "status 1")[0].split("3: ")[1]


def test_dropped_messages_are_named_and_gone(three: Interaction) -> None:
    outputs = run(three, "propose 1 a", "process-ready 1", "deliver-msgs drop=(2,3)", "deliver-msgs 2")
    assert outputs[2].splitlines() == [
        'dropped: 1->2 MsgApp Term:1 Log:1/3 Commit:3 Entries:[1/4 EntryNormal "a"]',
        'dropped: 1->3 MsgApp Term:1 Log:1/3 Commit:3 Entries:[1/4 EntryNormal "a"]',
    ]
    assert outputs[3] == "no messages\n"


def test_what_a_member_sends_to_itself_cannot_be_dropped() -> None:
    session = Interaction()
    run(session, "add-nodes 1 voters=(1) index=2 async-storage-writes=true", "campaign 1", "process-ready 1")
    assert run(session, "process-append-thread 1", "deliver-msgs drop=(1)")[1] == "no messages\n"
    assert "1->1 MsgVoteResp Term:1 Log:0/0" in run(session, "deliver-msgs 1")[0]


def test_a_snapshot_can_be_sent_by_hand(three: Interaction) -> None:
    (output,) = run(three, "send-snapshot 1 3")
    assert output.startswith("1->3 MsgSnap Term:1 Log:0/0\n  Snapshot: Index:3 Term:1 ConfState:Voters:[1 2 3]")


def test_the_log_level_of_stabilize_is_for_it_alone(three: Interaction) -> None:
    assert run(three, "propose 1 a", "stabilize log-level=none", "raft-log 1") == [
        "ok",
        "ok",
        '1/3 EntryNormal ""\n1/4 EntryNormal "a"\n',
    ]


def test_stabilize_ends_where_nothing_comes_to_rest() -> None:
    """Two that take each other for the leader pass a request on without end."""
    session = Interaction()
    follow = [f"send-snapshot {sender} {to}\n----\n\ndeliver-msgs {to}" for sender, to in ((1, 2), (2, 1))]
    run(session, "log-level none", "add-nodes 2 voters=(1,2) index=2", *follow, "transfer-leadership from=1 to=2")
    assert run(session, "stabilize") == ["not stable after 1000 rounds: do messages go round in circles?"]


def test_refusals_are_printed_even_when_quiet(three: Interaction) -> None:
    outputs = run(three, "log-level none", "transfer-leadership from=1 to=2", "propose 1 a")
    assert outputs[2] == "raft proposal dropped"


def test_what_a_core_notes_is_a_log_line() -> None:
    output = run(Interaction(), "add-nodes 1 voters=(1) index=2", "campaign 1")[1]
    assert output.splitlines()[0] == "INFO 1 became candidate at term 1"
    assert without_log_lines(output) == "ok\n"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("campagn 1", "unknown command"),
        ("campaign", "takes 1 numbers, not 0"),
        ("campaign 4", "there is no member 4"),
        ("campaign x", "'x' is not a number"),
        ("add-nodes 1 colour=red", "unknown option colour=red"),
        ("add-nodes 1 voters=(1)", "index must be specified as > 1"),
        ("add-nodes 1 prevote=maybe", "'maybe' is neither true nor false"),
        ("deliver-msgs 1 drop=1", "can't both deliver and drop msgs to 1"),
        ("deliver-msgs 1 type=MsgNone", "unknown message type MsgNone"),
        ("propose 1", "give a member's id and one word of data"),
        ("propose-conf-change 1 v1=true\nv1 v2", "can only have one operation"),
        ("propose-conf-change 1 transition=slow\nv4", "unknown option transition=slow"),
        ("propose-conf-change 1\nx4", "unknown input: x4"),
        ("set-randomized-election-timeout 1", "'' is not a number"),
        ("set-randomized-election-timeout 1 timeout=0", "at least 1 tick"),
        ("transfer-leadership from=1", "give from=ID and to=ID"),
        ("report-unreachable 1", "takes 2 numbers"),
        ("log-level loud", "log levels must be either of"),
        ("stabilize 1 9", "there is no member 9"),
        ("stabilize loglevel=none", "unknown option loglevel=none"),
        ("deliver-msgs 1 2 drops=(3)", "unknown option drops=3"),
        ("campaign 1 now=yes", "unknown option now=yes"),
        ("add-nodes 98", "at most 100 members"),
        ("add-nodes 1 index=18446744073709551616", "'18446744073709551616' is not a number from 0 to"),
        (f"compact 1 {'9' * 5000}", "is not a number from 0 to"),
        ("propose-conf-change 1\nv18446744073709551616", "unknown token v18446744073709551616"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_command(three: Interaction, command: str, complaint: str) -> None:
    (directive,) = parse_script(f"\n\n{command}\n----\n", "x.txt").directives
    with pytest.raises(ScriptError, match=complaint) as caught:
        three.handle(directive)
    assert caught.value.message.startswith(f"x.txt:3: {command.split()[0]}: ")


def test_every_command_says_how_it_is_written() -> None:
    assert all(command.help for command in COMMANDS.values())
    assert len(COMMANDS) == 22


@pytest.mark.parametrize(
    ("options", "change", "why"),
    [
        ("", "r1 r2 r3", "removed all voters"),
        ("", "l1 l2 l3", "removed all voters"),
        ("transition=implicit", "", "there is no joint configuration to leave"),
        ("v1=true", "r9 ", None),
    ],
)
def test_a_change_that_could_not_be_applied_is_never_proposed(
    three: Interaction, options: str, change: str, why: str | None
) -> None:
    """Once it were committed, no member could go on."""
    output = run(three, "log-level info", f"propose-conf-change 1 {options}\n{change}", "stabilize", "raft-log 1")
    assert output[1] == ("ok" if why is None else f"INFO 1 ignores the change of the configuration: {why}\n")
    assert output[3].splitlines()[-1] == ('1/4 EntryNormal ""' if why else "1/4 EntryConfChange r9")


def test_leaving_a_joint_configuration_takes_no_transition(three: Interaction) -> None:
    output = run(
        three,
        "propose-conf-change 1 transition=explicit\nr3",
        "stabilize",
        "log-level info",
        "propose-conf-change 1 transition=implicit",
        "propose-conf-change 1",
        "stabilize",
    )
    assert output[3] == "INFO 1 ignores the change of the configuration: config is already joint\n"
    assert "1/6 EntryConfChangeV2\n" in output[5]


def test_without_validation_such_a_change_stops_the_script() -> None:
    session = Interaction()
    run(session, "add-nodes 1 voters=(1) index=2 disable-conf-change-validation=true", "campaign 1", "stabilize")
    with pytest.raises(AssertionError, match="member 1 cannot apply entry 4: removed all voters"):
        run(session, "propose-conf-change 1\nr1", "stabilize")
