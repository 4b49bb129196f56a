"""Published bugs, each as edits of the shipped code, with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.planted.switch import Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A bug that another system had, planted in the place where Rube does it right."""

    name: str
    what: str
    source: str
    edits: Sequence[Edit]
    scenario: str
    """The general scenario of its area, which does not know it."""
    seed: int = 0
    """The first seed that finds it; 0: none of those that were tried."""


def bug(name: str, what: str, source: str, scenario: str, *edits: tuple[str, str, str], seed: int = 0) -> Bug:
    planted = [Edit(*edit) for edit in edits]
    return Bug(name=name, what=what, source=source, edits=planted, scenario=scenario, seed=seed)


RAFT = "[Raft](https://raft.github.io/raft.pdf)"
GUIDE = "[Students' guide to Raft](https://thesquareplanet.com/blog/students-guide-to-raft/)"
ETCD_TABLE = "[etcd's robustness table](https://github.com/etcd-io/etcd/tree/main/tests/robustness#track-record)"
SIEVE = "[Sieve](https://www.usenix.org/conference/osdi22/presentation/sun)"
JEPSEN = "https://jepsen.io/analyses"


def etcd(number: int) -> str:
    return f"etcd [#{number}](https://github.com/etcd-io/etcd/issues/{number}), {ETCD_TABLE}"


