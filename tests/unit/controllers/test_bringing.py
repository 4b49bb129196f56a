"""The types that controllers bring to a cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest

from rube.api import Column, ControllerSpec, Fence, Object, PutRequest, PutResponse
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError
from rube.api.keys import TYPE_TYPE, ObjectKey
from rube.client import Change, Client
from rube.controllers.bringing import ATTEMPTS_MAX, TypeDifference, bring_types, brought_types
from rube.controllers.cluster.catalog import make_controller
from rube.controllers.ports import Calls
from rube.controllers.spec import SpecController
from tests.pushed_types import BACKUP, FIELDS, backup_type, kind_from
from tests.unit.controllers.cluster_fake import FakeCluster

KEY = ObjectKey(TYPE_TYPE, "", BACKUP)
MORE = {**FIELDS, "keep": 3}
FENCE = Fence(group="leader", term=7)


def backups(fields: Mapping[str, int] = FIELDS, **resource: Any) -> SpecController:
    controller = SpecController()
    controller.spec = ControllerSpec(name="backups", type=BACKUP)
    controller.spec.types.file.extend(kind_from(backup_type(fields, **resource)).files)
    return controller


class Broken(SpecController):
    spec = ControllerSpec(name="broken", type=BACKUP)
    spec.types.file.add(name="empty.proto", syntax="proto3")


def fields_of(obj: Object) -> list[str]:
    return [field.name for field in kind_from(obj).spec.DESCRIPTOR.fields]


def bring(cluster: FakeCluster, controller: SpecController) -> None:
    asyncio.run(bring_types(controller, cast(Client, cluster), cast(Calls, cluster), FENCE))


def test_a_type_that_the_cluster_lacks_is_pushed_under_the_leaders_fence() -> None:
    class Fenced(FakeCluster):
        async def put(self, request: PutRequest) -> PutResponse:
            assert (request.fence, request.owner, request.allow_breaking) == (FENCE, "backups", False)
            return await super().put(request)

    cluster = Fenced()
    bring(cluster, backups())
    assert fields_of(cluster.objects[KEY]) == ["schedule", "target"]
    bring(cluster, backups())
    assert [call.split()[0] for call in cluster.calls] == ["get", "put", "get"], "once"


def test_a_newer_version_replaces_the_clusters() -> None:
    cluster = FakeCluster()
    bring(cluster, backups())
    bring(cluster, backups(MORE))
    assert fields_of(cluster.objects[KEY]) == ["schedule", "target", "keep"]


@pytest.mark.parametrize(
    "own", [backups(), backups(MORE, columns=[Column(name="KEEP", path="spec.keep")])], ids=["older", "another"]
)
def test_nothing_is_taken_back(own: SpecController) -> None:
    cluster = FakeCluster()
    bring(cluster, backups(MORE))
    before = cluster.objects[KEY].SerializeToString(deterministic=True)
    bring(cluster, own)
    assert cluster.objects[KEY].SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("version", "level", "says"),
    [
        (backup_type(MORE), "INFO", "has a newer version in the cluster, which stays"),
        (backup_type({"schedule": 1}), "WARNING", "has an older version in the cluster"),
        (backup_type(columns=[Column(name="TO", path="spec.target")]), "WARNING", "has the same fields in the cluster"),
        (backup_type({"schedule": 1, "paths": 4}), "ERROR", "may misread, at acme.Backup.paths: end"),
        (None, "WARNING", "is deleted in the cluster"),
    ],
)
def test_each_difference_of_the_clusters_version_is_logged_once_and_its_end_too(
    version: Object | None, level: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (own,) = brought_types(backups())
    difference = TypeDifference("backups", own)
    for seen in (own, version, version, own, own):
        difference.changed(Change(key=KEY, old=None, new=seen, revision=1))
    first, last = caplog.records
    assert (first.levelname, first.getMessage().startswith("backups: type acme.Backup ")) == (level, True)
    assert says in first.getMessage()
    assert last.getMessage() == "backups: type acme.Backup is the controller's again"


def test_a_version_that_breaks_the_clusters_is_refused_with_the_field_and_the_remedy() -> None:
    cluster = FakeCluster()
    bring(cluster, backups(MORE))
    with pytest.raises(FailedPreconditionError) as caught:
        bring(cluster, backups({"schedule": 1, "paths": 4}))
    assert "type acme.Backup of controller backups breaks the one that the cluster has: acme.Backup." in str(
        caught.value
    )
    assert "--allow-breaking" in str(caught.value)


def test_a_push_of_another_process_meanwhile_is_looked_at_anew() -> None:
    cluster = FakeCluster()

    class Raced(FakeCluster):
        async def put(self, request: PutRequest) -> PutResponse:
            if not cluster.objects:
                cluster.store(backup_type(MORE))
            return await cluster.put(request)

    asyncio.run(bring_types(backups(), cast(Client, cluster), cast(Calls, Raced()), FENCE))
    assert fields_of(cluster.objects[KEY]) == ["schedule", "target", "keep"]


def test_attempts_are_bounded() -> None:
    cluster = FakeCluster()

    class Raced(FakeCluster):
        async def put(self, request: PutRequest) -> PutResponse:
            self.calls.append("put")
            raise AbortedError("another push", revision=1)

    raced = Raced()
    with pytest.raises(AbortedError, match=r"type acme\.Backup of controller backups was changed by others 5 times"):
        asyncio.run(bring_types(backups(), cast(Client, cluster), cast(Calls, raced), FENCE))
    assert len(raced.calls) == ATTEMPTS_MAX


def test_a_controller_without_types_asks_for_nothing() -> None:
    cluster = FakeCluster()
    bring(cluster, cast(SpecController, make_controller("placement")))
    assert not cluster.calls
    assert brought_types(make_controller("node-health")) == []


def test_files_without_a_type_are_refused_with_the_controller() -> None:
    with pytest.raises(InvalidArgumentError, match=r"Broken'.* types: no message has the option \(api\.resource\)"):
        make_controller(f"{__name__}:Broken")
