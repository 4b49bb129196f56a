"""Writes with request ids, on every store: an apiserver's service without a network."""

from __future__ import annotations

from typing import Any, cast

import pytest

from rube.api import DeleteRequest, Key, Metadata, Object, PutRequest, Unit
from rube.api.errors import AlreadyExistsError
from rube.api.types import pack
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.first_answers import _forget
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.service import ApiService
from rube.store import Store
from tests.conformance.store.store_sites import Site, open_store

KEY = Key(type="api.systemd.Unit", namespace="system", name="a")
NO_CONTEXT = cast(Any, None)


def service(site: Site, store: Store) -> ApiService:
    clock = site.host.clock
    attachments = Attachments(clock, node_answers_max=1, answers_max=1)
    types, namespaces = KnownTypes(store, clock), Namespaces(clock, store)
    return ApiService(site.host, store, types, namespaces, ApiServerConfig(), attachments)


def put(description: str, request_id: str) -> PutRequest:
    spec = pack(Unit(description=description))
    obj = Object(metadata=Metadata(namespace="system", name="a"), spec=spec)
    return PutRequest(objects=[obj], request_id=request_id)


async def test_repeated_writes_get_their_first_answers_until_they_are_forgotten(site: Site) -> None:
    store = await open_store(site)
    api, other = service(site, store), service(site, store)
    made = await api.Put(put("one", "made"), NO_CONTEXT)
    changed = await api.Put(put("two", "changed"), NO_CONTEXT)
    gone = await api.Delete(DeleteRequest(keys=[KEY], request_id="gone"), NO_CONTEXT)
    assert made.revision < changed.revision < gone.revision
    assert made.metadata[0].revision == made.revision
    assert await other.Put(put("one", "made"), NO_CONTEXT) == made
    assert await other.Put(put("two", "changed"), NO_CONTEXT) == changed
    assert await other.Delete(DeleteRequest(keys=[KEY], request_id="gone"), NO_CONTEXT) == gone
    with pytest.raises(AlreadyExistsError):
        await other.Put(put("three", "changed"), NO_CONTEXT)
    assert (await store.range(b"api.systemd.Unit/", b"api.systemd.Unit0")).records == []
    await _forget(store, changed.revision, 10)
    left = (await store.range(b"!request/", b"!request0")).records
    assert [record.key for record in left] == [b"!request/gone"]
    assert (await api.Put(put("one", "made"), NO_CONTEXT)).metadata[0].uid != made.metadata[0].uid
    await store.close()