IN_RAFT = [
    bug(
        "votes-twice",
        "A member votes for every candidate of a term",
        f"{RAFT} 5.2",
        "group",
        ("rube.raft.election:on_vote_request", "raft.vote == message.sender or free or future", "True"),
    ),
    bug(
        "votes-for-a-shorter-log",
        "A member votes for a candidate whose log lacks what it has",
        f"{RAFT} 5.4.1; {GUIDE}",
        "group",
        (
            "rube.raft.election:on_vote_request",
            "granted = granted and EntryId(message.log_term, message.index) >= raft.log.last_id()",
            "pass",
        ),
    ),
    bug(
        "commits-an-earlier-term",
        "A leader commits entries of earlier terms by counting copies",
        f"{RAFT} 5.4.2, figure 8",
        "group",
        (
            "rube.raft.log:RaftLog.maybe_commit",
            "if entry.index <= self.committed or not self.matches(entry):",
            "if entry.index <= self.committed:",
        ),
    ),
    bug(
        "forgets-its-vote",
        "The vote is not on the disk",
        f"{RAFT} figure 2; {GUIDE}",
        "group",
        (
            "rube.group.log:_hard_state",
            "vote=append.vote, ",
            "",
        ),
        seed=1,
    ),
    bug(
        "vote-without-sync",
        "A vote alone counts as a write that may wait",
        "etcd raft's MustSync",
        "group",
        ("rube.group.log:DurableLog.must_sync", "or moved", ""),
        seed=1,
    ),
    bug(
        "answers-before-it-is-durable",
        "A follower acknowledges entries that are not on its disk",
        etcd(14370),
        "group",
        (
            "rube.raft.state:Raft.send",
            "if kind in _AFTER_APPEND:",
            "if kind in _AFTER_APPEND and message.to == self.id:",
        ),
        seed=1,
    ),
    bug(
        "truncates-always",
        "A follower cuts its log behind every append, also where the entries are equal",
        GUIDE,
        "group",
        (
            "rube.raft.log:RaftLog.maybe_append",
            "conflict = self._first_difference(entries)",
            "conflict = entries[0].index if entries else None",
        ),
    ),
    bug(
        "heartbeat-commits-too-much",
        "A heartbeat's commit index is not cut to what the follower has",
        f"{GUIDE}; etcd raft's bcastHeartbeat",
        "group",
        ("rube.raft.replication:broadcast_heartbeat", "min(progress.match, raft.log.committed)", "raft.log.committed"),
        seed=1,
    ),
    bug(
        "reads-without-a-quorum",
        "A leader answers reads by itself, though another may have been elected",
        "[Jepsen: etcd 0.4.1 and Consul 0.3](https://aphyr.com/posts/316-jepsen-etcd-and-consul)",
        "group",
        (
            "rube.raft.reading:_confirm",
            "if raft.tracker.is_singleton() or _leased(raft):",
            "if True:",
        ),
    ),
    bug(
        "reads-before-its-term-commits",
        "A new leader answers reads by a commit index that is behind",
        "[dissertation 6.4](https://github.com/ongardie/dissertation); etcd "
        "[PR 10998](https://github.com/etcd-io/etcd/pull/10998)",
        "group",
        ("rube.raft.reading:on_read_index", "elif not raft.committed_in_term():", "elif False:"),
    ),
    bug(
        "majority-of-half",
        "Half of the members count as a majority",
        f"{RAFT} 5.2; [Jepsen: Redis-Raft]({JEPSEN}/redis-raft-1b3fbf6)",
        "group",
        ("rube.raft.quorum:MajorityConfig.vote_result", "quorum = len(self) // 2 + 1", "quorum = len(self) // 2"),
        seed=1,
    ),
    bug(
        "commits-on-a-minority",
        "An entry counts as committed once one member has it",
        f"{RAFT} 5.3; [Jepsen: Redis-Raft]({JEPSEN}/redis-raft-1b3fbf6)",
        "group",
        (
            "rube.raft.quorum:MajorityConfig.committed_index",
            "indexes[(len(indexes) - 1) // 2]",
            "indexes[-1]",
        ),
        seed=1,
    ),
    bug(
        "keeps-what-was-overwritten",
        "Entries behind an overwritten one stay on the disk, and are there again after a restart",
        f"[Jepsen: Redis-Raft]({JEPSEN}/redis-raft-1b3fbf6)",
        "group",
        (
            "rube.group.log:DurableLog.writes_of",
            "writes += [Write(entry_key(index), None) for index in range(first_gone, last + 1)]",
            "pass",
        ),
    ),
    bug(
        "snapshot-without-members",
        "A member that takes a snapshot keeps its own configuration",
        "[dissertation 4 and 5](https://github.com/ongardie/dissertation)",
        "group",
        (
            "rube.raft.following:restore",
            "    raft.log.restore(snapshot)\n",
            "    before = raft.tracker.config, raft.tracker.progress\n    raft.log.restore(snapshot)\n",
        ),
        (
            "rube.raft.following:restore",
            "membership.switch(raft, Changer(raft.tracker, raft.log.last_index()).restore(conf_state))",
            "raft.tracker.config, raft.tracker.progress = before",
        ),
        seed=1,
    ),
    bug(
        "applied-index-ahead-of-the-state",
        "A commit records entries as applied whose writes it lacks",
        "etcd [3.5's data inconsistency]("
        "https://github.com/etcd-io/etcd/blob/main/Documentation/postmortems/v3.5-data-inconsistency.md), "
        + etcd(13766),
        "group",
        (
            "rube.group.storage:StorageWriter._commit",
            "self._writes, self._bytes, self._changed, self._commit_moved = [], 0, False, False",
            "late = writes[len(writes) // 2 :]\n"
            "    del writes[len(writes) // 2 :]\n"
            "    self._writes, self._bytes, self._changed, self._commit_moved = late, 0, bool(late), False",
        ),
    ),
    bug(
        "state-depends-on-the-member",
        "A transaction's outcome depends on more than the log",
        etcd(14571),
        "group",
        (
            "rube.store.replicated.machine:StoreMachine.apply",
            "outcomes = [group.add(_txn(txn)) for txn in decoded.txns]",
            "few = 1 if self._given % 7 == 3 and self._durable != self._given else len(decoded.txns)\n"
            "    outcomes = [group.add(_txn(txn)) for txn in decoded.txns[:few]]\n"
            "    outcomes += [group.revision for _ in decoded.txns[few:]]",
        ),
        seed=1,
    ),
    bug(
        "follower-reads-what-it-has",
        "A follower answers a consistent read by its own state",
        "[Jepsen: etcd 0.4.1 and Consul 0.3](https://aphyr.com/posts/316-jepsen-etcd-and-consul)",
        "group",
        (
            "rube.store.replicated.store:ReplicatedStore.get",
            "if not serializable:",
            "if min_revision > self.revision:",
        ),
        seed=1,
    ),
    bug(
        "unchanged-by-a-stale-read",
        "A server answers from its own old state that a put changes nothing",
        "Kubernetes",
        "group",
        (
            "rube.server.writes:Writer._attempt",
            "if not ops or intent.validate_only:\n        if found.serializable:",
            "if not ops or intent.validate_only:\n        if False:",
        ),
    ),
]

