"""What a slot can hold: one type per kind of value, each found and read with plain regular expressions.

A type never looks at the clock: ``tomorrow`` stays ``tomorrow``, and the tool that receives it decides
which date that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Value: TypeAlias = str | int | float | bool


def _words(text: str) -> list[str]:
    return text.split()


_ONES: Final = {
    word: number
    for number, word in enumerate(
        _words(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen"
        )
    )
}
_TENS: Final = {
    word: number * 10
    for number, word in enumerate(_words("twenty thirty forty fifty sixty seventy eighty ninety"), start=2)
}
_ONES_RE: Final = "|".join(sorted(_ONES, key=len, reverse=True))
_TENS_RE: Final = "|".join(_TENS)
_NUMBER_WORDS: Final = rf"(?:(?:{_TENS_RE})(?:[-\s](?:{_ONES_RE}))?|(?:{_ONES_RE}))"

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAY: Final = (
    r"(?:the\s+day\s+after\s+tomorrow|day\s+after\s+tomorrow|today|tonight|tomorrow"
    rf"|(?:next\s+|this\s+)?(?:{'|'.join(_WEEKDAYS)})"
    r"|\d{4}-\d{2}-\d{2}"
    rf"|(?:the\s+)?\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTHS})"
    rf"|(?:{_MONTHS})\s+(?:the\s+)?\d{{1,2}}(?:st|nd|rd|th)?)"
)

_HOUR: Final = rf"(?:\d{{1,2}}|{_ONES_RE})"
_MINUTE: Final = r"(?:[:.]\d{2}|\s+(?:oh\s+)?(?:fifteen|thirty|forty[-\s]five|ten|twenty|five))"
_HALF_OF_DAY: Final = r"(?:\s*[ap]\.?m\b\.?|\s+in\s+the\s+(?:morning|afternoon|evening)|\s+at\s+night|\s+o'?clock)"
_TIME: Final = (
    rf"(?:noon|midday|midnight|(?:half|quarter)\s+(?:past|to)\s+{_HOUR}{_HALF_OF_DAY}?"
    rf"|{_HOUR}{_MINUTE}?{_HALF_OF_DAY}{{0,2}})"
)
# Words that end a name when they follow one, so that "for Ada at three" names Ada.
_NOT_A_NAME: Final = (
    "at|on|for|in|to|by|from|and|with|about|please|thanks|thank|today|tonight|tomorrow|next|this|yes|yeah|no|nope|not|sure"
    "|okay|ok|what|why|i|you|we|he|she|it|is|are|a|an|the|my|" + "|".join(_WEEKDAYS)
)
_NAME_WORD: Final = rf"(?!(?:{_NOT_A_NAME})\b)[^\W\d_](?:[\w'.-]*\w)?"
_NAME: Final = rf"{_NAME_WORD}(?:\s+{_NAME_WORD}){{0,3}}"
_INTRODUCTION: Final = re.compile(
    r"^(?:(?:yes|sure|okay|ok|well|so|um|uh)\W+)?(?:(?:my|the|her|his|their)\s+name\s+is|the\s+name'?s|it'?s|it\s+is"
    r"|i'?m|i\s+am|this\s+is|call\s+me|(?:put\s+it\s+)?under|for)\s+",
    re.IGNORECASE,
)
_COURTESY: Final = re.compile(
    r"(?:[\s,.;:!?]+(?:please|thanks|thank\s+you|if\s+(?:you|i)\s+(?:can|may)))*[\s,.;:!?]*$", re.IGNORECASE
)
_YES: Final = r"(?:yes|yeah|yep|sure|of course|certainly|correct|right|true|okay|ok)"
_NO: Final = r"(?:no|nope|not really|false|wrong)"


def without_courtesy(text: str) -> str:
    """Return ``text`` without the ``please`` and the punctuation at its end."""
    return _COURTESY.sub("", text.strip()).strip()


def read_number(text: str) -> int | None:
    """Read a whole number from 0 in digits or, to 99, in English words."""
    if re.fullmatch(r"\d+", text):
        return int(text)
    words = re.split(r"[-\s]+", text.lower())
    if len(words) == 1:
        return _ONES.get(words[0], _TENS.get(words[0]))
    if len(words) == 2 and words[0] in _TENS and 0 < _ONES.get(words[1], 0) < 10:
        return _TENS[words[0]] + _ONES[words[1]]
    return None


def _read_decimal(text: str) -> Value | None:
    if re.fullmatch(r"-?\d+(?:\.\d+)?", text):
        return float(text) if "." in text else int(text)
    return read_number(text)


def _read_time(text: str) -> Value | None:
    """Read a time of day as ``HH:MM``. An hour from 1 to 7 with neither a leading zero nor am or pm is afternoon."""
    lowered = text.lower()
    if lowered in {"noon", "midday"}:
        return "12:00"
    if lowered == "midnight":
        return "00:00"
    relative = re.match(r"(half|quarter)\s+(past|to)\s+", lowered)
    rest = lowered[relative.end() :] if relative else lowered
    found = re.match(rf"(?P<hour>{_HOUR})(?P<minute>{_MINUTE})?", rest)
    hour = read_number(found["hour"]) if found else None
    if found is None or hour is None:
        return None
    minute = read_number(re.sub(r"^[:.]|^\s+(?:oh\s+)?", "", found["minute"] or "0")) or 0
    if relative:
        minute = 30 if relative[1] == "half" else 15
        if relative[2] == "to":
            hour, minute = hour - 1, 60 - minute
    tail = rest[found.end() :]
    afternoon = re.search(r"p\.?m|afternoon|evening|night", tail)
    if re.search(r"a\.?m|morning", tail):
        hour %= 12
    elif (afternoon and hour < 12) or (not afternoon and 1 <= hour <= 7 and not found["hour"].startswith("0")):
        hour += 12
    return f"{hour:02}:{minute:02}" if 0 <= hour < 24 and minute < 60 else None


def _read_day(text: str) -> Value | None:
    """Read a day: ``today``, ``tomorrow``, ``Friday``, ``next Friday``, ``2030-05-03`` or ``3 May``."""
    lowered = re.sub(r"\s+", " ", text.lower()).removeprefix("the ").removeprefix("this ")
    if lowered == "tonight":
        return "today"
    month = re.search(_MONTHS, lowered)
    if month is None:
        return re.sub(r"\w+day$", lambda found: found[0] if found[0] == "today" else found[0].title(), lowered)
    number = re.search(r"\d+", lowered)
    return f"{int(number[0])} {month[0].title()}" if number and 1 <= int(number[0]) <= 31 else None


def _read_name(text: str) -> Value | None:
    name = without_courtesy(_INTRODUCTION.sub("", text.strip()))
    if not re.fullmatch(_NAME, name, re.IGNORECASE):
        return None
    return name.title() if name.islower() else name


def _read_text(text: str) -> Value | None:
    return without_courtesy(text) or None


def _read_yes_no(text: str) -> Value | None:
    return bool(re.fullmatch(_YES, text, re.IGNORECASE))


@dataclass(frozen=True, slots=True)
class SlotType:
    """How values of one kind look and are read.

    :param name: what a pattern calls it: ``{people:int}``.
    :param pattern: regular expression of a value, without groups that capture.
    :param read: turns the matched text into the value, ``None`` when it is none after all.
    :param alone: regular expression that recognises a value wherever it stands; empty when only a pattern
        or a question can tell which words are meant.
    :param question: asked when the value is missing; ``{label}`` is the slot's name in words.
    """

    name: str
    pattern: str
    read: Callable[[str], Value | None]
    question: str
    alone: str = ""

    @property
    def free(self) -> bool:
        """Whether any words will do."""
        return self.name in {"text", "name"}

    def find(self, text: str) -> tuple[Value, tuple[int, int]] | None:
        """Find a value that speaks for itself, and where it stands."""
        return self._search(self.alone, text) if self.alone else None

    def answer(self, text: str) -> tuple[Value, tuple[int, int]] | None:
        """Find the value in the answer to this slot's question."""
        if self.free:
            value = self.read(text)
            return None if value is None else (value, (0, len(text)))
        return self._search(self.pattern, text)

    def _search(self, pattern: str, text: str) -> tuple[Value, tuple[int, int]] | None:
        for found in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE):
            words = re.sub(r"^(?:at|around|by)\s+", "", found[0], flags=re.IGNORECASE)
            if (value := self.read(words)) is not None:
                return value, found.span()
        return None


