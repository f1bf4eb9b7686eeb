"""What an operator may do to a live call of a stock agent. Every act is in the log, with who did it, before it is done.

A call goes on if the log cannot be written: then nothing is done and the caller is told.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal

import msgspec
from google.protobuf import json_format
from livekit.protocol import models
from livekit.protocol.agent_pb import agent_session as session_pb

from greenroom.errors import GreenroomError
from greenroom.eventlog import NewEvent
from greenroom.link._api import LiveKit
from greenroom.link._errors import LinkError
from greenroom.link._events import ControlEnd, ControlEvent, ControlFailed, ControlListen, ControlMute, ControlType
from greenroom.link._observer import Append, Call, Observer

LISTEN_TTL: Final = 3600.0
TYPE_TIMEOUT: Final = 60.0
MUTE_TIMEOUT: Final = 5.0


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """A way to hear a call: connect to ``url`` with ``token``."""

    url: str
    token: str
    identity: str
    room: str
    expires_at: float


class Controls:
    """Listening, typing, muting and ending.

    :param observer: carries what is said to agents; ``None`` leaves what does without.
    :param append: puts events into the stream of a session.
    :param clock: seconds since 1970.
    """

    def __init__(
        self,
        livekit: LiveKit,
        observer: Observer | None,
        append: Append,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._livekit = livekit
        self._observer = observer
        self._append = append
        self._clock = clock

    async def listen(self, call: Call, *, by: str, ttl: float = LISTEN_TTL) -> Listening:
        """Return a token to hear a call with: hidden, without a voice, and not keeping the room open.

        :param ttl: seconds in which the call may be joined.
        """
        identity = f"greenroom-listener-{secrets.token_hex(6)}"
        expires_at = self._clock() + ttl
        async with self._acting(call, ControlListen(by=by, identity=identity, expires_at=expires_at)):
            token = self._livekit.token(
                identity=identity,
                room=call.room,
                ttl=ttl,
                kind="agent",
                hidden=True,
                can_subscribe=True,
                can_publish=False,
                can_publish_data=False,
            )
        return Listening(
            url=self._livekit.websocket_url, token=token, identity=identity, room=call.room, expires_at=expires_at
        )

    async def type(self, call: Call, text: str, *, by: str, timeout: float = TYPE_TIMEOUT) -> list[dict[str, Any]]:  # noqa: ASYNC109
        """Say something to the agent as if the user had typed it; what it is saying is cut off.

        Returns what came of it: the items of the turn as protojson, none when the agent chose to be silent.
        A turn that takes longer than ``timeout`` goes on; it is not said again.

        :raises LinkError: the agent did not answer, or with an error.
        """
        if not text.strip():
            raise LinkError("There is nothing to say to the agent", fix="Give a text that is not empty")
        async with self._acting(call, ControlType(by=by, text=text)):
            request = session_pb.SessionRequest(run_input=session_pb.SessionRequest.RunInput(text=text))
            response = await self._speaker().ask(call.job_id, request, timeout=timeout)
        items = response.run_input.items
        return [json_format.MessageToDict(item, preserving_proto_field_name=True) for item in items]

    async def mute(self, call: Call, *, muted: bool, by: str) -> Literal["session", "tracks"]:
        """Take the agent's voice, or give it back; it goes on listening and thinking.

        Returns how: by asking its ``session``, or by muting its ``tracks`` when that does not answer.

        :raises LinkError: neither worked; most servers do not unmute tracks.
        """
        async with self._acting(call, ControlMute(by=by, muted=muted)):
            output = session_pb.SessionRequest.UpdateIO.Output(audio_enabled=not muted)
            request = session_pb.SessionRequest(update_io=session_pb.SessionRequest.UpdateIO(output=output))
            try:
                await self._speaker().ask(call.job_id, request, timeout=MUTE_TIMEOUT)
            except GreenroomError:
                await self._mute_tracks(call, muted=muted)
                return "tracks"
        return "session"

    async def end(self, call: Call, *, by: str, scope: Literal["room", "agent"] = "room") -> None:
        """End a call by deleting its room, or send its agent away and leave the others. Raises :class:`LinkError`."""
        async with self._acting(call, ControlEnd(by=by, scope=scope)):
            if scope == "room":
                await self._livekit.delete_room(call.room)
            else:
                await self._livekit.remove_participant(call.room, call.agent_identity)

    async def _mute_tracks(self, call: Call, *, muted: bool) -> None:
        agent = await self._livekit.get_participant(call.room, call.agent_identity)
        voices = [track for track in agent.tracks if track.type == models.TrackType.AUDIO]
        if not voices:
            raise LinkError("The agent has no voice: it publishes no audio")
        for track in voices:
            await self._livekit.mute_track(call.room, call.agent_identity, track.sid, muted=muted)

    def _speaker(self) -> Observer:
        if self._observer is None:
            raise LinkError("The observer is switched off, and it speaks to agents", fix="Set its policy to 'watched'")
        return self._observer

    @contextlib.asynccontextmanager
    async def _acting(self, call: Call, act: ControlEvent) -> AsyncIterator[None]:
        """Put into the log what is about to be done, and that it failed if it does."""
        stream = f"session:{call.job_id}"
        await self._append(stream, [NewEvent(act, self._clock())])
        try:
            yield
        except GreenroomError as error:
            verb = type(act).__name__.removeprefix("Control").lower()
            await self._append(
                stream, [NewEvent(ControlFailed(by=act.by, verb=verb, error=error.message), self._clock())]
            )
            raise
