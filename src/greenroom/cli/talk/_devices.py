"""The machine's microphones and loudspeakers, through PortAudio."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from livekit import rtc

from greenroom.cli.talk._sound import BLOCK, RATE, SAMPLES, SILENCE
from greenroom.errors import ConfigError, MissingExtraError

# What came in while the program was busy; beyond, the oldest is forgotten. In blocks of ten milliseconds.
_BEHIND: Final = 50
# How much the loudspeaker may lag behind; beyond, the oldest is not played.
_LAG: Final = 40
# What PortAudio may keep for a busy machine, in seconds.
_LATENCY: Final = 0.1
# The canceller takes no longer ones; in seconds.
_LONGEST_DELAY: Final = 0.5
_FILES: Final = "Without a sound card use files: --microphone QUESTION.wav --speaker ANSWER.wav"


@dataclass(frozen=True)
class Device:
    """One that PortAudio knows.

    :ivar number: what PortAudio calls it.
    :ivar usual: whether it is used when none is chosen: as ``microphone``, ``speaker``, both or neither.
    """

    number: int
    name: str
    microphone: bool
    speaker: bool
    usual: frozenset[str]


def devices() -> list[Device]:
    """List what there is. Raises :class:`MissingExtraError` without PortAudio."""
    sound = _portaudio()
    default = {"microphone": sound.default.device[0], "speaker": sound.default.device[1]}
    return [
        Device(
            number=number,
            name=" ".join(str(found["name"]).split()),
            microphone=found["max_input_channels"] > 0,
            speaker=found["max_output_channels"] > 0,
            usual=frozenset(role for role, usual in default.items() if usual == number),
        )
        for number, found in enumerate(sound.query_devices())
    ]


def table(found: list[Device]) -> Iterator[str]:
    """Yield a line per device: its number, what it can be, its name; a star marks what is used by default."""
    for device in found:
        roles = ((role, getattr(device, role)) for role in ("microphone", "speaker"))
        marks = [f"{role}{'*' if role in device.usual else ''}" if can else "" for role, can in roles]
        yield f"{device.number:>3}  {marks[0]:<12} {marks[1]:<9} {device.name}"


def choose(found: list[Device], role: str, wanted: str) -> Device:
    """Return the device that is meant by its number or by a part of its name; the usual one for an empty text.

    :param role: ``microphone`` or ``speaker``.
    :raises ConfigError: when there is none, or more than one.
    """
    able = [device for device in found if getattr(device, role)]
    if not able:
        raise ConfigError(f"This machine has no {role}", fix=_FILES)
    if not wanted:
        return next((device for device in able if role in device.usual), able[0])
    named = [device for device in able if wanted == str(device.number) or wanted == device.name]
    named = named or [device for device in able if wanted.casefold() in device.name.casefold()]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(f"{device.number} ({device.name})" for device in named or able)
    problem = "More than one" if named else "No"
    raise ConfigError(f"{problem} {role} is called '{wanted}'", fix=f"Choose one by its number: {listed}")


class Echo:
    """Takes out of the microphone what the loudspeaker plays, and steadies its level. Used from several threads."""

    def __init__(self) -> None:
        self._apm = rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=True, high_pass_filter=True, auto_gain_control=True
        )
        self._played = self._heard = 0.0

    def plays(self, block: bytes, delay: float) -> None:
        """Know what is about to be heard, in ``delay`` seconds."""
        self._played = delay
        with contextlib.suppress(RuntimeError):
            self._apm.process_reverse_stream(_frame(block))

    def hears(self, block: bytes, delay: float) -> bytes:
        """Return what the microphone heard ``delay`` seconds ago without what was played."""
        frame = _frame(block)
        # Better an echo than no voice, which is what an error on PortAudio's thread would leave.
        with contextlib.suppress(RuntimeError):
            self._apm.set_stream_delay_ms(round(1000 * min(_LONGEST_DELAY, max(0.0, self._played + delay))))
            self._apm.process_stream(frame)
        return bytes(frame.data)


class DeviceMicrophone:
    """A microphone of this machine."""

    live = True

    def __init__(self, device: Device, echo: Echo) -> None:
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[bytes] = deque(maxlen=_BEHIND)
        self._more = asyncio.Event()
        self._echo = echo
        self._stream = _opened("microphone", device, "RawInputStream", self._came)

    async def block(self) -> bytes:
        """Return the next ten milliseconds."""
        while not self._blocks:
            self._more.clear()
            await self._more.wait()
        return self._blocks.popleft()

    def close(self) -> None:
        """Stop listening."""
        self._stream.close()

    def _came(self, data: Any, _count: int, times: Any, _status: Any) -> None:
        # On a thread of PortAudio's.
        block = self._echo.hears(bytes(data), times.currentTime - times.inputBufferAdcTime)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._keep, block)

    def _keep(self, block: bytes) -> None:
        self._blocks.append(block)
        self._more.set()


class DeviceSpeaker:
    """A loudspeaker of this machine."""

    def __init__(self, device: Device, echo: Echo) -> None:
        self._blocks: deque[bytes] = deque(maxlen=_LAG)
        self._lock = threading.Lock()
        self._echo = echo
        self._stream = _opened("speaker", device, "RawOutputStream", self._wants)

    def play(self, block: bytes) -> None:
        """Play ten milliseconds after what is still to be played."""
        with self._lock:
            self._blocks.append(block)

    def close(self) -> None:
        """Stop playing."""
        self._stream.close()

    def _wants(self, data: Any, _count: int, times: Any, _status: Any) -> None:
        # On a thread of PortAudio's.
        with self._lock:
            block = self._blocks.popleft() if self._blocks else SILENCE
        data[:] = block
        self._echo.plays(block, times.outputBufferDacTime - times.currentTime)


def _opened(role: str, device: Device, kind: str, callback: Any) -> Any:
    sound = _portaudio()
    try:
        stream = getattr(sound, kind)(
            samplerate=RATE,
            blocksize=SAMPLES,
            device=device.number,
            channels=1,
            dtype="int16",
            latency=_LATENCY,
            callback=callback,
        )
        stream.start()
    except sound.PortAudioError as error:
        raise ConfigError(
            f"The {role} '{device.name}' cannot be opened: {error}",
            fix=f"Choose another --{role}; greenroom talk --list-devices shows them",
        ) from None
    return stream


def _frame(block: bytes) -> rtc.AudioFrame:
    return rtc.AudioFrame(bytearray(block.ljust(BLOCK, b"\0")), RATE, 1, SAMPLES)


def _portaudio() -> Any:
    try:
        import sounddevice  # noqa: PLC0415 - it starts PortAudio, which a call with files does not need
    except (ImportError, OSError):
        raise MissingExtraError("A call by voice", "talk", apt="libportaudio2") from None
    return sounddevice
