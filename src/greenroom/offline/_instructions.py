"""What an offline stand-in makes of ``session.generate_reply(instructions=…)``.

A language model understands an instruction; this reads the few forms in which they are usually written and
otherwise says so in the log, never the instruction itself to the caller. ``docs/offline.md`` lists the forms.
"""

from __future__ import annotations

import re
from typing import Final

_CALLER: Final = "user|caller|customer|guest|patient|client|visitor|person"
_WHOM: Final = rf"(?:\s+(?:to\s+)?(?:the\s+)?(?:{_CALLER}|them|him|her))?"
_START: Final = r"^(?:please\s+)?"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


_QUOTED: Final = _form(r"“(.+?)”|\"(.+?)\"|(?<!\w)[‘'](.+?)[’'](?!\w)")
_GREET: Final = _form(
    r"\b(?:greet|greeting|welcome|introduce yourself|say (?:hello|hi)|open the (?:call|conversation))\b"
)
_PART: Final = _form(r"\b(?:goodbye|good bye|farewell|say bye|end the (?:call|conversation)|wrap up)\b")
_OFFER: Final = _form(r"\b(?:offer (?:your |some )?(?:help|assistance)|how you can (?:help|assist))\b")
_ASK_FOR: Final = _form(rf"{_START}ask{_WHOM}\s+(?:for|about)\s+(?P<what>.+)$")
_ASK: Final = _form(rf"{_START}ask{_WHOM}\s+(?P<what>(?:if|whether|what|when|where|who|how|why|which)\b.+)$")
_SAY: Final = _form(
    rf"{_START}(?:say|repeat|tell|inform|let|reply|respond|answer)\b{_WHOM}"
    r"(?:\s+(?:know|with))?(?:\s+that\s+|\s*:\s*|\s+)(?P<what>.+)$"
)

# Said of the caller in an instruction, said to the caller aloud.
_PERSONS: Final = (
    (rf"\b(?:they|the (?:{_CALLER}))\s+(?:are|is)\b", "you are"),
    (rf"\b(?:they|the (?:{_CALLER}))\s+(?:have|has)\b", "you have"),
    (rf"\bthe (?:{_CALLER})(?:'s|’s)", "your"),
    (rf"\bthe (?:{_CALLER})\b", "you"),
    (r"\bthey(?:'re|’re)", "you are"),
    (r"\b(?:they|them)\b", "you"),
    (r"\btheirs\b", "yours"),
    (r"\btheir\b", "your"),
)


def follow(instructions: str, *, greeting: str, farewell: str, nudge: str) -> str | None:
    """Return what to say for ``instructions``, ``None`` when they are beyond a stand-in.

    Tried in this order: text in quotation marks, a greeting, a goodbye, "tell the caller that …",
    "ask for …", "ask whether …", an offer of help.
    """
    text = " ".join(instructions.split())
    if quoted := _QUOTED.search(text):
        return next(part for part in quoted.groups() if part)
    if _GREET.search(text):
        return greeting
    if _PART.search(text):
        return farewell
    first = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0].rstrip(".")
    if found := _ASK_FOR.match(first):
        return f"May I have {_to_caller(found['what'])}?"
    if found := _ASK.match(first):
        return f"May I ask {_to_caller(re.sub('^whether', 'if', found['what'], flags=re.IGNORECASE))}?"
    if found := _SAY.match(first):
        said = _to_caller(found["what"])
        return f"{said[0].upper()}{said[1:]}" + ("" if said[-1] in ".!?" else ".")
    return nudge if _OFFER.search(text) else None


def _to_caller(text: str) -> str:
    for pattern, words in _PERSONS:
        text = re.sub(pattern, words, text, flags=re.IGNORECASE)
    return text.strip().rstrip("?")