IN_STORES = [
    bug(
        "acknowledges-before-it-is-durable",
        "A store answers a write that is not on its disk",
        etcd(14370),
        "single",
        (
            "rube.store.embedded.store:MvccStore._commit_group",
            "await self._engine.commit(encode_rows(group.rows, heads=self._state.heads))",
            "import asyncio\n"
            "        asyncio.ensure_future(self._engine.commit(encode_rows(group.rows, heads=self._state.heads)))",
        ),
        seed=1,
    ),
    bug(
        "visible-before-it-is-durable",
        "Reads and watches show a write that a crash can take back",
        f"[Jepsen: MongoDB 3.4]({JEPSEN}/mongodb-3-4-0-rc3)",
        "single",
        (
            "rube.store.embedded.store:MvccStore._commit_group",
            "await self._engine.commit(encode_rows(group.rows, heads=self._state.heads))\n"
            "        self._versions.show(group.rows, group.revision)",
            "self._versions.show(group.rows, group.revision)\n"
            "        await self._engine.commit(encode_rows(group.rows, heads=self._state.heads))",
        ),
        seed=1,
    ),
    bug(
        "delete-lost-by-compaction",
        "A watch that resumes before the compacted revision misses the delete there",
        f"{etcd(18089)}; [#19179](https://github.com/etcd-io/etcd/issues/19179)",
        "single",
        (
            "rube.store.mvcc.versions:Versions._check_kept",
            "if revision < self.state.compact_revision:",
            "if revision < self.state.compact_revision - 30:",
        ),
        seed=1,
    ),
    bug(
        "compacts-what-is-newest",
        "A compaction removes the newest value of a key",
        "kine",
        "single",
        (
            "rube.store.mvcc.index:KeyIndex.superseded",
            "kept = 1 if count and not entries[count - 1] & 1 else 0",
            "kept = 1 if 0 < count < len(entries) and not entries[count - 1] & 1 else 0",
        ),
        seed=1,
    ),
    bug(
        "writes-without-compare",
        "A server commits what it has read before without a condition",
        f"[Jepsen: etcd 3.4.3]({JEPSEN}/etcd-3.4.3), lost updates",
        "etcd",
        (
            "rube.server.writes:Writer._attempt",
            "Txn(tuple(ops), (*compares, *opened, *guards))",
            "Txn(tuple(ops), (*opened, *guards))",
        ),
    ),
    bug(
        "repeats-a-transaction",
        "The store's client sends a transaction again whose answer was lost",
        f"[Jepsen: jetcd 0.8.2]({JEPSEN}/jetcd-0.8.2)",
        "etcd",
        ("rube.store.etcd.store:EtcdStore.commit", "repeatable=False", "repeatable=True"),
        ("rube.server.writes:Writer._attempt", "(*compares, *opened, *guards)", "(*opened, *guards)"),
    ),
    bug(
        "tail-skips-what-was-lost",
        "A watch is read again from the newest revision after its connection broke",
        "kine, lost events",
        "etcd",
        (
            "rube.store.etcd.store:EtcdStore._read_tail",
            "reader = await self.open_log(self.tail.revision)",
            "reader = await self.open_log(max(self.tail.revision, self._reads.revision))",
        ),
    ),
]

