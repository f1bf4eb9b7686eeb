"""The pattern language of rules: words, ``{slots}``, ``[optional parts]`` and ``(either|or)``.

A pattern is found anywhere in what was said, at word boundaries, in any case; punctuation between words
does not count. ``^`` before it and ``$`` behind it tie it to the beginning and the end. ``docs/offline.md`` is
its manual.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from greenroom.offline._values import TYPES, SlotType, Value, choice

# What a caller says beyond this is not looked at: matching stays fast whatever arrives.
MAX_TEXT: Final = 500
_APOSTROPHES: Final = str.maketrans({"‘": "'", "’": "'", "`": "'", "´": "'"})
_TOKEN: Final = re.compile(r"\{(?P<slot>[^{}]*)\}|(?P<mark>[\[\]()|{}])|(?P<word>[\w'-]+)|[^\w'{}\[\]()|-]+")
_SLOT: Final = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*(?::\s*(?P<kind>.+?)\s*)?")
_PUNCTUATION: Final = re.compile(r"(\W{3})\W+")
_CLOSING: Final = {"[": "]", "(": ")"}
_GAP: Final = r"[^\w]*?"
_END: Final = r"[^\w]*(?:(?:please|thanks|thank\s+you)[^\w]*)*$"


class PatternError(ValueError):
    """A pattern cannot be read."""


def normalise(text: str) -> str:
    """Return what was said on one line: plain apostrophes, no long runs of punctuation, ``MAX_TEXT`` characters."""
    line = _one_line(text[:MAX_TEXT])
    # Long runs would make the matching of gaps between words slow.
    return _PUNCTUATION.sub(r"\1", line)[:MAX_TEXT]


def _one_line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).split())


def slot_type(name: str, kind: str | None) -> SlotType:
    """Return the type called ``kind``; without one, the type called like the slot, else text."""
    if kind is None:
        return TYPES.get(name, TYPES["text"])
    if kind in TYPES:
        return TYPES[kind]
    if "|" in kind and (options := tuple(option.strip() for option in kind.split("|") if option.strip())):
        return choice(options)
    raise PatternError(f"slot '{name}' has the unknown type '{kind}'; there are {', '.join(TYPES)} and one|or|other")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str
    kind: SlotType


@dataclass(frozen=True, slots=True)
class _Group:
    branches: tuple[tuple[_Word | _Slot | _Group, ...], ...]
    optional: bool


_Node = _Word | _Slot | _Group


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern.

    :param source: the pattern as written.
    :param slots: the type of each slot, in the order of appearance.
    :param example: the pattern as a person would be told of it: ``book a table for PEOPLE``.
    """

    source: str
    slots: dict[str, SlotType]
    example: str
    _regex: re.Pattern[str]
    _whole: re.Pattern[str]
    _groups: dict[str, str] = field(default_factory=dict)

    def match(self, text: str, *, whole: bool = False) -> dict[str, Value] | None:
        """Match normalised ``text`` and return the slots that were filled, ``None`` without a match."""
        found = self._whole.fullmatch(text) if whole else self._regex.search(text)
        if found is None:
            return None
        values: dict[str, Value] = {}
        for group, name in self._groups.items():
            said = found[group]
            if said is None or name in values:
                continue
            if (value := self.slots[name].read(said.strip())) is not None:
                values[name] = value
        return values


def compile_pattern(source: str | re.Pattern[str]) -> Pattern:
    """Compile a pattern, or take a regular expression whose named groups are the slots.

    Raises :class:`PatternError`.
    """
    if isinstance(source, re.Pattern):
        slots = {name: slot_type(name, None) for name in source.groupindex}
        whole = re.compile(rf"(?:{source.pattern}){_END}", source.flags)
        return Pattern(source.pattern, slots, "", source, whole, {name: name for name in slots})
    start, end = source.lstrip().startswith("^"), source.rstrip().endswith("$")
    tokens = list(_tokens(source))
    branches, rest = _branches(tokens, 0, None, source)
    if rest != len(tokens):
        raise PatternError(f"pattern '{source}' closes a bracket that it did not open")
    if all(_empty(branch) for branch in branches):
        raise PatternError(f"pattern '{source}' would match anything")
    writer = _Writer(source)
    alternatives = [writer.sequence(branch) + (_END if _open_tail(branch) else "") for branch in branches]
    regex = "|".join(f"(?:{alternative})" for alternative in alternatives)
    regex = ("^" if start else "") + f"(?:{regex})" + (_END if end else "")
    return Pattern(
        source,
        writer.slots,
        _example(branches[0]),
        re.compile(regex, re.IGNORECASE),
        re.compile(rf"(?:{regex}){_END}", re.IGNORECASE),
        writer.groups,
    )


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(_one_line(source)):
        if found["slot"] is not None:
            yield "slot", found["slot"]
        elif found["mark"]:
            yield "mark", found["mark"]
        elif found["word"]:
            yield "word", found["word"]


