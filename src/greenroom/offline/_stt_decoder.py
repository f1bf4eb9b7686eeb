"""The recogniser's own process. PocketSphinx holds the interpreter's lock for as long as it thinks.

It is run by its path and imports nothing of Greenroom. On standard input it reads frames: a letter, the length
of what follows as four bytes, and that. ``C`` is the configuration as JSON, ``B`` begins an utterance, ``A`` is
16-bit mono audio, ``E`` ends the utterance, ``X`` drops it. On standard output it writes JSON, one object a line.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, Final

from pocketsphinx import Decoder, get_model_path

HEADER: Final = struct.Struct(">cI")
FRAMES_PER_SECOND: Final = 100
# An interim result is looked for after this much audio, in bytes: a fifth of a second.
INTERIM_BYTES: Final = 6400
# With a grammar every senone is computed, so that its score compares with that of any sounds at all.
_GRAMMAR: Final = {"compallsen": True, "silprob": 1.0, "wip": 0.3, "beam": 1e-60, "pbeam": 1e-60, "wbeam": 1e-40}
_ANY_SOUND: Final = {"compallsen": True, "silprob": 1.0, "wip": 1.0}
_PHONES: Final = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
# How much worse than any sounds at all, in PocketSphinx's units per frame, a grammar may explain what was heard:
# on average and in its worst word. Measured with four voices; what lies beyond was mostly something else.
_WORST_MEAN: Final = -8.0
_WORST_WORD: Final = -32.0
_SHORT_FRAMES: Final = 12
# From how much of the words in common dictation confirms an unlikely result of the grammar.
_AGREEMENT: Final = 0.5
# Dictation that is less sure than this is noise.
_WORST_DICTATION: Final = 0.2
# Flite has some sounds that the dictionary writes otherwise, and some that are none.
_FLITE: Final = {"ax": "AH", "axr": "ER", "ix": "IH", "el": "AH L", "em": "AH M", "en": "AH N", "dx": "T", "nx": "N"}
_FLITE_SILENCE: Final = {"pau", "h#", "brth"}


class Lexicon:
    """How words sound: as given, as in PocketSphinx's dictionary, else by flite's letter-to-sound rules."""

    def __init__(self, given: dict[str, str], flite: str) -> None:
        self._given = {word.casefold(): sound.upper() for word, sound in given.items()}
        self._flite = flite
        self._known: dict[str, list[str]] = {}

    def load(self, words: set[str]) -> list[str]:
        """Look ``words`` up; return those that have no sound."""
        with Path(get_model_path("en-us/cmudict-en-us.dict")).open(encoding="utf-8") as dictionary:
            for line in dictionary:
                entry, _, sound = line.rstrip("\n").partition(" ")
                word = entry.partition("(")[0]
                if word in words:
                    self._known.setdefault(word, []).append(sound)
        self._known.update({word: [sound] for word, sound in self._given.items()})
        for word in words - set(self._known):
            if sound := self._guess(word):
                self._known[word] = [sound]
        return sorted(words - set(self._known))

    def sounds(self, said: str) -> list[str]:
        """Return the ways to say a word; of several words in a row the usual way of each. Empty when one is unknown."""
        words = said.split()
        if not words or any(word not in self._known for word in words):
            return []
        return self._known[words[0]] if len(words) == 1 else [" ".join(self._known[word][0] for word in words)]

    def _guess(self, word: str) -> str:
        if not self._flite or not re.fullmatch(r"[a-z][a-z']*", word):
            return ""
        spoken = subprocess.run(  # noqa: S603 - flite, and letters
            [self._flite, "-ps", "-t", word, "-o", "none"], capture_output=True, text=True, timeout=10, check=False
        )
        phones = [_FLITE.get(phone, phone.upper()) for phone in spoken.stdout.split() if phone not in _FLITE_SILENCE]
        return " ".join(phones)


class Dictation:
    """Open dictation with the language model that PocketSphinx brings."""

    def __init__(self) -> None:
        self._decoder = Decoder(samprate=16000, loglevel="FATAL")

    def begin(self) -> None:
        self._decoder.start_utt()

    def hear(self, audio: bytes, *, whole: bool = False) -> None:
        self._decoder.process_raw(audio, full_utt=whole)

    def interim(self) -> str:
        found = self._decoder.hyp()
        return _readable(found.hypstr) if found else ""

    def end(self) -> dict[str, Any]:
        self._decoder.end_utt()
        if self._decoder.hyp() is None:
            return _result([], 0.0)
        words = [_word(segment, min(1.0, segment.prob)) for segment in _spoken(self._decoder)]
        confidence = sum(word["confidence"] for word in words) / len(words) if words else 0.0
        return _result(words if confidence >= _WORST_DICTATION else [], confidence)


class Bounded:
    """Recognition of what a grammar allows, judged by how much better any sounds at all would explain it."""

    def __init__(self, grammar: dict[str, Any], lexicon: Lexicon, *, dictation: bool) -> None:
        ways: dict[str, list[str]] = grammar["spelled"]
        self.unknown = lexicon.load({word for said in ways.values() for way in said for word in way.split()})
        sounds = {word: sorted({sound for way in said for sound in lexicon.sounds(way)}) for word, said in ways.items()}
        arcs = [arc for arc in grammar["arcs"] if not arc[3] or sounds[arc[3]]]
        self._words = _network({word: ways for word, ways in sounds.items() if ways}, arcs, _GRAMMAR)
        phones = {f"_{phone}": [phone] for phone in _PHONES.split()}
        self._sounds = _network(phones, [*((0, 0, 1.0, phone) for phone in phones), (0, 1, 1.0, "")], _ANY_SOUND)
        self._dictation = dictation
        self._dictate: Dictation | None = None
        self._audio = bytearray()

    def begin(self) -> None:
        self._audio.clear()
        self._words.start_utt()
        self._sounds.start_utt()

    def hear(self, audio: bytes) -> None:
        self._audio += audio
        self._words.process_raw(audio)
        self._sounds.process_raw(audio)

    def interim(self) -> str:
        found = self._words.hyp()
        return _readable(found.hypstr) if found and self._words_heard()[1] else ""

    def end(self) -> dict[str, Any]:
        self._words.end_utt()
        self._sounds.end_utt()
        words, likely = self._words_heard()
        if likely or not self._dictation:
            return _weighed(words if likely else [])
        # It is only loaded for the first caller who says something else: it takes a third of a second and 100 MB.
        self._dictate = self._dictate or Dictation()
        self._dictate.begin()
        self._dictate.hear(bytes(self._audio), whole=True)
        taken = self._dictate.end()
        return _weighed(words) if _agree(words, taken["words"]) else taken

    def _words_heard(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the words, and whether they were said; else the grammar was bent to something it does not hold."""
        if self._words.hyp() is None or self._sounds.hyp() is None:
            return [], False
        any_sound = list(self._frame_scores())
        log = self._words.logmath.log
        words, total, frames, likely = [], 0.0, 0, True
        for segment in _spoken(self._words):
            length = segment.end_frame + 1 - segment.start_frame
            lead = log(segment.ascore) - sum(any_sound[segment.start_frame : segment.end_frame + 1])
            likely = likely and (length < _SHORT_FRAMES or lead / length >= _WORST_WORD)
            total += lead
            frames += length
            words.append(_word(segment, 1 / (1 + math.exp(-(lead / length - _WORST_MEAN) / 4))))
        return words, bool(frames) and likely and total / frames >= _WORST_MEAN

    def _frame_scores(self) -> Iterator[float]:
        """Yield, for each frame, how well any sounds at all explain it."""
        log = self._sounds.logmath.log
        for segment in self._sounds.seg():
            length = segment.end_frame + 1 - segment.start_frame
            yield from [log(segment.ascore) / length] * length


