"""Traces for the TLA+ specification of etcd-raft: the events of an election, a proposal and a change of membership."""

from __future__ import annotations

import json
from typing import Any

from rube.raft.script import Interaction, parse_script
from rube.raft.tla import TlaTrace


def trace(*commands: str) -> list[dict[str, Any]]:
    lines: list[str] = []
    session = Interaction([TlaTrace(lines.append)])
    text = "\n".join(f"{command}\n----\n" for command in commands)
    for directive in parse_script(text, "x.txt").directives:
        session.handle(directive)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    records = [json.loads(line) for line in lines]
    assert {record["tag"] for record in records} == {"trace"}
    return [record["event"] for record in records]


def test_a_member_starts_with_its_configuration() -> None:
    init, applied, follower = trace("add-nodes 1 voters=(1,2) index=2")
    assert init == {
        "name": "InitState",
        "nid": "1",
        "state": {"term": 0, "vote": "0", "commit": 2},
        "role": "StateFollower",
        "log": 2,
        "conf": [[], []],
    }
    assert (applied["name"], applied["conf"], applied["prop"]) == (
        "ApplyConfChange",
        [[], []],
        {"cc": {"newconf": ["1", "2"]}},
    )
    assert (follower["name"], follower["conf"]) == ("BecomeFollower", [["1", "2"], []])


def test_an_election_and_its_first_entry() -> None:
    events = trace("add-nodes 2 voters=(1,2) index=2", "campaign 1", "stabilize 1 2")
    names = [(event["nid"], event["name"]) for event in events[6:]]
    assert names[:3] == [("1", "BecomeCandidate"), ("1", "SendRequestVoteResponse"), ("1", "SendRequestVoteRequest")]
    assert ("1", "BecomeLeader") in names
    assert names.index(("1", "Replicate")) < names.index(("1", "SendAppendEntriesRequest"))
    (leading,) = [event for event in events if event["name"] == "BecomeLeader"]
    assert (leading["role"], leading["state"]["term"], leading["log"]) == ("StateLeader", 1, 2)
    request = next(event["msg"] for event in events if event["name"] == "SendAppendEntriesRequest")
    assert request == {
        "type": "MsgApp",
        "term": 1,
        "from": "1",
        "to": "2",
        "entries": 1,
        "logTerm": 1,
        "index": 2,
        "commit": 2,
        "vote": "0",
        "reject": False,
        "rejectHint": 0,
    }


def test_a_change_of_membership_names_what_changes() -> None:
    events = trace(
        "add-nodes 1 voters=(1) index=2", "campaign 1", "stabilize", "propose-conf-change 1\nl2", "stabilize"
    )
    (change,) = [event for event in events if event["name"] == "ChangeConf"]
    assert change["prop"] == {"cc": {"changes": [{"nid": "2", "action": "AddLearner"}]}}


def test_a_snapshot_is_an_append_of_all_it_covers() -> None:
    events = trace("add-nodes 2 voters=(1,2) index=5", "send-snapshot 1 2", "deliver-msgs 2")
    (received,) = [event for event in events if event["name"] == "ReceiveAppendEntriesRequest"]
    assert (received["msg"]["type"], received["msg"]["entries"], received["msg"]["index"]) == ("MsgSnap", 5, 0)


def test_pre_votes_are_not_part_of_it() -> None:
    events = trace("add-nodes 2 voters=(1,2) index=2 prevote=true", "campaign 1", "process-ready 1", "deliver-msgs 2")
    assert {event["name"] for event in events} == {"InitState", "ApplyConfChange", "BecomeFollower", "Ready"}