_EMAIL: Final = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_PHONE: Final = r"\+?\d(?:[\s().-]*\d){6,14}"
_TIME_ALONE: Final = (
    rf"(?:(?:at|around|by)\s+{_TIME}|noon|midday|midnight|(?:half|quarter)\s+(?:past|to)\s+{_HOUR}{_HALF_OF_DAY}?"
    rf"|{_HOUR}{_MINUTE}?{_HALF_OF_DAY}{{1,2}}|\d{{1,2}}:\d{{2}})"
)

TYPES: Final[Mapping[str, SlotType]] = {
    kind.name: kind
    for kind in (
        SlotType("text", r"(?=\S).+?(?<=\S)", _read_text, "What is the {label}?"),
        SlotType("word", r"\w(?:[\w'-]*\w)?", str, "What is the {label}?"),
        SlotType("int", rf"\d+|{_NUMBER_WORDS}", read_number, "How many {label}?"),
        SlotType("number", rf"-?\d+(?:\.\d+)?|{_NUMBER_WORDS}", _read_decimal, "How much {label}?"),
        SlotType("time", _TIME, _read_time, "At what time?", _TIME_ALONE),
        SlotType("day", _DAY, _read_day, "For which day?", _DAY),
        SlotType("name", _NAME, _read_name, "What name shall I put?"),
        SlotType("email", _EMAIL, str, "What is the email address?", _EMAIL),
        SlotType("phone", _PHONE, str, "What is the phone number?", _PHONE),
        SlotType("yesno", f"{_YES}|{_NO}", _read_yes_no, "{label}: yes or no?"),
    )
}


def choice(options: tuple[str, ...]) -> SlotType:
    """Return the type whose values are ``options``, written as given whatever the caller's case."""
    spelling = {option.lower(): option for option in options}
    pattern = "|".join(re.escape(option) for option in sorted(options, key=len, reverse=True))
    listed = ", ".join(options[:-1]) + " or " + options[-1] if len(options) > 1 else options[0]
    return SlotType(
        "|".join(options), pattern, lambda text: spelling.get(text.lower()), f"Which {{label}}: {listed}?", pattern
    )


def spoken_label(name: str) -> str:
    """Return a slot's name in words."""
    return name.replace("_", " ")