IN_SERVERS = [
    bug(
        "event-lost-as-a-watch-joins",
        "What changes between a watch's list and its first event is not told",
        "kine, lost events",
        "single",
        ("rube.server.feed:ChangeFeed.join", "after < self.revision or ", ""),
        seed=1,
    ),
    bug(
        "bookmark-overtakes-events",
        "A progress notification covers events that were not sent",
        etcd(15220),
        "single",
        (
            "rube.server.feed:Subscription.take",
            "if self._ready:",
            "if self._ready and len(self._ready) < 2 and self._bookmark is None:",
        ),
        (
            "rube.server.feed:Subscription.give",
            "self._bookmark = None\n    self.told",
            "self._bookmark = EncodedResponse(b'', 0, responses[-1].revision, responses[-1].store_id)\n    self.told",
        ),
        seed=1,
    ),
    bug(
        "watch-goes-back-in-time",
        "A watch that resumes gets events that it had",
        etcd(15271),
        "single",
        (
            "rube.server.watch:Watches.watch",
            "after = request.after_revision\n",
            "after = max(request.after_revision - 1, 0)\n",
        ),
        seed=1,
    ),
    bug(
        "event-twice",
        "A transaction's second event comes twice",
        etcd(15247),
        "single",
        (
            "rube.server.events:responses_for",
            "    parts.append(event.encoded())\n",
            "    parts.append(event.encoded())\n"
            "        if event.revision == revision:\n            parts.append(event.encoded())\n",
        ),
        seed=1,
    ),
    bug(
        "split-revision",
        "A response ends within a revision",
        f"{ETCD_TABLE}: atomic; etcd",
        "single",
        (
            "rube.server.events:responses_for",
            "full = len(parts) >= bounds.events_max or size + event.size_bytes > bounds.bytes_max\n"
            "        if full and parts and event.revision != revision:",
            "if len(parts) == 1:",
        ),
        seed=1,
    ),
    bug(
        "leaves-a-filter-unsaid",
        "An object whose labels stop to match is not deleted for the watch",
        "Kubernetes",
        "single",
        (
            "rube.server.events:event_for",
            "return cache.delete(previous, record.mod_revision)",
            "return cache.delete(previous, record.mod_revision) if change.deleted else None",
        ),
        seed=1,
    ),
    bug(
        "list-of-two-revisions",
        "The pages of a list are of different revisions",
        "Kubernetes; etcd's range without a revision",
        "single",
        (
            "rube.server.read:list_objects",
            'start, revision, min_revision = token.last_key + b"\\0", token.revision, 0',
            'start, revision, min_revision = token.last_key + b"\\0", 0, 0',
        ),
        seed=1,
    ),
    bug(
        "precondition-forgotten",
        "A stale revision is accepted",
        f"{SIEVE}: stale state",
        "single",
        (
            "rube.server.preconditions:check_preconditions",
            "elif precondition.revision and precondition.revision != metadata.revision:",
            "elif False:",
        ),
        seed=1,
    ),
    bug(
        "fence-forgotten",
        "A former leader's write is taken",
        "[How to do distributed locking](https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html); "
        f"[Jepsen: etcd 3.4.3]({JEPSEN}/etcd-3.4.3), locks",
        "replicas",
        ("rube.server.preconditions:check_fence", "if fence.term < seen:", "if False:"),
    ),
    bug(
        "renewal-answered-and-lost",
        "A renewal of a lease is answered before it is written",
        "Consul",
        "single",
        (
            "rube.server.renewals:Renewals._try_to_write",
            "renewed = _renewed(current[each.key], each)",
            "renewed = None if index % 2 == 0 else _renewed(current[each.key], each)",
        ),
        seed=1,
    ),
]

IN_CLIENTS = [
    bug(
        "repeats-any-write",
        "A client sends a write again that may have been done",
        f"[Jepsen: jetcd 0.8.2]({JEPSEN}/jetcd-0.8.2)",
        "single",
        ("rube.client.retries:may_repeat", "(is_unknown(error) and is_conditional(request))", "is_unknown(error)"),
        seed=4,
    ),
    bug(
        "stays-with-a-dead-server",
        "A client does not turn to another server",
        "Nomad",
        "group",
        (
            "rube.client.endpoints:Endpoints.rotate",
            "self._current = (self._current + 1) % len(self._targets)",
            "pass",
        ),
    ),
    bug(
        "waits-for-a-half-open-connection",
        "A client waits without a limit for the first answer of a watch",
        "BlueChi, half-open connections",
        "group",
        (
            "rube.client.client:Client._first",
            "async with self._clock.timeout(self._config.attempt_s_max):",
            "async with self._clock.timeout(None):",
        ),
    ),
    bug(
        "misses-deletions-while-away",
        "What vanished while a copy was disconnected stays in it after a new list",
        "Kubernetes, DeletedFinalStateUnknown",
        "single",
        (
            "rube.client.object_cache:ObjectCache._difference",
            "for key in sorted(self._objects.keys() - listed.keys()):",
            "for key in ():",
        ),
        seed=1,
    ),
    bug(
        "lists-an-older-state",
        "A client that lists again may be shown what is older than what it had",
        f"Kubernetes; {SIEVE}: stale state",
        "group",
        ("rube.client.informer:Informer._request", "if self._same_history:", "if False:"),
        (
            "rube.store.replicated.store:ReplicatedStore.range",
            "await self._catch_up(max(revision, min_revision))",
            "if max(revision, min_revision) > self.revision:\n"
            "            await self._catch_up(max(revision, min_revision))",
        ),
        seed=1,
    ),
    bug(
        "resumes-past-what-it-has",
        "A client resumes from the newest revision that it heard of",
        "kine, lost events",
        "single",
        (
            "rube.client.informer:Informer._request",
            "request.after_revision = self._cache.revision\n        request.store_id = self._cache.store_id\n    else:",
            "request.after_revision = max(self._cache.revision, self._client.revision)\n"
            "        request.store_id = self._cache.store_id\n    else:",
        ),
        seed=1,
    ),
    bug(
        "queue-loses-a-key",
        "A key that is added while it is worked on is forgotten",
        "client-go's workqueue, Kubernetes",
        "single",
        (
            "rube.client.work_queue:WorkQueueCore.done",
            "self._ready[key] = None",
            "pass",
        ),
        seed=1,
    ),
]

