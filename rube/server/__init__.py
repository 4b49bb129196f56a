"""The apiserver: the service api.Api over a Store. It knows objects; the store below knows only bytes.

`ApiServer` serves; one module a verb (`put`, `delete`, `status`, `read`, `watch`) implements the verb, on pure
functions (`objects`, `validation`, `preconditions`, `events`); `writes` is the one way to the store for every write.
"""

from __future__ import annotations

from rube.server.apiserver import ApiServer
from rube.server.config import ApiServerConfig

__all__ = ["ApiServer", "ApiServerConfig"]
