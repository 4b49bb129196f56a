"""Lists of many pages, for every client that can ask for one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from rube.api import ListRequest, ListResponse
from rube.api.errors import CompactedError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.client.config import ClientConfig

# The page size of a list that begins again: the server's maximum.
_PAGE_SIZE_MAX: Final = 2**31 - 1


class Lists(ABC):
    """A client's lists of many pages."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config

    @abstractmethod
    async def list_page(self, request: ListRequest, *, deadline_s: float | None = None) -> ListResponse:
        """Returns one page."""

    async def list_pages(
        self, request: ListRequest, *, deadline_s: float | None = None
    ) -> AsyncGenerator[ListResponse, None]:
        """Yields page after page, all at one revision; `deadline_s` is for each of them."""
        following = ListRequest()
        following.CopyFrom(request)
        for _ in range(self._config.pages_max):
            page = await self.list_page(following, deadline_s=deadline_s)
            yield page
            if not page.next_page_token:
                return
            following.page_token = page.next_page_token
        raise ResourceExhaustedError(
            f"the list has more than {self._config.pages_max} pages (pages_max): ask for larger ones",
            limit=self._config.pages_max,
        )

    async def list_objects(self, request: ListRequest, *, deadline_s: float | None = None) -> ListResponse:
        """Returns all pages in one response, all at one revision.

        If the server has compacted that revision between two pages, or another store has taken its place, the list
        begins again, a bounded number of times, with the largest pages of the server. Raises CompactedError after that.
        """
        following = ListRequest()
        following.CopyFrom(request)
        for restarts_left in reversed(range(self._config.list_restarts_max + 1)):
            everything = ListResponse()
            try:
                async with aclosing(self.list_pages(following, deadline_s=deadline_s)) as pages:
                    async for page in pages:
                        everything.MergeFrom(page)
            except (CompactedError, InvalidArgumentError) as error:
                begun = everything.next_page_token and not request.page_token
                if not begun or not _is_of_page(error):
                    raise
                if not restarts_left:
                    raise self._forgotten(error) from error
                following.page_size = _PAGE_SIZE_MAX
            else:
                everything.next_page_token = ""
                return everything
        raise AssertionError("the last attempt returns or raises")

    def _forgotten(self, error: RubeError) -> CompactedError:
        return CompactedError(
            f"the list began {self._config.list_restarts_max + 1} times (list_restarts_max), and each time the "
            f"server had forgotten its revision between two pages ({error.message}): list less at a time, such as one "
            "namespace, or let the server keep more history (--history)",
            **error.metadata,
        )


def _is_of_page(error: RubeError) -> bool:
    """Returns whether a list could begin again: its revision is compacted, or the token is another store's."""
    return isinstance(error, CompactedError) or error.metadata.get("field") == "page_token"
