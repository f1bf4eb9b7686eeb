"""Verification: walks everything that is stored and names what is not as it was written."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import UnionType
from typing import Final, TypeVar

import msgspec

from greenroom.eventlog import _checkpoints
from greenroom.eventlog._chain import EMPTY, Head, Row, StreamKey, digest_of, hash_of
from greenroom.eventlog._checkpoints import Checkpoint, SigningKey
from greenroom.eventlog._errors import LogCorruptError
from greenroom.eventlog._model import ERASED, StreamErased, StreamHead
from greenroom.eventlog._store import Place, Reader

_Read = TypeVar("_Read")

_GONE: Final = bytes | None
# Of an event whose stream is lost, the name is None.
_ROW: Final = (int, str, str | None, int, str, int, int, int, str, bytes, bytes, _GONE, _GONE, int)
_CHECKPOINT: Final = (int, int, int, int, bytes, bytes, str, bytes)
_PAGE: Final = 1000
_MOST: Final = 1000


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the log that is not as it was written.

    :param position: 0 where none is known. :param seq: 0 likewise. :param stream: empty likewise.
    """

    what: str
    position: int = 0
    tenant: str = ""
    stream: str = ""
    seq: int = 0


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification looked at and found.

    :param erased: events whose payload is gone and said to be.
    :param signed: checkpoints whose signature was checked and right.
    :param head: position of the last event; ``covered``, that of the last event a checkpoint covers.
    :param checkpoint: the last checkpoint's hash, empty without one. Kept elsewhere, it proves the log up to there.
    :param problems: at most a thousand.
    """

    events: int
    streams: int
    erased: int
    blobs: int
    checkpoints: int
    signed: int
    head: int
    covered: int
    checkpoint: bytes
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


class Verifier:
    """Is fed what is stored, in order; does no I/O itself.

    :param key: checks the signatures of checkpoints. With it, one that is not signed is a problem.
    :param whole: whether all streams are fed, or just one.
    """

    def __init__(self, *, key: SigningKey | None = None, whole: bool = True) -> None:
        self._key = key
        self._whole = whole
        self._ends: dict[StreamKey, Head] = {}
        self._times: dict[StreamKey, float] = {}
        self._grown: dict[StreamKey, Head] = {}
        self._gone: dict[StreamKey, list[tuple[int, int]]] = {}
        self._through: dict[StreamKey, int] = {}
        self._position = 0
        self._events = self._erased = self._blobs = self._signed = 0
        self._last: Checkpoint | None = None
        self._problems: list[Problem] = []

    def row(self, row: Row) -> None:
        """Take the next event by position."""
        self._events += 1
        if not _is_whole(row, _ROW):
            self._position = row.position
            self.problem("the event cannot be read", position=row.position)
            return
        stream = (row.tenant, row.stream)
        end = self._ends.get(stream, EMPTY)
        if self._whole and row.position != self._position + 1:
            self.problem("no event at this position", position=self._position + 1)
        self._position = row.position
        if row.seq != end.seq + 1:
            self._blame("an event is missing, or stands elsewhere", row, seq=end.seq + 1)
        elif row.previous != end.position:
            self._blame("the pointer to the event before it is wrong", row)
        if _expected_hash(row, end.hash) != row.hash:
            self._blame("the header does not match its hash", row)
        if row.payload is None or row.salt is None:
            self._gone.setdefault(stream, []).append((row.seq, row.position))
        elif digest_of(row.salt, row.payload) != row.digest:
            self._blame("the payload does not match its digest", row)
        elif row.type == ERASED:
            self._explain(stream, row)
        self._ends[stream] = self._grown[stream] = Head(row.position, row.seq, row.hash)
        self._times[stream] = row.recorded_at / 1_000_000

    def checkpoint(self, found: Checkpoint) -> None:
        """Take the next checkpoint, once every event it covers has been taken."""
        last = self._last
        number = 1 if last is None else last.number + 1
        where = f"checkpoint {found.number}"
        if found.number != number:
            self.problem(f"checkpoint {number} is missing", position=found.position)
        if _expected_checkpoint(found, last) != found.hash:
            self.problem(f"{where} does not match its hash", position=found.position)
        leaves = _leaves(self._grown)
        if (
            found.position != self._position
            or len(leaves) != found.streams
            or _checkpoints.tree_hash(leaves) != found.root
        ):
            self.problem(f"{where} does not match the ends of the streams", position=found.position)
        if self._key is not None:
            if found.key_id == self._key.id and self._key.signed(found):
                self._signed += 1
            else:
                self.problem(f"{where} is not signed with this key", position=found.position)
        self._grown.clear()
        self._last = found

    def blob(self, what: str | None, named: Iterable[Place]) -> None:
        """Take a stored blob: what is wrong with it, and where it is named."""
        self._blobs += 1
        if what is not None:
            for place in named:
                self.problem(what, position=place.position, tenant=place.tenant, stream=place.stream, seq=place.seq)

    def problem(self, what: str, *, position: int = 0, tenant: str = "", stream: str = "", seq: int = 0) -> None:
        """Take a problem that was found elsewhere."""
        if len(self._problems) < _MOST:
            # What has lost its stream has a stream of None.
            found = Problem(what=what, position=position, tenant=tenant or "", stream=stream or "", seq=seq)
            self._problems.append(found)

    def finish(self, heads: Sequence[StreamHead]) -> Verification:
        """Compare with where streams say they end, and return what has been found."""
        said = {(head.tenant, head.stream): head for head in heads}
        for stream, end in self._ends.items():
            head = said.pop(stream, None)
            seq = end.seq if head is None else max(end.seq, head.seq)
            expected = StreamHead(
                tenant=stream[0],
                stream=stream[1],
                position=end.position,
                seq=end.seq,
                hash=end.hash,
                recorded_at=self._times[stream],
                erased=self._through.get(stream, 0),
            )
            if head != expected:
                self.problem("the stream does not end as it says", tenant=stream[0], stream=stream[1], seq=seq)
        for head in said.values():
            self.problem("the stream has no events", tenant=head.tenant, stream=head.stream, seq=head.seq)
        for (tenant, name), missing in self._gone.items():
            for seq, position in missing:
                self.problem("the payload is missing", position=position, tenant=tenant, stream=name, seq=seq)
        last = self._last
        return Verification(
            events=self._events,
            streams=len(self._ends),
            erased=self._erased,
            blobs=self._blobs,
            checkpoints=0 if last is None else last.number,
            signed=self._signed,
            head=self._position,
            covered=0 if last is None else last.position,
            checkpoint=b"" if last is None else last.hash,
            problems=tuple(self._problems),
        )

    def _explain(self, stream: StreamKey, row: Row) -> None:
        assert row.payload is not None
        try:
            note = msgspec.json.decode(row.payload, type=StreamErased)
        except msgspec.MsgspecError:
            return
        self._through[stream] = max(self._through.get(stream, 0), note.through_seq)
        missing = self._gone.pop(stream, [])
        left = [place for place in missing if place[0] > note.through_seq]
        self._erased += len(missing) - len(left)
        if left:
            self._gone[stream] = left

    def _blame(self, what: str, row: Row, *, seq: int | None = None) -> None:
        seq = row.seq if seq is None else seq
        self.problem(what, position=row.position, tenant=row.tenant, stream=row.stream, seq=seq)


def verify_log(
    reader: Reader, *, key: SigningKey | None = None, check_blob: Callable[[str], str | None] | None = None
) -> Verification:
    """Verify a whole log while others may go on writing to it.

    :param check_blob: says what is wrong with a stored blob.
    """
    verifier = Verifier(key=key)
    waiting: deque[Checkpoint] = deque()
    for found in _read(verifier, "checkpoints", reader.checkpoints) or ():
        if _is_whole(found, _CHECKPOINT):
            waiting.append(found)
        else:
            verifier.problem(f"checkpoint {found.number} cannot be read")
    after = _feed(reader, verifier, waiting, 0)
    with reader.snapshot():
        _feed(reader, verifier, waiting, after)
        for found in waiting:
            verifier.checkpoint(found)
        heads = _read(verifier, "streams", lambda: reader.heads(None, "")) or []
        for what, position in reader.inconsistencies():
            verifier.problem(what, position=position)
    if check_blob is not None:
        for blob, places in _read(verifier, "blobs", lambda: list(reader.blobs())) or ():
            verifier.blob(check_blob(blob), places)
    return verifier.finish(heads)


def verify_stream(reader: Reader, tenant: str, stream: str) -> Verification:
    """Verify the chain of one stream; checkpoints are left alone."""
    verifier = Verifier(whole=False)
    with reader.snapshot():
        heads = [head for head in reader.heads(tenant, "") if head.stream == stream]
        after = 0
        while rows := reader.stream(tenant, stream, after, _PAGE):
            for row in rows:
                verifier.row(row)
            after = max(after + 1, rows[-1].seq)
    return verifier.finish(heads)


def _read(verifier: Verifier, what: str, read: Callable[[], _Read]) -> _Read | None:
    try:
        return read()
    except LogCorruptError:
        verifier.problem(f"the database is damaged: its {what} cannot be read")
        return None


def _feed(reader: Reader, verifier: Verifier, waiting: deque[Checkpoint], after: int) -> int:
    """Feed the events past a position, and the checkpoints between them; return the last position."""
    while True:
        try:
            rows = reader.scan(after, _PAGE)
        except LogCorruptError:
            rows = _readable(reader, verifier, after)
        if not rows:
            return after
        for row in rows:
            while waiting and waiting[0].position < row.position:
                verifier.checkpoint(waiting.popleft())
            verifier.row(row)
        after = rows[-1].position


def _readable(reader: Reader, verifier: Verifier, after: int) -> list[Row]:
    """Return what can be read, one by one, of a page that cannot be read at once."""
    rows: list[Row] = []
    position = after
    try:
        last = min(reader.head(), after + _PAGE)
    except LogCorruptError:
        verifier.problem("nothing past this position can be read", position=after)
        return []
    while position < last:
        try:
            found = reader.scan(position, 1)
        except LogCorruptError:
            position += 1
            verifier.problem("the database is damaged at this position", position=position)
            continue
        if not found:
            break
        rows += found
        position = found[0].position
    return rows


def _is_whole(values: Sequence[object], kinds: Sequence[type | UnionType]) -> bool:
    """Tell whether values are of the kinds they were written as: damage to a row's own header changes that."""
    return all(map(isinstance, values, kinds))


def _expected_hash(row: Row, previous: bytes) -> bytes | None:
    try:
        return hash_of(row[:10], previous)
    except (struct.error, UnicodeError, AttributeError):
        # A damaged value may be none that could ever have been written.
        return None


def _expected_checkpoint(found: Checkpoint, last: Checkpoint | None) -> bytes | None:
    try:
        return _checkpoints.hash_of(found, EMPTY.hash if last is None else last.hash)
    except (struct.error, UnicodeError):
        return None


def _leaves(grown: dict[StreamKey, Head]) -> list[bytes]:
    try:
        return _checkpoints.leaves_of(grown.items())
    except (struct.error, UnicodeError, TypeError, AttributeError):
        return []
