"""How the values of slots are spoken: the part of a hearing grammar that knows times, days, numbers and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from greenroom.offline._stt_network import ONES, TENS, Network, Node, words

_ORDINALS: Final = words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
)
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = words(
    "January February March April May June July August September October November December"
)  # fmt: skip
# A name is an open class; these are heard without being told. Others are given as values of the slot.
_GIVEN_NAMES: Final = words(
    "Ada Adam Alan Alex Alice Amy Andrew Angela Anna Anne Anthony Barbara Ben Brian Carol Catherine Charles Chris "
    "Claire Daniel David Diana Donald Edward Elizabeth Emily Emma Eric Frank George Grace Hannah Helen Henry Jack "
    "James Jane Jennifer Jessica John Joseph Julia Karen Katie Kevin Laura Linda Lisa Lucy Margaret Maria Mark Martin "
    "Mary Matthew Michael Nancy Nicole Oliver Oscar Patricia Paul Peter Rachel Rebecca Richard Robert Rose Ruth Sam "
    "Sandra Sarah Simon Sophia Stephen Steven Susan Thomas Tom Victor Victoria William"
)
_FAMILY_NAMES: Final = words(
    "Adams Anderson Baker Brown Campbell Carter Clark Collins Cooper Davis Edwards Evans Garcia Green Hall Harris Hill "
    "Hopper Hughes Jackson Johnson Jones King Lee Lewis Lovelace Martin Martinez Miller Mitchell Moore Morris Murphy "
    "Nelson Parker Patel Phillips Roberts Robinson Rodriguez Rogers Scott Smith Stewart Taylor Thompson Turing Turner "
    "Walker White Williams Wilson Wood Wright Young"
)

Spoken: TypeAlias = Callable[[Network, Node, Node], None]


def _numbers(network: Network, start: Node, end: Node) -> None:
    network.choice(start, [*ONES, *TENS], end)
    tens = network.node()
    network.choice(start, TENS, tens)
    network.choice(tens, ONES[1:10], end)


def _times(network: Network, start: Node, end: Node) -> None:
    hours = ONES[1:13]
    hour, minute = network.node(), network.node()
    network.choice(start, ["noon", "midday", "midnight"], end)
    network.choice(start, hours, hour)
    network.choice(hour, ["ten", "fifteen", "twenty", "thirty", "forty five", "oh five"], minute)
    network.skip(hour, minute)
    network.skip(minute, end)
    network.choice(
        minute,
        ["a.m.", "p.m.", "o'clock", "in the morning", "in the afternoon", "in the evening", "at night"],
        end,
    )
    relative = network.node()
    network.choice(start, ["half past", "quarter past", "quarter to"], relative)
    network.choice(relative, hours, minute)


def _days(network: Network, start: Node, end: Node) -> None:
    network.choice(start, ["today", "tonight", "tomorrow", "the day after tomorrow", *_WEEKDAYS], end)
    which = network.node()
    network.choice(start, ["next", "this"], which)
    network.choice(which, _WEEKDAYS, end)
    # Dates are written in figures, as the slot reads them: the label is "3rd", the sound that of "third".
    dates = {_ordinal(day): _ordinal_words(day) for day in range(1, 32)}
    the, date = network.node(), network.node()
    network.choice(start, ["the"], the)
    network.skip(start, the)
    network.choice(the, dates, date)
    of = network.node()
    network.choice(date, ["of"], of)
    network.skip(date, of)
    network.choice(of, _MONTHS, end)
    month = network.node()
    network.choice(start, _MONTHS, month)
    network.choice(month, ["the"], the_after := network.node())
    network.skip(month, the_after)
    network.choice(the_after, dates, end)


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 11 <= day <= 13 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def _ordinal_words(day: int) -> str:
    if day <= 20:
        return _ORDINALS[day - 1]
    if day == 30:
        return "thirtieth"
    return f"{TENS[day // 10 - 2]} {_ORDINALS[day % 10 - 1]}"


def _names(network: Network, start: Node, end: Node) -> None:
    network.choice(start, _GIVEN_NAMES, given := network.node())
    network.skip(given, end)
    network.choice(given, _FAMILY_NAMES, end)
    titled = network.node()
    network.choice(start, ["doctor", "mister", "missus", "miss"], titled)
    network.choice(titled, _FAMILY_NAMES, end)


def _digits(network: Network, start: Node, end: Node) -> None:
    """Hear a telephone number: seven figures or more, written as figures."""
    figures = {str(figure): word for figure, word in enumerate(ONES[:10])}
    node = start
    for _ in range(7):
        network.choice(node, figures, after := network.node())
        network.word(node, after, "0", "oh")
        node = after
    network.choice(node, figures, node)
    network.word(node, node, "0", "oh")
    network.skip(node, end)


def _yes_no(network: Network, start: Node, end: Node) -> None:
    network.choice(start, ["yes", "yeah", "sure", "of course", "certainly", "correct", "right", "okay"], end)
    network.choice(start, ["no", "nope", "not really", "wrong"], end)


SPOKEN: Final[Mapping[str, Spoken]] = {
    "int": _numbers,
    "number": _numbers,
    "time": _times,
    "day": _days,
    "name": _names,
    "phone": _digits,
    "yesno": _yes_no,
}


def listed(values: Sequence[str]) -> Spoken:
    """Return how one of ``values`` is spoken."""

    def speak(network: Network, start: Node, end: Node) -> None:
        network.choice(start, values, end)

    return speak
