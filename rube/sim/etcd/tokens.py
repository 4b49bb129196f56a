"""Users and the tokens that they get for their password."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random  # noqa: TID251 (the type of the streams that a host hands out)

from rube.sim.etcd import errors

TOKEN_BITS = 64


class AuthTokens:
    """The tokens of one incarnation of a member: a later one knows none of them, and gives none of them again.

    Without users authentication is off, as in a new etcd. Every user may do everything.
    """

    def __init__(self, users: Mapping[str, str], random: Random) -> None:
        self._users = users
        self._random = random
        self._given: dict[str, str] = {}

    def give(self, user: str, password: str) -> str:
        """Raises EtcdError for a wrong password, or if authentication is off."""
        if not self._users:
            raise errors.auth_not_enabled()
        if self._users.get(user) != password:
            raise errors.auth_failed()
        token = f"{self._random.getrandbits(TOKEN_BITS):x}.{len(self._given) + 1}"
        self._given[token] = user
        return token

    def check(self, token: str | None) -> None:
        """Raises EtcdError for a token that this member did not give, or for none where one is needed."""
        if token is not None:
            if token not in self._given:
                raise errors.invalid_token()
        elif self._users:
            raise errors.user_empty()
