"""The checks that plugin authors run: honest parts keep every promise, and each way to break one is caught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest

from greenroom.plugins import Memento, Memory, Message, Messaging, Receipt, Store, contracts

pytestmark = pytest.mark.unit


class ListMemory:
    def __init__(self) -> None:
        self.kept: list[tuple[str, Memento]] = []
        self.number = count()

    async def remember(self, subject: str, text: str, *, at: float) -> str:
        one = Memento(id=str(next(self.number)), text=text, at=at)
        self.kept.append((subject, one))
        return one.id

    async def recall(self, subject: str, query: str = "", *, limit: int = 10) -> Sequence[Memento]:
        found = [each for about, each in self.kept if about == subject and query in each.text]
        return sorted(found, key=lambda each: each.at, reverse=True)[:limit]

    async def forget(self, subject: str) -> int:
        before = len(self.kept)
        self.kept = [(about, each) for about, each in self.kept if about != subject]
        return before - len(self.kept)

    async def aclose(self) -> None: ...


class ListMessaging:
    def __init__(self) -> None:
        self.sent: dict[str, Receipt] = {}

    async def send(self, message: Message) -> Receipt:
        if not message.to:
            return Receipt(accepted=False, reason="it is for nobody")
        return self.sent.setdefault(message.key, Receipt(id=str(len(self.sent))))

    async def aclose(self) -> None: ...


class DictStore:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, name: str, data: bytes) -> None:
        self.kept[name] = data

    async def get(self, name: str) -> bytes | None:
        return self.kept.get(name)

    async def delete(self, name: str) -> bool:
        return self.kept.pop(name, None) is not None

    async def names(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> Sequence[str]:
        return sorted(each for each in self.kept if each.startswith(prefix) and each > after)[:limit]

    async def aclose(self) -> None: ...


class Mixed(ListMemory):
    async def recall(self, subject: str, query: str = "", *, limit: int = 10) -> Sequence[Memento]:
        return [each for _, each in self.kept][:limit]


class Unforgetting(ListMemory):
    async def forget(self, subject: str) -> int:
        return 0


class Repeating(ListMessaging):
    async def send(self, message: Message) -> Receipt:
        self.sent[str(len(self.sent))] = Receipt()
        return Receipt(id=str(len(self.sent)))


class Forgetful(DictStore):
    async def put(self, name: str, data: bytes) -> None:
        self.kept.setdefault(name, data)


class Unsorted(DictStore):
    async def names(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> Sequence[str]:
        return list(self.kept)


class Leaky(DictStore):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


HONEST: Mapping[type, tuple[Any, Any]] = {
    Memory: (contracts.MEMORY, ListMemory),
    Messaging: (contracts.MESSAGING, ListMessaging),
    Store: (contracts.STORE, DictStore),
}


@pytest.mark.parametrize(
    ("promise", "make"),
    [
        pytest.param(promise, make, id=f"{make.__name__} {contracts.title(promise)}")
        for promises, make in HONEST.values()
        for promise in promises
    ],
)
async def test_an_honest_part_keeps_each_promise(promise: Any, make: Any) -> None:
    await promise(make)


@pytest.mark.parametrize(
    ("promises", "make", "broken"),
    [
        (contracts.MEMORY, Mixed, {"recalls the latest first", "keeps subjects apart", "finds what a query names"}),
        (contracts.MEMORY, Unforgetting, {"forgets one subject for good"}),
        (contracts.MESSAGING, Repeating, {"sends a key once", "says why it does not send"}),
        (contracts.STORE, Forgetful, {"gives back what was put"}),
        (contracts.STORE, Unsorted, {"lists names in order"}),
        (contracts.STORE, Leaky, {"closes twice"}),
    ],
)
async def test_a_part_that_breaks_a_promise_is_told_which(promises: Any, make: Any, broken: set[str]) -> None:
    found = {each.partition(":")[0] for each in await contracts.verify(promises, make)}
    assert broken <= found


@pytest.mark.parametrize("protocol", HONEST)
def test_parts_are_known_by_their_methods(protocol: type) -> None:
    assert isinstance(HONEST[protocol][1](), protocol)
    assert not isinstance(object(), protocol)
