"""Private keys: made where they are used, and written for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from rube.api.errors import InvalidArgumentError

KEY_MODE = 0o600


class Key:
    """An ECDSA key on P-256, which every TLS library takes."""

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        self.private = private

    @classmethod
    def make(cls) -> Key:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path) -> Key:
        """Raises InvalidArgumentError."""
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise InvalidArgumentError(f"cannot read the key {path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(f"{path} holds no private key in PEM without a password: {error}") from error
        if not isinstance(found, EllipticCurvePrivateKey):
            raise InvalidArgumentError(f"{path} holds a key of another kind than Rube makes (ECDSA)")
        return cls(found)

    def pem(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Writes the file with that mode from the first moment, and in one step: a reader sees the old one or the new
    one."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
