"""``multipart/form-data`` as a stream of parts, none of them held whole."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, NamedTuple

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import parse_options_header

from greenroom.ingest._errors import UploadInvalidError

_MAX_PARTS: Final = 16
_MAX_HEADERS: Final = 16


class PartBegan(NamedTuple):
    """A part begins; ``name`` is the form field's."""

    name: str


class PartData(NamedTuple):
    """More of the part that began last."""

    data: bytes


class PartEnded(NamedTuple):
    """The part that began last is whole."""


class FormEnded(NamedTuple):
    """The closing boundary has been read: nothing is missing."""


Part = PartBegan | PartData | PartEnded | FormEnded


class FormReader:
    """Turns chunks into parts.

    :param content_type: the request's, which names the boundary.
    :raises UploadInvalidError: when it names none.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise UploadInvalidError("The upload is not multipart/form-data", fix="Send it as LiveKit's SDKs do")
        self._found: list[Part] = []
        self._field = b""
        self._value = b""
        self._name = ""
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": lambda: self._found.append(PartEnded()),
                    "on_end": self._end,
                },
                max_header_count=_MAX_HEADERS,
            )
        except FormParserError:
            raise UploadInvalidError("The upload's multipart boundary is malformed", fix="Send another") from None

    def feed(self, chunk: bytes) -> list[Part]:
        """Return what ``chunk`` completes. Raises :class:`UploadInvalidError`."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise UploadInvalidError(f"The upload is not valid multipart: {error}", fix="Send it again") from None
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Say that there is no more. Raises :class:`UploadInvalidError` when something is missing."""
        if not self._ended:
            raise UploadInvalidError("The upload ends before its last part does", fix="Send it again, whole")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise UploadInvalidError(f"The upload has more than {_MAX_PARTS} parts", fix="Send fewer")
        self._name = ""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        self._found.append(PartBegan(self._name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(PartData(data[start:end]))

    def _end(self) -> None:
        self._ended = True
        self._found.append(FormEnded())


async def read_form(content_type: str, chunks: AsyncIterable[bytes]) -> AsyncIterator[Part]:
    """Yield the parts of a form as they arrive. Raises :class:`UploadInvalidError`."""
    reader = FormReader(content_type)
    async for chunk in chunks:
        for part in reader.feed(chunk):
            yield part
    reader.close()