IN_CONTROLLERS = [
    bug(
        "binds-by-a-stale-view",
        "Placement writes a unit back as it saw it, whatever it is now",
        f"{SIEVE}: stale state; Kubernetes",
        "single",
        (
            "rube.controllers.cluster.placement:_bind",
            "put.preconditions.add(key=state.key, revision=metadata.revision, uid=metadata.uid)",
            "put.objects[0].metadata.ClearField('revision')",
        ),
        seed=2,
    ),
    bug(
        "binds-to-a-silent-node",
        "Placement takes a node that does not answer",
        "Kubernetes",
        "replicas",
        (
            "rube.controllers.cluster.placement:takes_units",
            "_node_status(node).readiness == _READY and ",
            "",
        ),
    ),
    bug(
        "moves-before-it-is-released",
        "A unit is bound to its next node while the last one runs it",
        "Kubernetes' StatefulSets on a partitioned node",
        "single",
        (
            "rube.controllers.cluster.placement:Placement._move",
            "if status.released_for != move.request or status.node != here:",
            "if False:",
        ),
        seed=2,
    ),
    bug(
        "takes-a-namesake-for-the-owner",
        "An owner that was put anew under its name keeps what the old one owned",
        "Kubernetes",
        "single",
        (
            "rube.controllers.cluster.garbage:GarbageCollector._collect",
            "if found is None or found.metadata.uid != owner.uid:",
            "if found is None:",
        ),
        seed=1,
    ),
    bug(
        "finishes-a-deletion-early",
        "An owner goes before what blocks it",
        "Kubernetes",
        "single",
        (
            "rube.controllers.cluster.garbage:_left",
            "return [each for each in related.values() if _blocks(each, uid)]",
            "return []",
        ),
        seed=1,
    ),
    bug(
        "does-not-see-its-own-writes",
        "A controller decides by a view older than what it wrote",
        f"Kubernetes, expectations; {SIEVE}: stale state",
        "single",
        ("rube.controllers.runtime:Runtime._is_current", "if seen or not self._cache.connected:", "if True:"),
    ),
    bug(
        "notes-an-action-before-it-is-done",
        "A crash between the note of an action and the action loses it",
        f"{SIEVE}: intermediate state",
        "single",
        (
            "rube.controllers.runtime:Runtime._act",
            "self._attempts.begin(key, action)",
            "self._attempts.begin(key, action)\n    await self._outbox.action_done(key, action.id)",
        ),
        (
            "rube.controllers.runtime:Runtime._act",
            "if not under_way:\n        await self._outbox.action_done(key, action.id)",
            "pass",
        ),
        seed=1,
    ),
    bug(
        "calls-lost-while-away",
        "What was to be reported while the server was away is not sent once it is back",
        "BlueChi; Nomad [#5911](https://github.com/hashicorp/nomad/issues/5911)",
        "single",
        ("rube.controllers.sender:Sender.cache_moved", "self.offer(key)", "pass"),
        ("rube.controllers.runtime:Runtime._on_change", "if whole and not self._was_whole:", "if False:"),
        seed=1,
    ),
    bug(
        "lease-by-wall-clock",
        "A candidate takes a lease over by comparing its clock with the holder's",
        "client-go's leader election",
        "group",
        (
            "rube.controllers.cluster.leader:LeaderElection._try_acquire",
            "now_ns - self._seen_ns >= self._lease.duration.ToNanoseconds()",
            "self._clock.now_ns() - self._lease.renew_time.ToNanoseconds() >= self._lease.duration.ToNanoseconds()",
        ),
    ),
    bug(
        "leads-on-without-its-lease",
        "A leader that cannot renew its lease goes on",
        f"{SIEVE}; Kubernetes",
        "group",
        (
            "rube.controllers.cluster.leader:Leadership.holds",
            "self._clock.monotonic_ns() < self.until_ns",
            "self.until_ns > 0",
        ),
        (
            "rube.controllers.sender:Sender.prepare",
            "if self._config.fence is not None:",
            "if False:",
        ),
    ),
    bug(
        "silent-though-the-controller-was-away",
        "A node is called silent because its controller heard nothing itself",
        "Kubernetes, mass evictions",
        "replicas",
        (
            "rube.controllers.cluster.nodehealth:_was_away",
            "return memory.clock != state.clock or",
            "return False and",
        ),
        seed=1,
    ),
]

