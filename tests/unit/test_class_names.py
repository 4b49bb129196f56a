"""One meaning a word: no two packages have a class of one name, but for those of REPEATED."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLASS = re.compile(r"^ *class ([A-Z]\w*)", re.MULTILINE)
REPEATED = {
    "Access": "the rights of a caller; how a SQLite file is opened",
    "Asked": "what a caller asks to do; the judges' record of a question",
    "Backend": "what a server's verbs use; a kind of store",
    "Call": "a call of a function in CEL; a call of gRPC",
    "Change": "a change of one object, as the store and as a client's cache see it",
    "Cluster": "of a script of Raft's; the simulated one of a user's test",
    "Comparison": "of two versions of a type; of two programs under the same seeds",
    "Connection": "to a SQLite file; to a server",
    "Copy": "of a cluster's objects, as a relay has it; of an object on a node's disk, in the judges' records",
    "Daemon": "a process of `rube up`, and its simulated twin",
    "Directive": "a line of a script of Raft's; a line of a unit file",
    "Endpoints": "the servers of a client of Rube's; those of a client of etcd's",
    "Follower": "what keeps a copy of objects, in `ructl` and in the judges' records",
    "Forwarder": "of a relay's calls; of a test's connections",
    "Gate": "of a type that is pushed; of a caller's rights",
    "Identity": "of a node, of a store, and of a certificate",
    "Leadership": "of a controller's leader; the judges' record of one of a group",
    "Link": "the way to another host: of a group's member, and of the simulated network",
    "LostError": "a connection that is lost: to a SQL server, and of HTTP/2",
    "Member": "of a group, and of a simulated etcd, which stands on that",
    "MemberConfig": "likewise",
    "Newest": "the newest revision of upstream, as a relay asks for it; the newest version of a key",
    "Operator": "of a label selector; a person who looks after a simulated group",
    "Outcome": "of a write: the server's, and the judges' record",
    "Page": "of a list; of the port that answers browsers",
    "Policy": "of rights; of a service's restarts",
    "Position": "in a text; in the changes of a store",
    "Reads": "those that wait for a member's log, for a term's heartbeats; those of a store on SQL",
    "Recorder": "of a simulated world's history; of the attempts that are judged for linearizability",
    "Refused": "a call of a controller; an operation on a model",
    "RefusedError": "a request that a SQL server, or one of HTTP/2, did not carry out",
    "Result": "of a simulation; of a service, by systemd's word",
    "Selection": "the objects of a filter, in a server and for the judges",
    "Shape": "of a field: for its owners, for its rules; of a watch's filter",
    "Sight": "what a caller may see; what a client has seen, for the judges",
    "Snapshot": "of an engine; of the types that a write is decided with",
    "Step": "of a path, of a trace, of a history",
    "Storage": "that a host has; that Raft asks for its log, by etcd's word",
    "Stream": "of a simulated etcd's watch; the judges' record of any watch",
    "Term": "of a leader, and the judges' record of one",
    "TooLargeError": "a message of HTTP/2 that is larger than its reader takes",
    "View": "of a controller, and the judges' record of one",
    "Violation": "of a type's rules; of linearizability",
    "WatchBounds": "of a server's responses, and of the watches of a store on etcd",
}
"""The meanings of each: two that are far apart, or one thing and its twin."""


@cache
def repeated() -> dict[str, list[str]]:
    """The modules of each public class whose name several have."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in ("rube", "ructl"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name:
                for name in CLASS.findall(path.read_text()):
                    found[name].add(str(path.relative_to(ROOT)))
    return {name: sorted(paths) for name, paths in found.items() if len(paths) > 1}


def test_a_name_of_a_class_says_which_it_is() -> None:
    new = {name: paths for name, paths in repeated().items() if name not in REPEATED}
    assert not new, f"give one of them a name of its own, or REPEATED a reason: {new}"


def test_what_is_listed_is_repeated() -> None:
    assert REPEATED.keys() <= repeated().keys(), "leave out what has one class by now"
