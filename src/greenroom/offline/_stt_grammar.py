"""The bounded grammar of the offline STT: what a caller may say to an agent, made from its rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from greenroom.offline._patterns import Pattern, _branches, _Group, _Slot, _tokens, _Word
from greenroom.offline._rules import Rule
from greenroom.offline._smalltalk import CANCEL, CHAT, DISCLOSURE, HELP, REPEAT, REPLIES
from greenroom.offline._stt_network import END, START, Network, Node
from greenroom.offline._stt_spoken import SPOKEN, listed
from greenroom.offline._values import SlotType

# Words of the built-in small talk that the pronouncing dictionary does not have.
SOUNDS: Final = {
    "chatbot": "CH AE T B AA T",
    "chatgpt": "CH AE T JH IY P IY T IY",
    "gpt": "JH IY P IY T IY",
    "llm": "EH L EH L EH M",
}
# What people say before they come to the point, and behind it.
_OPENERS: Final = (
    "hello", "hi", "hey", "good morning", "good afternoon", "good evening", "yes", "no", "okay", "so", "and", "well",
    "sorry", "actually", "please", "thank you", "thanks",
)  # fmt: skip
_REQUESTS: Final = (
    "I'd like", "I would like", "I'd like to", "I would like to", "I want", "I want to", "I need", "I need to",
    "I wanted to", "can I", "could I", "may I", "can we", "could we", "can you", "could you", "would you",
    "can you tell me", "could you tell me", "please tell me", "tell me", "do you know", "make it",
    "change that to", "let's", "we'd like to", "is", "is there", "do you have",
)  # fmt: skip
_ARTICLES: Final = ("a", "an", "the")
_CLOSERS: Final = ("please", "thanks", "thank you", "then", "instead")
# The price of words that only decorate, as probabilities: without one they are heard where nobody said them.
_OPENER: Final = 1e-10
_REQUEST: Final = 1e-2
_ARTICLE: Final = 1e-14
_CLOSER: Final = 1e-6
_VALUE: Final = 1e-2
_BARE: Final = 1e-4
_AGAIN: Final = 1e-14
# What may come before a value that is said on its own.
_BEFORE: Final[Mapping[str, Sequence[str]]] = {
    "day": ("on", "for"),
    "time": ("at", "around", "by", "for"),
    "name": (
        "for", "under", "my name is", "the name is", "it's", "it is", "this is", "I'm", "I am", "call me",
        "put it under",
    ),
    "int": ("for",),
}  # fmt: skip
_BEFORE_OTHERS: Final = ("the", "a", "an", "for", "it's")
# Values that may follow a sentence without such a word: "book it tomorrow at three".
_EVIDENT: Final = {"day", "time"}
_AFTER: Final[Mapping[str, Sequence[str]]] = {"int": ("people", "persons", "of us")}


@dataclass(frozen=True, slots=True)
class Grammar:
    """A finished grammar.

    :param arcs: from, to, probability, word; node 0 is the start, node 1 the end.
    :param spelled: how each word can be said, in words of the pronouncing dictionary.
    :param unheard: slots and patterns that the grammar has no words for.
    """

    arcs: tuple[tuple[int, int, float, str], ...]
    spelled: Mapping[str, Sequence[str]]
    unheard: tuple[str, ...] = ()


def build_grammar(
    rules: Sequence[Rule] = (),
    phrases: Sequence[Pattern] = (),
    values: Mapping[str, Sequence[str]] | None = None,
    *,
    small_talk: bool = True,
) -> Grammar:
    """Make the grammar of everything that ``rules`` and ``phrases`` listen for.

    :param phrases: more of what is listened for.
    :param values: what slots may hold, by the slot's name.
    :param small_talk: whether hello, yes, help and the like belong to it.
    """
    builder = _Builder(values or {})
    talk = (HELP, REPEAT, CANCEL, *CHAT, *REPLIES) if small_talk else ()
    for rule in (*rules, DISCLOSURE, *talk) if rules else talk:
        builder.add(rule.patterns)
        builder.slots.update({name: kind for name, kind in rule.types.items() if name not in builder.slots})
    builder.add(phrases)
    builder.surround()
    return builder.finish()


class _Builder:
    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._network = Network()
        self._values = values
        self._before = self._network.node()
        self._after = self._network.node()
        self.slots: dict[str, SlotType] = {}
        self._unheard: dict[str, None] = {}

    def add(self, patterns: Iterable[Pattern]) -> None:
        """Let each pattern lead from the start to the end."""
        for pattern in patterns:
            if not pattern.example:
                self._unheard[pattern.source] = None
                continue
            self.slots.update(pattern.slots)
            branches, _ = _branches(list(_tokens(pattern.source)), 0, None, pattern.source)
            self._either(branches, self._before, self._after)

    def surround(self) -> None:
        """Add what may be said around a pattern, and the values that are an answer on their own."""
        network = self._network
        network.choice(START, _OPENERS, opened := network.node(), _OPENER)
        network.choice(opened, _OPENERS, asking := network.node(), _OPENER)
        network.skip(opened, asking)
        network.skip(START, asking)
        network.choice(asking, _REQUESTS, asked := network.node(), _REQUEST)
        network.choice(asked, _ARTICLES, self._before, _ARTICLE)
        network.skip(asking, self._before)
        network.skip(asked, self._before)
        network.choice(self._after, _CLOSERS, self._after, _CLOSER)
        slots = {(kind.name, name in self._values and name): (name, kind) for name, kind in self.slots.items()}
        for name, kind in slots.values():
            self._value(name, kind, self._before, bare=True)
            self._value(name, kind, self._after, bare=kind.name in _EVIDENT)
        network.skip(self._after, END)
        network.skip(self._after, START, _AGAIN)

    def finish(self) -> Grammar:
        network = self._network
        spelled = {word: sorted(ways) for word, ways in sorted(network.spelled.items())}
        return Grammar(tuple(sorted(network.arcs)), spelled, tuple(self._unheard))

    def _value(self, name: str, kind: SlotType, start: Node, *, bare: bool) -> None:
        """Let a value lead from ``start`` to the end, with the words that may come with it."""
        network = self._network
        network.choice(start, _BEFORE.get(kind.name, _BEFORE_OTHERS), value := network.node(), _VALUE)
        if bare:
            network.skip(start, value, _BARE)
        self._slot(name, kind, value, self._after)
        if after := _AFTER.get(kind.name):
            self._slot(name, kind, value, node := network.node())
            network.choice(node, after, self._after)

    def _either(self, branches: Sequence[Sequence[_Word | _Slot | _Group]], start: Node, end: Node) -> None:
        for branch in branches:
            nodes = [start, *(self._network.node() for _ in branch[1:]), end]
            if not branch:
                self._network.skip(start, end)
            for item, before, after in zip(branch, nodes, nodes[1:], strict=False):
                self._item(item, before, after)

    def _item(self, item: _Word | _Slot | _Group, start: Node, end: Node) -> None:
        if isinstance(item, _Word):
            self._network.word(start, end, item.text)
        elif isinstance(item, _Slot):
            self._slot(item.name, item.kind, start, end)
        else:
            self._either(item.branches, start, end)
            if item.optional:
                self._network.skip(start, end)

    def _slot(self, name: str, kind: SlotType, start: Node, end: Node) -> None:
        if name in self._values:
            spoken = listed(self._values[name])
        elif kind.name in SPOKEN:
            spoken = SPOKEN[kind.name]
        elif "|" in kind.name:
            spoken = listed(kind.name.split("|"))
        else:
            self._unheard[f"{{{name}}}"] = None
            return
        spoken(self._network, start, end)