IN_NODES = [
    bug(
        "removes-all-before-it-has-listed",
        "A node without a copy takes all that runs for left-overs",
        "Nomad; kubelet's orphaned pods",
        "single",
        (
            "rube.controllers.runtime:Runtime._process",
            "if not self._cache.synced:",
            "if not self._cache.synced and self._driven is None:",
        ),
        seed=4,
    ),
    bug(
        "restarts-what-runs",
        "A node's agent that starts again starts its units anew",
        "Nomad; BlueChi",
        "single",
        (
            "rube.units.controller:UnitController._run",
            "if up or (asked and is_same_boot(memory.boot_id, self._boot_id)):\n        return _Ensure.KEEP",
            "if asked and (up or is_same_boot(memory.boot_id, self._boot_id)):\n        return _Ensure.KEEP\n"
            "    if up:\n        return _Ensure.RESTART",
        ),
        seed=4,
    ),
    bug(
        "goes-on-for-a-namesake",
        "A unit that was put anew under its name keeps the old one's process",
        "Nomad; systemd units of one name",
        "single",
        (
            "rube.units.controller:UnitController._run",
            "if observed.uid != metadata.uid or ",
            "if ",
        ),
        seed=1,
    ),
    bug(
        "leaves-what-has-no-object",
        "What was deleted while the node was away goes on there",
        "Nomad",
        "single",
        (
            "rube.controllers.runtime:Runtime._find_orphans",
            "for name in names:",
            "for name in ():",
        ),
        (
            "rube.client.object_cache:ObjectCache._difference",
            "for key in sorted(self._objects.keys() - listed.keys()):",
            "for key in ():",
        ),
        seed=1,
    ),
    bug(
        "reports-what-is-to-be",
        "A node reports a generation that it has not installed",
        "Kubernetes' observedGeneration",
        "single",
        (
            "rube.units.controller:UnitController._status",
            "status.observed_generation = observed.generation",
            "status.observed_generation = metadata.generation",
        ),
        seed=3,
    ),
    bug(
        "does-not-start-what-crashed",
        "A unit that was removed by hand is taken for started",
        "BlueChi",
        "single",
        (
            "rube.units.controller:UnitController._run",
            "if not observed.installed:\n        return _Ensure.START",
            "if not observed.installed and memory.uid != metadata.uid:\n        return _Ensure.START\n"
            "    if not observed.installed:\n        return _Ensure.KEEP",
        ),
    ),
    bug(
        "copy-without-its-position",
        "A node's copy and its revision are written apart",
        f"{SIEVE}: intermediate state",
        "single",
        (
            "rube.rubelet.local_copy:LocalCopy.persist",
            "await self._engine.commit([Write(key, value) for key, value in rows.items()])",
            "for key, value in rows.items():\n        await self._engine.commit([Write(key, value)])",
        ),
        seed=5,
    ),
]

BUGS: Sequence[Bug] = [*IN_RAFT, *IN_STORES, *IN_SERVERS, *IN_CLIENTS, *IN_CONTROLLERS, *IN_NODES]
