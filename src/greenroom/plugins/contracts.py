"""What memories, messaging and stores promise, as checks that a plugin's author can run.

Each check takes a function that makes a part with nothing in it, and raises :class:`BrokenPromise`. With pytest and
pytest-asyncio::

    @pytest.mark.parametrize("promise", contracts.MEMORY, ids=contracts.title)
    async def test_my_memory_keeps_its_promises(promise):
        await promise(MyMemory)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from greenroom.plugins._protocols import Memory, Message, Messaging, Store

_Part = TypeVar("_Part", Memory, Messaging, Store)
Make: TypeAlias = Callable[[], _Part]
Promise: TypeAlias = Callable[[Make[_Part]], Awaitable[None]]

_NOON: Final = 1_700_000_000.0
#: What ids, names and texts may hold in real life.
_ODD: Final = ("José  O'Brien", '"; DROP TABLE x; --', "电话/+49 30 1234", "a" * 300)


class BrokenPromise(AssertionError):  # noqa: N818 - it is what a test fails with
    """A part does not do what its protocol says."""


def title(promise: Callable[..., Awaitable[None]]) -> str:
    """Return what a check is about, for the name of a test."""
    return getattr(promise, "__name__", repr(promise)).removeprefix("_").replace("_", " ")


async def verify(promises: Sequence[Promise[_Part]], make: Make[_Part]) -> list[str]:
    """Run every check, and return those that failed, each with why."""
    broken = []
    for promise in promises:
        try:
            await promise(make)
        except Exception as error:
            broken.append(f"{title(promise)}: {error or type(error).__name__}")
    return broken


def _hold(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise BrokenPromise(f"{what}: {found!r}, and it should be {expected!r}")


async def _recalls_the_latest_first(make: Make[Memory]) -> None:
    memory = make()
    for number in range(5):
        await memory.remember("ann", f"fact {number}", at=_NOON + number)
    found = await memory.recall("ann", limit=3)
    _hold([each.text for each in found], ["fact 4", "fact 3", "fact 2"], "the latest three")
    _hold([each.at for each in found], [_NOON + 4, _NOON + 3, _NOON + 2], "their times")
    await memory.aclose()


async def _finds_what_a_query_names(make: Make[Memory]) -> None:
    memory = make()
    for text in ("prefers mornings", "is allergic to penicillin", "has a dog"):
        await memory.remember("ann", text, at=_NOON)
    found = await memory.recall("ann", "penicillin", limit=1)
    _hold([each.text for each in found], ["is allergic to penicillin"], "the best answer to a word of it")
    await memory.aclose()


async def _keeps_subjects_apart(make: Make[Memory]) -> None:
    memory = make()
    for subject in _ODD:
        await memory.remember(subject, f"about {subject}", at=_NOON)
    for subject in _ODD:
        found = await memory.recall(subject)
        _hold([each.text for each in found], [f"about {subject}"], f"what is kept about {subject[:20]!r}")
    _hold(list(await memory.recall("nobody")), [], "what is kept about nobody")
    await memory.aclose()


async def _forgets_one_subject_for_good(make: Make[Memory]) -> None:
    memory = make()
    for text in ("one", "two"):
        await memory.remember("ann", text, at=_NOON)
    await memory.remember("bob", "three", at=_NOON)
    _hold(await memory.forget("ann"), 2, "how many were forgotten")
    _hold(list(await memory.recall("ann")), [], "what is left of them")
    _hold(list(await memory.recall("ann", "one")), [], "what a query finds of them")
    _hold(len(await memory.recall("bob")), 1, "what is kept about others")
    _hold(await memory.forget("ann"), 0, "how many are forgotten the second time")
    await memory.aclose()


async def _gives_each_text_its_own_id(make: Make[Memory]) -> None:
    memory = make()
    given = await asyncio.gather(*(memory.remember("ann", "the same", at=_NOON) for _ in range(20)))
    found = await memory.recall("ann", limit=100)
    _hold(len(set(given)), 20, "different ids of 20 texts that came at once")
    _hold({each.id for each in found}, set(given), "the ids that are recalled")
    await memory.aclose()


async def _sends_a_key_once(make: Make[Messaging]) -> None:
    carrier = make()
    message = Message(key="k1", to="+4930123456", text="Your table is booked.")
    first, *others = await asyncio.gather(*(carrier.send(message) for _ in range(5)))
    _hold(first.accepted, True, "whether it was accepted")
    _hold(set(map(repr, others)), {repr(first)}, "the receipts of the same key")
    _hold(repr(await carrier.send(message)), repr(first), "its receipt later")
    await carrier.aclose()


async def _sends_each_key(make: Make[Messaging]) -> None:
    carrier = make()
    receipts = [await carrier.send(Message(key=f"k{number}", to="ann", text=_ODD[number])) for number in range(4)]
    _hold(len({each.id for each in receipts if each.accepted}), 4, "different receipts of four messages")
    await carrier.aclose()


async def _says_why_it_does_not_send(make: Make[Messaging]) -> None:
    carrier = make()
    receipt = await carrier.send(Message(key="k1", to="", text="to nobody"))
    _hold((receipt.accepted, bool(receipt.reason)), (False, True), "a message to nobody: accepted, with a reason")
    await carrier.aclose()


async def _gives_back_what_was_put(make: Make[Store]) -> None:
    store = make()
    for name, data in (
        ("a/b.wav", bytes(range(256)) * 400),
        ("empty", b""),
        *((odd, odd.encode()) for odd in _ODD[:3]),
    ):
        await store.put(name, data)
        _hold(await store.get(name), data, f"what {name!r} has")
    await store.put("a/b.wav", b"new")
    _hold(await store.get("a/b.wav"), b"new", "what it has after it was put again")
    _hold(await store.get("nothing"), None, "what a name has that was never put")
    await store.aclose()


async def _deletes_and_tells(make: Make[Store]) -> None:
    store = make()
    await store.put("a", b"1")
    _hold(await store.delete("a"), True, "whether it was there")
    _hold(await store.delete("a"), False, "whether it was there the second time")
    _hold(await store.get("a"), None, "what it has then")
    _hold(list(await store.names()), [], "the names that are left")
    await store.aclose()


async def _lists_names_in_order(make: Make[Store]) -> None:
    store = make()
    for name in ("b/2", "a", "b/1", "b/10", "c"):
        await store.put(name, b"x")
    _hold(list(await store.names()), ["a", "b/1", "b/10", "b/2", "c"], "all names")
    _hold(list(await store.names("b/")), ["b/1", "b/10", "b/2"], "those that begin with b/")
    _hold(list(await store.names("b/", after="b/1", limit=1)), ["b/10"], "the one after b/1")
    await store.aclose()


async def _shows_nobody_a_part(make: Make[Store]) -> None:
    store = make()
    whole = {bytes([number]) * 100_000 for number in range(4)}
    await store.put("x", min(whole))
    *_, seen = await asyncio.gather(*(store.put("x", data) for data in whole), store.get("x"))
    _hold((seen in whole, await store.get("x") in whole), (True, True), "whether readers saw one of the values, whole")
    await store.aclose()


async def _closes_twice(make: Make[_Part]) -> None:
    part = make()
    await part.aclose()
    await part.aclose()


MEMORY: Final[tuple[Promise[Memory], ...]] = (
    _recalls_the_latest_first,
    _finds_what_a_query_names,
    _keeps_subjects_apart,
    _forgets_one_subject_for_good,
    _gives_each_text_its_own_id,
    _closes_twice,
)
MESSAGING: Final[tuple[Promise[Messaging], ...]] = (
    _sends_a_key_once,
    _sends_each_key,
    _says_why_it_does_not_send,
    _closes_twice,
)
STORE: Final[tuple[Promise[Store], ...]] = (
    _gives_back_what_was_put,
    _deletes_and_tells,
    _lists_names_in_order,
    _shows_nobody_a_part,
    _closes_twice,
)
