"""The private parts of h2corn that rube.transport.h2.serving calls: a new version is allowed once these hold for it."""

from __future__ import annotations

import inspect
from dataclasses import fields

import h2corn
from h2corn import _lib, _lifespan, _server

SERVE_FDS = (
    "(prepared_application, fds, config, shutdown_trigger, retire_trigger=None, ready_trigger=None, quiesce_fd=None, "
    "*, prepared_tls)"
)
CONFIGURED = {
    "bind", "grpc", "lifespan", "access_log", "date_header", "max_concurrent_streams", "h2_initial_stream_window_size",
    "h2_initial_connection_window_size", "h2_max_header_list_size", "h2_timeout_response_stall", "h2_timeout_write",
    "timeout_keep_alive", "timeout_graceful_shutdown", "max_request_body_size", "certfile", "keyfile", "ca_certs",
    "cert_reqs",
}  # fmt: skip


def test_h2corn_has_the_private_parts_that_serving_calls() -> None:
    changed = "h2corn has changed what rube.transport.h2.serving calls: read its Server again"
    assert str(inspect.signature(_lib.serve_fds)) == SERVE_FDS, changed
    assert str(inspect.signature(_lib.prepare_tls)) == "(config, tls_material=None)", changed
    assert list(inspect.signature(_lifespan.PreparedApplication).parameters) == ["source", "factory", "mode"], changed
    assert list(inspect.signature(_lifespan.PreparedApplication.startup).parameters) == ["self", "required"], changed
    assert list(inspect.signature(_server.load_tls_material).parameters) == ["config"], changed
    assert sorted(CONFIGURED - {field.name for field in fields(h2corn.Config)}) == [], changed
