"""``greenroom talk``: a call from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from greenroom.cli._agents import list_agents
from greenroom.cli._options import CallOptions
from greenroom.cli._settings import Target, call_target
from greenroom.cli.talk._agents import Callee, choose
from greenroom.cli.talk._endings import CallError, Ending
from greenroom.cli.talk._events import Ended, Failed
from greenroom.cli.talk._lines import Pipe, Source, Terminal, is_terminal
from greenroom.cli.talk._screen import METER_WIDTH, JsonScreen, Screen, TextScreen
from greenroom.errors import ConfigError, GreenroomError, MissingExtraError

if TYPE_CHECKING:
    from greenroom.cli.talk._call import Call
    from greenroom.cli.talk._sound import Sound

_FAILED: Final = 1
_TTL: Final = 6 * 3600


@dataclass(kw_only=True)
class TalkRequest:
    """What a call is to be."""

    agent: str = ""
    room: str | None = None
    name: str | None = None
    metadata: str | None = None
    timeout: float = 30.0
    voice: bool = False
    microphone: str | None = None
    speaker: str | None = None

    @property
    def by_voice(self) -> bool:
        """Whether there is anything to hear; a chosen device says so too."""
        return self.voice or self.microphone is not None or self.speaker is not None


class _Output:
    """Standard output, or standard error. Once nobody reads it any more it stays silent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.closed = False
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")

    def __call__(self, text: str) -> None:
        if self.closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self.closed = True
            # Python would complain when it flushes what is left.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def talk_command(options: CallOptions, request: TalkRequest, *, as_json: bool) -> int:
    """Call an agent and return the exit status: 1 when the call failed. Raises :class:`GreenroomError`."""
    if request.timeout <= 0:
        raise ConfigError(f"--timeout {request.timeout:g} is no time to wait", fix="For example: --timeout 30")
    target = call_target(options)
    out, note = _Output(sys.stdout), _Output(sys.stderr)
    source, screen = _ends(out, note, as_json=as_json, by_voice=request.by_voice)
    # What the SDK logs is said here in words, once.
    logging.getLogger("livekit").addHandler(logging.NullHandler())
    logging.getLogger("livekit").propagate = False
    try:
        with contextlib.closing(source):
            ending = asyncio.run(_call(target, request, source, screen))
        if not ending.calm:
            raise CallError(ending.message, fix=ending.fix)
        screen.show(Ended(reason=f"{ending.message}.", by="caller" if ending.by_caller else "other"))
    except GreenroomError as error:
        if as_json:
            screen.show(Failed(message=error.message, fix=error.fix))
        if not isinstance(error, CallError):
            raise
        note(f"greenroom: {error}\n")
        return _FAILED
    return 0


def _ends(out: _Output, note: _Output, *, as_json: bool, by_voice: bool) -> tuple[Source, Screen]:
    if as_json:
        return Pipe(), JsonScreen(out, time.time)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if is_terminal():
        terminal = Terminal(out, width=METER_WIDTH, keys={"\\C-t": "/mute"}) if by_voice else Terminal(out)
        return terminal, TextScreen(out, out, prompt=terminal, colour=colour)
    return Pipe(), TextScreen(out, note, colour=colour)


async def _call(target: Target, request: TalkRequest, source: Source, screen: Screen) -> Ending:
    listing = asyncio.create_task(asyncio.to_thread(list_agents, target.url))
    call_class = _call_class()
    callee = choose(request.agent, await listing)
    room = request.room or f"talk-{secrets.token_hex(3)}"
    call = call_class(callee, screen, timeout=request.timeout, sound=_sound_of(request))
    with _interruptible(call):
        try:
            return await call.run(
                target,
                _token(target, request, callee, room),
                source,
                in_turn=not isinstance(source, Terminal),
                room_given=request.room is not None,
            )
        finally:
            await call.close()


def _sound_of(request: TalkRequest) -> Sound | None:
    if not request.by_voice:
        return None
    from greenroom.cli.talk._choice import open_sound  # noqa: PLC0415

    return open_sound(request.microphone or "", request.speaker or "")


def list_devices_command() -> int:
    """Print the microphones and loudspeakers of this machine. Raises :class:`GreenroomError`."""
    _call_class()
    from greenroom.cli.talk._choice import list_sound  # noqa: PLC0415

    sys.stdout.write(f"{list_sound()}\n")
    return 0


def _call_class() -> type[Call]:
    try:
        from greenroom.cli.talk._call import Call  # noqa: PLC0415 - the SDK is an extra, and large
    except ImportError:
        raise MissingExtraError("greenroom talk", "agents") from None
    return Call


def _token(target: Target, request: TalkRequest, callee: Callee, room: str) -> str:
    from livekit.protocol import agent_dispatch  # noqa: PLC0415
    from livekit.protocol import room as room_pb  # noqa: PLC0415

    from greenroom.grants import VideoGrant, mint  # noqa: PLC0415

    fields: dict[str, Any] = {"name": request.name, "metadata": request.metadata}
    if callee.name:
        dispatch = agent_dispatch.RoomAgentDispatch(agent_name=callee.name, metadata=callee.metadata)
        fields["room_config"] = room_pb.RoomConfiguration(agents=[dispatch])
    return mint(
        target.key,
        ttl=_TTL,
        identity=f"caller-{secrets.token_hex(3)}",
        video=VideoGrant(room_join=True, room=room),
        **{name: value for name, value in fields.items() if value is not None},
    )


@contextlib.contextmanager
def _interruptible(call: Call) -> Iterator[None]:
    """Hang up at Ctrl-C or SIGTERM; at the second of them do not wait for the goodbye."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def hang_up() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        call.hang_up()

    for number in signals:
        loop.add_signal_handler(number, hang_up)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
