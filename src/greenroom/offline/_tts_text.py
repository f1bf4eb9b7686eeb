"""Text as flite can say it: plain ASCII, in pieces of bearable length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# Flite says a piece only when it has made all of it, and takes forever over endless words.
LONGEST_PIECE: Final = 300
_LONGEST_WORD: Final = 40
_SIGNS: Final = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "´": "'", "`": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "–": ", ", "—": ", ", "…": "... ", "•": ", ", "·": " ", "×": " times ", "÷": " divided by ", "−": "-",
        "°": " degrees ", "&": " and ", "@": " at ", "+": " plus ", "=": " equals ", "%": " percent ", "§": " section ",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ß": "ss", "ł": "l", "Ł": "L", "đ": "d",
        "ð": "d", "þ": "th", "ı": "i",
    }
)  # fmt: skip
_CURRENCIES: Final = {"€": "euros", "£": "pounds", "¥": "yen", "₹": "rupees"}
_MARKUP: Final = re.compile(r"[*_#~^|<>{}\[\]\\]+")


def speakable(text: str) -> str:
    """Return ``text`` in ASCII, with signs in words where flite passes over them; empty when nothing can be said."""
    text = re.sub(r"([€£¥₹])\s*(\d[\d,.]*\d|\d)", lambda found: f"{found[2]} {_CURRENCIES[found[1]]}", text)
    text = unicodedata.normalize("NFKD", text.translate(_SIGNS)).translate(_SIGNS)
    text = "".join(char if char.isascii() and char.isprintable() else " " if char.isspace() else "" for char in text)
    text = re.sub(rf"\S{{{_LONGEST_WORD}}}(?=\S)", r"\g<0> ", _MARKUP.sub(" ", text))
    text = " ".join(text.split())
    return text if re.search(r"[A-Za-z0-9$]", text) else ""


def pieces(text: str) -> Iterator[str]:
    """Yield ``text`` in pieces of at most ``LONGEST_PIECE`` characters, cut behind punctuation or else at a blank."""
    while len(text) > LONGEST_PIECE:
        head = text[:LONGEST_PIECE]
        cuts = [found.end() for found in re.finditer(r"[.!?;:,]\s", head)] or [head.rfind(" ") + 1]
        cut = cuts[-1] or LONGEST_PIECE
        yield text[:cut].strip()
        text = text[cut:].strip()
    if text:
        yield text
