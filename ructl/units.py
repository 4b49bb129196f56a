"""The units that a command line names."""

from __future__ import annotations

from rube.api import Object
from rube.api.errors import FailedPreconditionError, NotFoundError
from ructl.connection import Connection
from ructl.output import place
from ructl.query import Query


async def find_units(connection: Connection, query: Query) -> list[Object]:
    """The units in the order of the query's names, or all that it matches.

    Raises NotFoundError, also if nothing matches, and FailedPreconditionError where a name alone does not say which.
    """
    found = await connection.find(query)
    if not found:
        raise NotFoundError(f"nothing matches {query}")
    by_name = {name: [obj for obj in found if obj.metadata.name == name] for name in query.names}
    for name, objects in by_name.items():
        if len(objects) > 1:
            places = ", ".join(place(obj.metadata) for obj in objects)
            raise FailedPreconditionError(f"several units are called {name!r}: {places}; write NAMESPACE/{name}")
    return [obj for objects in by_name.values() for obj in objects] or found