def _weighed(words: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of ``words``, as sure as they are on average over time."""
    length = sum(word["end"] - word["start"] for word in words)
    weighted = sum(word["confidence"] * (word["end"] - word["start"]) for word in words)
    return _result(words, weighted / length if words else 0.0)


def _agree(bounded: list[dict[str, Any]], taken: list[dict[str, Any]]) -> bool:
    """Tell whether dictation, which knows nothing of the grammar, heard much the same."""
    one, other = ([word["word"].casefold() for word in words] for words in (bounded, taken))
    return bool(bounded) and difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() >= _AGREEMENT


def _network(sounds: dict[str, list[str]], arcs: list[Any], options: dict[str, Any]) -> Decoder:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".dict") as dictionary:
        for word, ways in sounds.items():
            for number, sound in enumerate(ways, start=1):
                dictionary.write(f"{word}({number}) {sound}\n" if number > 1 else f"{word} {sound}\n")
        dictionary.flush()
        # Without a lattice: among loose grammars that of a long utterance takes seconds.
        decoder = Decoder(
            samprate=16000, loglevel="FATAL", lm=None, dict=dictionary.name, dictcase=True, bestpath=False, **options
        )
    transitions = [tuple(arc) if arc[3] else tuple(arc[:3]) for arc in arcs]
    decoder.add_fsg("network", decoder.create_fsg("network", 0, 1, transitions))
    decoder.activate_search("network")
    return decoder


def _spoken(decoder: Decoder) -> Iterator[Any]:
    """Yield the segments that are words."""
    return (segment for segment in decoder.seg() if not segment.word.startswith(("<", "[", "+", "(")))


def _word(segment: Any, confidence: float) -> dict[str, Any]:
    return {
        "word": _readable(segment.word),
        "start": segment.start_frame / FRAMES_PER_SECOND,
        "end": (segment.end_frame + 1) / FRAMES_PER_SECOND,
        "confidence": round(max(0.0, min(1.0, confidence)), 3),
    }


def _readable(text: str) -> str:
    """Drop the numbers of pronunciations, and write I as it is written."""
    return re.sub(r"\bi\b", "I", re.sub(r"\(\d+\)", "", text))


def _result(words: list[dict[str, Any]], confidence: float) -> dict[str, Any]:
    return {"words": words, "confidence": round(max(0.0, min(1.0, confidence)), 3)}


class Program:
    """Reads frames, feeds the recogniser and writes what it hears."""

    def __init__(self, source: BinaryIO, sink: RawIOBase) -> None:
        self._source = source
        self._sink = sink
        self._ear: Bounded | Dictation | None = None
        self._unseen = 0
        self._interim = ""
        self._begun = False

    def run(self) -> None:
        """Work until the other end closes."""
        while header := self._source.read(HEADER.size):
            kind, length = HEADER.unpack(header)
            self._obey(kind, self._source.read(length))

    def _obey(self, kind: bytes, payload: bytes) -> None:
        if kind == b"C":
            self._configure(json.loads(payload))
        elif self._ear is None:
            raise RuntimeError("it was not configured")
        elif kind == b"B":
            self._unseen, self._interim, self._begun = 0, "", True
            self._ear.begin()
        elif kind == b"A" and self._begun:
            self._ear.hear(payload)
            self._unseen += len(payload)
            if self._unseen >= INTERIM_BYTES:
                self._unseen = 0
                self._tell_interim(self._ear.interim())
        elif kind in {b"E", b"X"} and self._begun:
            self._begun = False
            result = self._ear.end()
            self._tell({"final": result if kind == b"E" else _result([], 0.0)})

    def _configure(self, config: dict[str, Any]) -> None:
        unknown: list[str] = []
        if config["grammar"] is None:
            self._ear = Dictation()
        else:
            lexicon = Lexicon(config["pronunciations"], config["flite"])
            self._ear = Bounded(config["grammar"], lexicon, dictation=config["dictation"])
            unknown = self._ear.unknown
        self._tell({"ready": {"unknown": unknown}})

    def _tell_interim(self, text: str) -> None:
        if text and text != self._interim:
            self._interim = text
            self._tell({"interim": text})

    def _tell(self, message: dict[str, Any]) -> None:
        self._sink.write(json.dumps(message).encode() + b"\n")


def main() -> None:
    """Run on standard input and output, until the input ends. PocketSphinx's own words go to standard error."""
    # Ctrl-C is for the program that started this one, which then closes the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Whoever would read the answer is gone: so is the reason to work.
    with contextlib.suppress(BrokenPipeError):
        Program(sys.stdin.buffer, sink).run()


if __name__ == "__main__":
    main()
