"""What the offline STT listens for, without a recogniser."""

from __future__ import annotations

import re

import pytest

from greenroom.offline import Rule, Slot
from greenroom.offline._patterns import compile_pattern
from greenroom.offline._stt_decoder import Lexicon
from greenroom.offline._stt_grammar import SOUNDS, Grammar, build_grammar
from greenroom.offline._stt_network import number_words, spelling
from greenroom.offline._values import read_number

pytestmark = pytest.mark.unit

TABLE = Rule(
    "(book|reserve) a table [for {people:int}] [at {time}] [for {name}]",
    "Done.",
    slots={"day": Slot("day", ask="Which day?")},
)
SIZE = Rule("a {size:small|large} one", "Fine.")


def holds(grammar: Grammar, sentence: str) -> bool:
    """Walk the network."""
    arcs: dict[int, list[tuple[int, str]]] = {}
    for start, end, _, word in grammar.arcs:
        arcs.setdefault(start, []).append((end, word.lower()))

    def silently(nodes: set[int]) -> set[int]:
        reached, waiting = set(nodes), list(nodes)
        while waiting:
            for end, word in arcs.get(waiting.pop(), ()):
                if not word and end not in reached:
                    reached.add(end)
                    waiting.append(end)
        return reached

    nodes = silently({0})
    for said in sentence.lower().split():
        nodes = silently({end for node in nodes for end, word in arcs.get(node, ()) if word == said})
    return 1 in nodes


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return build_grammar([TABLE, SIZE], [compile_pattern("what is on the menu")])


@pytest.mark.parametrize(
    "sentence",
    [
        "book a table",
        "reserve a table for four at half past seven for Ada Lovelace",
        "hello I'd like to book a table please",
        "book a table tomorrow at three p.m.",
        "can I book a table for Friday please thank you",
        "tomorrow",
        "on the 3rd of May",
        "next Tuesday at noon",
        "at ten fifteen",
        "four people",
        "twenty one",
        "my name is Grace Hopper",
        "it's Maria",
        "a small one please",
        "large",
        "what is on the menu",
        "thank you goodbye",
        "yes",
        "never mind",
        "are you a robot",
        "what can you do",
    ],
)
def test_what_the_rules_listen_for_is_heard(grammar: Grammar, sentence: str) -> None:
    assert holds(grammar, sentence)


@pytest.mark.parametrize(
    "sentence", ["my uncle has a boat", "book a", "book a table for elephants", "for", "a medium one", "half past noon"]
)
def test_other_sentences_are_not(grammar: Grammar, sentence: str) -> None:
    assert not holds(grammar, sentence)


def test_small_talk_can_be_left_out() -> None:
    assert not holds(build_grammar([TABLE], small_talk=False), "what can you do")
    # What it is can be asked of every stand-in.
    assert holds(build_grammar([TABLE], small_talk=False), "are you a robot")


def test_a_slot_for_any_words_is_heard_with_its_values_and_reported_without() -> None:
    rule = Rule("order {dish}", "Right away.")
    deaf = build_grammar([rule])
    assert deaf.unheard == ("{dish}",)
    assert not holds(deaf, "order soup")
    told = build_grammar([rule], values={"dish": ["soup", "fish and chips"]})
    assert told.unheard == ()
    assert holds(told, "order fish and chips please")
    assert holds(told, "the soup")


def test_values_come_before_the_usual_ones_of_a_type() -> None:
    rule = Rule("call {name}", "Calling.")
    grammar = build_grammar([rule], values={"name": ["Zaphod"]})
    assert holds(grammar, "call Zaphod")
    assert not holds(grammar, "call Ada")


def test_a_regular_expression_is_reported() -> None:
    grammar = build_grammar([Rule(re.compile(r"order (?P<number>\d+)"), "Fine.")])
    assert grammar.unheard == (r"order (?P<number>\d+)",)


def test_a_telephone_number_is_written_in_figures() -> None:
    grammar = build_grammar([Rule("call me at {phone}", "Thanks.")])
    assert holds(grammar, "call me at 5 5 5 0 1 2 3")
    assert not holds(grammar, "call me at 5 5 5")
    assert grammar.spelled["0"] == ["oh", "zero"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Friday", "friday"),
        ("café", "cafe"),
        ("forty-five", "forty five"),
        ("12", "twelve"),
        ("B52", "b fifty two"),
        ("2030", "two thousand thirty"),
        ("o'clock", "o'clock"),
        ("p.m.", "p.m."),
    ],
)
def test_words_are_spelled_as_the_dictionary_has_them(written: str, said: str) -> None:
    assert spelling(written) == said


def test_numbers_are_spelled_as_the_rules_read_them() -> None:
    assert all(read_number(number_words(number)) == number for number in range(100))


def test_all_built_in_words_have_a_sound_without_flite() -> None:
    kinds = ["int", "number", "time", "day", "name", "phone", "yesno"]
    grammar = build_grammar([Rule([f"note {{x{kind}:{kind}}}" for kind in kinds], "Fine.")])
    words = {word for ways in grammar.spelled.values() for way in ways for word in way.split()}
    assert Lexicon(SOUNDS, "").load(words) == []
