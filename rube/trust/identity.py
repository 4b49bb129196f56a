"""The identity that a certificate is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rube.api.errors import InvalidArgumentError

KINDS: Final = ("user", "node", "controller", "member")
DOMAIN: Final = "rube"
NAME_CHARS_MAX: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._@-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user, node, controller or member (an apiserver) of one cluster."""

    kind: str
    name: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The host names and IP addresses that it serves at; a certificate without any is for clients alone."""
    domain: str = DOMAIN

    def __post_init__(self) -> None:
        """Raises InvalidArgumentError."""
        if self.kind not in KINDS:
            raise InvalidArgumentError(f"identity {self.kind}/{self.name}: the kind is one of {', '.join(KINDS)}")
        for word, value in (("name", self.name), ("trust domain", self.domain), *(("group", g) for g in self.groups)):
            if not _NAME.fullmatch(value) or len(value) > NAME_CHARS_MAX:
                raise InvalidArgumentError(
                    f"identity {self.kind}/{self.name}: the {word} {value!r} is not of letters, digits and . _ @ - "
                    f"(at most {NAME_CHARS_MAX})"
                )

    @property
    def uri(self) -> str:
        return f"spiffe://{self.domain}/{self.kind}/{self.name}"
