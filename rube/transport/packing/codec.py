"""The packing of messages, with the package `zstandard`."""

from __future__ import annotations

import zstandard

from rube.transport.packing.form import DICTIONARY, DICTIONARY_ID, MARK

LEVEL = 1
_WORDS = zstandard.ZstdCompressionDict(DICTIONARY.read_bytes())
_WORDS.precompute_compress(level=LEVEL)


class UnpackError(Exception):
    """The bytes are not of the packed form."""


class TooLongError(UnpackError):
    """The message would be longer than its reader takes."""


class Packer:
    """Packs and unpacks the messages of one server or client, on one thread."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=_WORDS)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=_WORDS)

    def pack(self, message: bytes) -> bytes:
        return MARK + self._compressor.compress(message)

    def unpack(self, data: bytes, bytes_max: int) -> bytes:
        """Returns the message. Memory is taken for it once the frame's header says that it has at most `bytes_max`.

        Raises TooLongError and UnpackError.
        """
        frame = memoryview(data)[len(MARK) :]
        try:
            header = zstandard.get_frame_parameters(frame)
            if header.content_size == zstandard.CONTENTSIZE_UNKNOWN:
                raise UnpackError("its frame does not say how long the message is")
            if header.content_size > bytes_max:
                raise TooLongError(f"the message has {header.content_size} bytes, more than {bytes_max}")
            if header.dict_id != DICTIONARY_ID:
                raise UnpackError(f"it was packed with the dictionary {header.dict_id:#x}, not {DICTIONARY_ID:#x}")
            return self._decompressor.decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise UnpackError(str(error)) from error
