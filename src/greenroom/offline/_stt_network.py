"""A network of words: what can be heard, as states and the words between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Node: TypeAlias = int

START: Final[Node] = 0
END: Final[Node] = 1


def words(text: str) -> list[str]:
    """Return the words of a list that is written as a sentence."""
    return text.split()


ONES: Final = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS: Final = words("twenty thirty forty fifty sixty seventy eighty ninety")


@dataclass(slots=True)
class Network:
    """A finite-state network under construction, from ``START`` to ``END``.

    :ivar arcs: from, to, probability, word; an empty word is passed without a sound.
    :ivar spelled: how each word can be said: words of the dictionary with blanks between.
    """

    arcs: set[tuple[Node, Node, float, str]] = field(default_factory=set)
    spelled: dict[str, set[str]] = field(default_factory=dict)
    size: int = 2

    def node(self) -> Node:
        """Add a node."""
        self.size += 1
        return self.size - 1

    def skip(self, start: Node, end: Node, probability: float = 1.0) -> None:
        """Let the way from ``start`` to ``end`` be silent."""
        if start != end:
            self.arcs.add((start, end, probability, ""))

    def word(self, start: Node, end: Node, written: str, said: str = "", probability: float = 1.0) -> None:
        """Let one word lead from ``start`` to ``end``; ``said`` is how, when it is not said as it is written."""
        # Brackets would be taken for the number of a pronunciation.
        if written := re.sub(r"[()\s]", "", written):
            self.spelled.setdefault(written, set()).add(said or spelling(written))
            self.arcs.add((start, end, probability, written))

    def choice(
        self, start: Node, phrases: Iterable[str] | Mapping[str, str], end: Node, probability: float = 1.0
    ) -> None:
        """Let any of ``phrases`` lead from ``start`` to ``end``, each begun with ``probability``."""
        for phrase in phrases:
            if isinstance(phrases, Mapping):
                self.word(start, end, phrase, phrases[phrase], probability)
                continue
            said = phrase.split()
            nodes = [start, *(self.node() for _ in said[1:]), end]
            for position, word in enumerate(said):
                self.word(nodes[position], nodes[position + 1], word, "", 1.0 if position else probability)


def number_words(number: int) -> str:
    """Spell a whole number from 0 to 9999 as it is said."""
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens - 2] + (f" {ONES[ones]}" if ones else "")
    value, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    count, rest = divmod(number, value)
    return f"{number_words(count)} {name}" + (f" {number_words(rest)}" if rest else "")


def spelling(written: str) -> str:
    """Return how a word is said, in words as pronouncing dictionaries have them: lower case, no accents, no figures."""
    letters = unicodedata.normalize("NFKD", written.casefold())
    plain = re.sub(r"[^\w'.]|_", " ", "".join(char for char in letters if not unicodedata.combining(char)))
    parts = re.findall(r"\d{1,4}|[^\d\s]+", plain)
    return " ".join(number_words(int(part)) if part.isdecimal() else part for part in parts)
