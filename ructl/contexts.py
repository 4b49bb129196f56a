"""The clusters that a user works with, in a file of their own: `~/.config/rube/config.yaml`.

    current: home
    contexts:
      home: {servers: ["127.0.0.1:7823"]}
      prod: {servers: ["10.0.0.1:7823", "10.0.0.2:7823"], tls: /home/ada/rube/admin}
      test: {servers: ["10.0.0.3:7823"], tls: {ca: ~/ca.pem, cert: ~/ada.pem, key: ~/ada.key}}

Fields that this version does not know stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.keys import is_name
from rube.api.spelling import suggestion

if TYPE_CHECKING:
    from rube.host import ChannelTls

FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
BYTES_MAX: Final = 1024 * 1024


def config_path() -> Path:
    """RUBE_CONFIG, or config.yaml in the user's configuration directory (XDG_CONFIG_HOME)."""
    if path := os.environ.get("RUBE_CONFIG"):
        return Path(path)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home) / "rube" / "config.yaml"


class Contexts:
    """The content of the file. Every method but `save` works in memory; errors name the file."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self._content = content
        self._by_name: dict[str, Any] = content.setdefault("contexts", {})

    @property
    def current(self) -> str:
        """The context that is used where none is named; empty: none."""
        return str(self._content.get("current") or "")

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def servers(self, name: str) -> tuple[str, ...]:
        """Raises InvalidArgumentError, with a suggestion, for a context that is not there."""
        if name not in self._by_name:
            raise InvalidArgumentError(
                f"there is no context {name!r} in {self.path}; {suggestion(name, self._by_name)}"
            )
        servers = self._by_name[name].get("servers")
        if isinstance(servers, str):
            servers = [servers]
        if not isinstance(servers, list) or not servers or not all(isinstance(one, str) for one in servers):
            raise InvalidArgumentError(f"{self.path}: contexts.{name}.servers is no list of HOST:PORT")
        return tuple(servers)

    def tls(self, name: str) -> ChannelTls | None:
        """The TLS files of the context: of a directory, or one by one. Raises InvalidArgumentError."""
        from rube.host.network import ChannelTls, directory_tls

        self.servers(name)
        found = self._by_name[name].get("tls")
        if found is None:
            return None
        if isinstance(found, str) and found:
            return directory_tls(os.path.expanduser(found))
        if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("ca", "cert", "key")):
            raise InvalidArgumentError(
                f"{self.path}: contexts.{name}.tls is neither a directory nor a mapping of ca, cert and key to files"
            )
        return ChannelTls(**{key: os.path.expanduser(found[key]) for key in ("ca", "cert", "key")})

    def set(self, name: str, servers: tuple[str, ...], tls: str | None = None) -> None:
        """`tls`: a directory; "" for plain text; without it the context's TLS stays. Raises InvalidArgumentError for a
        name that is no DNS label."""
        if not is_name(name):
            raise InvalidArgumentError(f"{name!r} is no name of a context: use a DNS label, such as prod-1")
        context = self._by_name.setdefault(name, {})
        context["servers"] = list(servers)
        if tls:
            context["tls"] = os.path.abspath(os.path.expanduser(tls))
        elif tls is not None:
            context.pop("tls", None)

    def use(self, name: str) -> None:
        self.servers(name)
        self._content["current"] = name

    def delete(self, name: str) -> None:
        self.servers(name)
        del self._by_name[name]
        if self.current == name:
            del self._content["current"]

    def save(self) -> None:
        """Replaces the file as a whole; only its owner may read it. Raises FailedPreconditionError."""
        import yaml

        text = yaml.safe_dump(self._content, sort_keys=False, allow_unicode=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self.path)
        except OSError as error:
            raise FailedPreconditionError(f"cannot write {self.path}: {error.strerror}") from error


def load_contexts(path: Path | None = None) -> Contexts:
    """Returns the user's contexts; none without a file. Raises InvalidArgumentError that names the error in it."""
    path = path or config_path()
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return Contexts(path, {})
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > BYTES_MAX:
        raise InvalidArgumentError(f"{path} has more than {BYTES_MAX} bytes")
    return Contexts(path, _parsed(raw, path))


def _parsed(raw: bytes, path: Path) -> dict[str, Any]:
    from ructl.yaml_loader import load_bounded

    content = load_bounded(raw.decode("utf-8", errors="replace"), str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidArgumentError(f"{path} is no mapping: write current and contexts")
    contexts = content.setdefault("contexts", {})
    if not isinstance(contexts, dict) or not all(isinstance(one, dict) for one in contexts.values()):
        raise InvalidArgumentError(f"{path}: contexts is no mapping of names to servers")
    return content
