"""Lines from a pipe."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from greenroom.cli.talk._lines import Feed, Pipe

pytestmark = pytest.mark.unit


def lines_of(content: bytes, path: Path) -> list[str]:
    path.write_bytes(content)
    with path.open("rb") as file:
        pipe = Pipe(file.fileno())
        return list(iter(pipe.read, None))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\ntwo\r\n\nfour", ["one", "two", "", "four"]),
        (b"gr\xc3\xbc\xc3\x9fe\n\xff\n", ["grüße", "\N{REPLACEMENT CHARACTER}"]),
        (b"x" * 200_000 + b"\ny", ["x" * 200_000, "y"]),
    ],
)
def test_every_line_is_read(content: bytes, lines: list[str], tmp_path: Path) -> None:
    assert lines_of(content, tmp_path / "lines") == lines


async def test_a_line_is_read_when_it_is_asked_for() -> None:
    class Source:
        reads = 0

        def read(self) -> str | None:
            self.reads += 1
            return f"line {self.reads}" if self.reads < 3 else None

        def close(self) -> None:
            pass

    source = Source()
    feed = Feed(source)
    assert source.reads == 0
    assert [await feed.next() for _ in range(4)] == ["line 1", "line 2", None, None]


async def test_a_source_that_breaks_is_over() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    assert await Feed(Pipe(reading)).next() is None


async def test_a_line_that_comes_after_the_caller_has_gone_is_dropped() -> None:
    written = threading.Event()

    class Source:
        def read(self) -> str | None:
            written.wait()
            return "late"

        def close(self) -> None:
            pass

    feed = Feed(Source())
    first, second = feed.next(), feed.next()
    first.cancel()
    written.set()
    assert await second == "late"
