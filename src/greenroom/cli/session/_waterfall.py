"""Where the time of a turn went, as stages one after the other. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from greenroom.cli._paper import Paper, seconds
from greenroom.sessions import Latency

# Narrower than this a bar says nothing.
_LEAST: Final = 8
_STYLES: Final = {"S": "blue", "E": "magenta", "H": "dim", "L": "yellow", "T": "green", ".": "dim"}
LEGEND: Final = "S speech to text  E end of turn  H turn hook  L model's first token  T first audio  . not measured"


class Stage(msgspec.Struct, frozen=True):
    """A part of a turn's delay. ``letter`` is the one it is drawn with."""

    name: str
    letter: str
    seconds: float


def stages_of(latency: Latency) -> tuple[Stage, ...]:
    """Return the stages that were measured, in order, and what is left of the whole.

    LiveKit counts the transcript's delay into the end of the turn; here it stands by itself.
    """
    transcribed = latency.stt
    ended = latency.end_of_turn
    if ended is not None and transcribed is not None:
        transcribed = min(transcribed, ended)
        ended -= transcribed
    measured = (
        ("stt", "S", transcribed),
        ("eou", "E", ended),
        ("hook", "H", latency.user_turn_hook),
        ("llm", "L", latency.llm_first_token),
        ("tts", "T", latency.tts_first_byte),
    )
    found = [Stage(name, letter, value) for name, letter, value in measured if value is not None]
    if latency.e2e is not None:
        rest = latency.e2e - sum(each.seconds for each in found)
        # Stages overlap by some milliseconds; less than that is nobody's.
        if rest > 0.005:
            found.append(Stage("other", ".", rest))
    return tuple(found)


def total_of(latency: Latency) -> float | None:
    """Return how long a turn took; of one without a whole, its stages together; ``None`` when none is known."""
    if latency.e2e is not None:
        return latency.e2e
    stages = stages_of(latency)
    return sum(each.seconds for each in stages) if stages else None


def bar_of(latency: Latency, longest: float, width: int, paper: Paper) -> str:
    """Return the stages as letters; ``width`` of them are as long as ``longest`` seconds."""
    if longest <= 0 or width < _LEAST:
        return ""
    drawn = []
    at = 0.0
    for stage in stages_of(latency):
        start, at = at, at + stage.seconds
        # Rounded at the edges, so that errors do not add up; but whatever took time is seen.
        count = round(at / longest * width) - round(start / longest * width)
        drawn.append(paper.ink(stage.letter * max(1, count), _STYLES[stage.letter]))
    return "".join(drawn)


def words_of(latency: Latency) -> str:
    """Return the same in numbers: what is not measured is not named."""
    parts = " ".join(f"{each.name} {each.seconds:.2f}" for each in stages_of(latency) if each.name != "other")
    total = total_of(latency)
    if total is None:
        return "time unknown"
    whole = seconds(total)
    if latency.e2e is None:
        whole = f"at least {whole}"
    elif latency.e2e_derived:
        whole = f"{whole} by text"
    return f"{whole}  {parts}" if parts else whole
