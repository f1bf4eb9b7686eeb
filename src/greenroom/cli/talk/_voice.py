"""The voice of a call: publishes the caller's microphone and plays everybody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from greenroom.cli.talk._endings import CallError
from greenroom.cli.talk._sound import RATE, SAMPLES, SILENCE, Microphone, Recording, Speaker, loudness

_EVERY: Final = 0.1
_QUEUE: Final = 100
_LAST: Final = 0.5


@dataclass(frozen=True)
class Levels:
    """How loud the two sides are, from 0 to ``STEPS``; ``muted`` when nobody hears the caller."""

    caller: int = 0
    others: int = 0
    muted: bool = False


class Voice:
    """The two directions of sound. Everything happens on the event loop it was made on.

    :param show: is told how loud it is, ten times a second while that changes.
    """

    def __init__(self, microphone: Microphone, speaker: Speaker, show: Callable[[Levels], None]) -> None:
        self._microphone = microphone
        self._speaker = speaker
        self._show = show
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=_QUEUE)
        self._track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        self._mixer = rtc.AudioMixer(RATE, 1, blocksize=SAMPLES)
        self._heard: dict[str, _Heard] = {}
        self._loudest = Levels()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self.muted = False

    @property
    def live(self) -> bool:
        """Whether the caller can say something at any time."""
        return self._microphone.live

    def attach(self, room: rtc.Room) -> None:
        """Play the tracks that come in."""
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", self._unsubscribed)

    async def start(self, room: rtc.Room) -> None:
        """Let the room hear the microphone. Raises :class:`CallError` when it may not."""
        work = (self._send(), self._play(), self._measure())
        self._tasks = [asyncio.create_task(each) for each in work]
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        try:
            await room.local_participant.publish_track(self._track, options)
        except PublishTrackError as error:
            raise CallError(f"The server does not take the microphone: {error}", fix="Call without --voice") from None

    async def say_recording(self) -> None:
        """Say what the file holds and wait until it is said; nothing for a microphone that is no file."""
        if isinstance(self._microphone, Recording):
            self._microphone.begin()
            await self._microphone.said.wait()

    def toggle_mute(self) -> None:
        """Turn the microphone off, or on again."""
        self.muted = not self.muted
        if self.muted:
            self._track.mute()
        else:
            self._track.unmute()

    async def close(self) -> None:
        """Stop both directions and close the devices."""
        self._closing = True
        if self._tasks:
            # What is being sent is sent: the SDK complains of a block that nobody waits for.
            await asyncio.wait(self._tasks[:1], timeout=_LAST)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._microphone.close()
        await self._mixer.aclose()
        for heard in self._heard.values():
            await heard.aclose()
        self._speaker.close()
        await self._source.aclose()

    async def _send(self) -> None:
        while not self._closing:
            block = await self._microphone.block()
            if self.muted:
                block = SILENCE
            self._note(Levels(caller=loudness(block)))
            # It waits while enough is queued, which paces a file.
            await self._source.capture_frame(rtc.AudioFrame(block, RATE, 1, SAMPLES))

    async def _play(self) -> None:
        async for frame in self._mixer:
            block = bytes(frame.data)
            self._note(Levels(others=loudness(block)))
            self._speaker.play(block)

    async def _measure(self) -> None:
        shown: Levels | None = None
        while True:
            await asyncio.sleep(_EVERY)
            now = Levels(self._loudest.caller, self._loudest.others, self.muted)
            self._loudest = Levels()
            if now != shown:
                self._show(now)
                shown = now

    def _note(self, levels: Levels) -> None:
        loudest = self._loudest
        self._loudest = Levels(max(loudest.caller, levels.caller), max(loudest.others, levels.others))

    def _subscribed(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            heard = self._heard[track.sid] = _Heard(track)
            self._mixer.add_stream(heard)

    def _unsubscribed(self, track: rtc.Track, *_: object) -> None:
        if heard := self._heard.pop(track.sid, None):
            self._mixer.remove_stream(heard)
            self._tasks.append(asyncio.ensure_future(heard.aclose()))


class _Heard:
    """Somebody's track, as frames."""

    def __init__(self, track: rtc.Track) -> None:
        self._stream = rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1, frame_size_ms=10)

    def __aiter__(self) -> AsyncIterator[rtc.AudioFrame]:
        return self

    async def __anext__(self) -> rtc.AudioFrame:
        return (await anext(self._stream)).frame

    async def aclose(self) -> None:
        with contextlib.suppress(RuntimeError):  # the room is gone
            await self._stream.aclose()