def _branches(
    tokens: list[tuple[str, str]], position: int, closing: str | None, source: str
) -> tuple[tuple[tuple[_Node, ...], ...], int]:
    """Read ``one|or|other`` up to ``closing`` and return it with the position of what follows."""
    branches: list[tuple[_Node, ...]] = []
    current: list[_Node] = []
    while position < len(tokens):
        kind, text = tokens[position]
        if kind == "word":
            current.append(_Word(text))
        elif kind == "slot":
            current.append(_read_slot(text, source))
        elif text == "|":
            branches.append(tuple(current))
            current = []
        elif text in _CLOSING:
            inner, position = _branches(tokens, position + 1, _CLOSING[text], source)
            current.append(_Group(inner, optional=text == "["))
            continue
        elif text == closing:
            return (*branches, tuple(current)), position + 1
        else:
            break
        position += 1
    if closing is not None:
        raise PatternError(f"pattern '{source}' does not close a bracket with '{closing}'")
    return (*branches, tuple(current)), position


def _read_slot(text: str, source: str) -> _Slot:
    found = _SLOT.fullmatch(text)
    if found is None:
        raise PatternError(f"pattern '{source}' has the unreadable slot '{{{text}}}'; write {{name}} or {{name:type}}")
    return _Slot(found["name"], slot_type(found["name"], found["kind"]))


def _empty(nodes: tuple[_Node, ...]) -> bool:
    """Whether the sequence matches without a word being said."""
    return all(isinstance(node, _Group) and (node.optional or any(map(_empty, node.branches))) for node in nodes)


def _open_tail(nodes: tuple[_Node, ...]) -> bool:
    """Whether the sequence may end in a text slot, which then reaches to the end of what was said."""
    for node in reversed(nodes):
        if isinstance(node, _Slot):
            return node.kind.name == "text"
        if isinstance(node, _Word):
            return False
        if any(map(_open_tail, node.branches)):
            return True
        if not (node.optional or any(map(_empty, node.branches))):
            return False
    return False


class _Writer:
    """Writes the regular expression of a pattern and collects its slots."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.slots: dict[str, SlotType] = {}
        self.groups: dict[str, str] = {}

    def sequence(self, nodes: tuple[_Node, ...]) -> str:
        return "".join(self._node(node) for node in nodes)

    def _node(self, node: _Node) -> str:
        if isinstance(node, _Word):
            word = "".join({"'": "'?", "-": r"[-\s]?"}.get(char, re.escape(char)) for char in node.text)
            return rf"{_GAP}(?<!\w){word}(?!\w)"
        if isinstance(node, _Slot):
            known = self.slots.setdefault(node.name, node.kind)
            if known.name != node.kind.name:
                raise PatternError(f"pattern '{self._source}' gives slot '{node.name}' two types")
            group = f"slot{len(self.groups)}"
            self.groups[group] = node.name
            return rf"{_GAP}(?<!\w)(?P<{group}>{node.kind.pattern})(?!\w)"
        branches = "|".join(self.sequence(branch) for branch in node.branches)
        return f"(?:{branches})" + ("?" if node.optional else "")


def _example(nodes: tuple[_Node, ...]) -> str:
    words = []
    for node in nodes:
        if isinstance(node, _Word):
            words.append(node.text)
        elif isinstance(node, _Slot):
            words.append(node.name.replace("_", " ").upper())
        else:
            words.append(_example(node.branches[0]))
    return " ".join(word for word in words if word)
