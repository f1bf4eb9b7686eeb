"""The caller's end of a call: LiveKit's SDK, unmodified."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from livekit import rtc

from greenroom.cli._settings import Target
from greenroom.cli.talk import _events as events
from greenroom.cli.talk._agents import Callee
from greenroom.cli.talk._endings import (
    HUNG_UP,
    CallError,
    Ending,
    ending_by_agent,
    ending_of_call,
    refusal,
    silence,
)
from greenroom.cli.talk._lines import Feed, Source
from greenroom.cli.talk._screen import Screen
from greenroom.cli.talk._session import TOPIC as SESSION
from greenroom.cli.talk._session import SessionReader
from greenroom.cli.talk._sound import Sound
from greenroom.cli.talk._turns import Turns
from greenroom.cli.talk._voice import Levels, Voice

_CHAT: Final = "lk.chat"
_TRANSCRIPTION: Final = "lk.transcription"
_FINAL: Final = "lk.transcription_final"
_STATE: Final = "lk.agent.state"
_NAMES: Final = ("lk.agent.name", "lk.agent_name")
_BEHALF: Final = "lk.publish_on_behalf"
_MUTE: Final = "/mute"
_CONNECT: Final = 20.0
#: How long another agent may take to continue where one left.
_SUCCESSION: Final = 3.0
_LEAVE: Final = 5.0
_MESSAGE: Final = 5.0


class Call:
    """One call. Everything happens on the event loop it was made on.

    :param timeout: seconds to wait for an agent, and for its answers when it is waited for them.
    :param sound: the caller's microphone and loudspeaker; without, the call is in text.
    """

    def __init__(self, callee: Callee, screen: Screen, *, timeout: float, sound: Sound | None = None) -> None:
        self._voice = Voice(*sound, self._level) if sound else None
        self._callee = callee
        self._screen = screen
        self._timeout = timeout
        self._clock: Callable[[], float] = time.monotonic
        self._room = rtc.Room()
        self._turns = Turns()
        self._session = SessionReader()
        self._order = asyncio.Lock()
        self._agent: rtc.RemoteParticipant | None = None
        self._label = callee.label
        self._news = asyncio.Event()
        self._ahead: asyncio.Future[str | None] | None = None
        self._over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._farewell: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch()

    async def run(self, target: Target, token: str, source: Source, *, in_turn: bool, room_given: bool) -> Ending:
        """Enter the room, meet the agent, say the lines; return why the call is over. Raises :class:`GreenroomError`.

        :param in_turn: whether a line waits until the agent has answered the one before; the call is then over
            after the answer to the last.
        """

        async def conversation() -> Ending:
            await self._join(target, token)
            await self._meet(room_given=room_given)
            return await self._talk(Feed(source), in_turn=in_turn)

        task = asyncio.ensure_future(conversation())
        try:
            await asyncio.wait({task, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        ending = self._over.result()
        if in_turn and ending.calm and not ending.by_caller and self._has_more():
            return Ending(calm=False, message=f"{ending.message} before everything was said")
        return ending

    async def _join(self, target: Target, token: str) -> None:
        try:
            async with asyncio.timeout(_CONNECT):
                await self._room.connect(target.url, token)
        except TimeoutError:
            raise silence(target.url) from None
        except rtc.ConnectError as error:
            raise refusal(str(error), target.url, target.key.key) from None
        if self._voice:
            await self._voice.start(self._room)
        me = self._room.local_participant.identity
        self._screen.show(events.Connected(url=target.url, room=self._room.name, identity=me))
        for participant in [*self._room.remote_participants.values()]:
            self._came(participant)

    async def _meet(self, *, room_given: bool) -> None:
        seconds = self._callee.patience(self._timeout)
        try:
            async with asyncio.timeout(seconds):
                while self._agent is None:
                    await self._next_news()
        except TimeoutError:
            raise self._callee.missing(seconds, room_given=room_given) from None

    async def _talk(self, lines: Feed, *, in_turn: bool) -> Ending:
        if self._voice and not self._voice.live:
            await self._my_turn()
            self._turns.line_sent(self._clock())
            await self._voice.say_recording()
            self._turns.sign(self._clock())
        while True:
            # One ahead, to know whether there is more to say when the agent hangs up.
            self._ahead = lines.next()
            if in_turn:
                await self._my_turn()
            line = await self._ahead
            if line is None:
                if in_turn and self._voice and self._voice.live:
                    # Nothing more to read, but the caller can still speak.
                    return await asyncio.shield(self._over)
                return HUNG_UP
            self._screen.line_entered()
            if self._voice and line.strip() == _MUTE:
                self._voice.toggle_mute()
                self._screen.show(events.Muted(muted=self._voice.muted))
            elif line.strip():
                await self._say(line)

    def hang_up(self) -> None:
        """End the call from this side."""
        self._end(HUNG_UP)

    async def close(self) -> None:
        """Leave the room, if still there."""
        if self._farewell:
            self._farewell.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await self._room.disconnect()
        if self._voice:
            await self._voice.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _has_more(self) -> bool:
        ahead = self._ahead
        return ahead is not None and ahead.done() and not ahead.cancelled() and ahead.result() is not None

    async def _my_turn(self) -> None:
        while True:
            now = self._clock()
            until = self._turns.free_at()
            if until is not None and now >= until:
                return
            if until is None and self._agent is not None:
                until = self._turns.heard_at + self._timeout
                if now >= until:
                    raise CallError(f"{self._label} did not answer within {self._timeout:g} s", fix="Its log says why")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if until is None else until - now):
                    await self._next_news()

    async def _say(self, line: str) -> None:
        self._turns.line_sent(self._clock())
        self._screen.show(events.Sent(text=line))
        try:
            await self._room.local_participant.send_text(line, topic=_CHAT)
        except (rtc.StreamError, RuntimeError) as error:
            if not self._over.done():
                raise CallError(f"The line could not be sent: {error}", fix="Call again") from None

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _end(self, ending: Ending) -> None:
        if not self._over.done():
            self._over.set_result(ending)

    def _watch(self) -> None:
        room = self._room
        room.on("participant_connected", self._came)
        room.on("participant_active", self._came)
        room.on("participant_disconnected", self._left)
        room.on("participant_attributes_changed", self._changed)
        room.on("reconnecting", lambda: self._screen.show(events.Connection(up=False)))
        room.on("reconnected", lambda: self._screen.show(events.Connection(up=True)))
        room.on("disconnected", lambda reason: self._end(ending_of_call(rtc.DisconnectReason.Name(reason))))
        if self._voice:
            self._voice.attach(room)
        for topic in (_TRANSCRIPTION, _CHAT):
            room.register_text_stream_handler(topic, lambda reader, who: self._run(self._listen(reader, who)))
        room.register_byte_stream_handler(SESSION, lambda reader, who: self._run(self._follow(reader, who)))

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        if not self._is_callee(participant):
            return
        if self._agent is not None and self._agent.sid == participant.sid:
            self._turns.sign(self._clock())
        else:
            if self._farewell:
                self._farewell.cancel()
                self._farewell = None
            self._agent = participant
            self._label = _label(participant) or self._callee.label
            self._turns.agent_came(self._clock())
            self._screen.show(events.AgentJoined(agent=self._label, identity=participant.identity))
        self._state_of(participant)
        self._news.set()

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if self._agent is None or participant.sid != self._agent.sid:
            return
        code = participant.disconnect_reason
        reason = "UNKNOWN_REASON" if code is None else rtc.DisconnectReason.Name(code)
        self._agent = None
        self._turns.agent_left(self._clock())
        self._screen.show(
            events.AgentLeft(agent=self._label, identity=participant.identity, reason=reason.lower()),
        )
        self._farewell = asyncio.get_running_loop().call_later(
            _SUCCESSION, self._end, ending_by_agent(self._label, reason)
        )
        for other in [*self._room.remote_participants.values()]:
            self._came(other)

    def _changed(self, _changed: object, participant: object) -> None:
        if isinstance(participant, rtc.RemoteParticipant):
            self._came(participant)

    def _is_callee(self, participant: rtc.RemoteParticipant) -> bool:
        attributes = participant.attributes
        # An avatar's worker is an agent too, but the one it speaks for is whom the caller talks to.
        if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT or _BEHALF in attributes:
            return False
        if self._agent is not None and participant.sid != self._agent.sid:
            return participant.identity == self._agent.identity
        names = {attributes[name] for name in _NAMES if attributes.get(name)}
        return not self._callee.name or not names or self._callee.name in names

    def _state_of(self, participant: rtc.RemoteParticipant) -> None:
        state = participant.attributes.get(_STATE)
        if state and self._turns.agent_state(state, self._clock(), in_order=False):
            self._screen.show(events.AgentState(state=state))

    async def _follow(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        if self._agent is None or identity != self._agent.identity:
            return
        # Each message is a stream; read side by side they would overtake each other.
        async with self._order:
            async with asyncio.timeout(_MESSAGE):
                content = b"".join([chunk async for chunk in reader])
            self._learn(content)

    def _learn(self, content: bytes) -> None:
        self._turns.sign(self._clock())
        for event in self._session.read(content):
            news = True
            if isinstance(event, events.AgentState):
                news = self._turns.agent_state(event.state, self._clock(), in_order=True)
            if news:
                self._screen.show(event)
        self._news.set()

    async def _listen(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if identity == self._room.local_participant.identity:
            await self._understood(reader)
            return
        by, message, parts = self._name_of(identity), reader.info.stream_id, list[str]()
        is_agent = self._agent is not None and identity == self._agent.identity
        if is_agent:
            self._turns.message_opened(message, self._clock())
        complete = True
        try:
            async for text in reader:
                parts.append(text)
                self._turns.sign(self._clock())
                self._screen.show(events.Words(message=message, by=by, text=text))
        except rtc.StreamError:
            complete = False
        finally:
            if is_agent:
                self._turns.message_closed(message, self._clock())
        self._screen.show(events.Said(message=message, by=by, text="".join(parts), complete=complete))
        self._news.set()

    async def _understood(self, reader: rtc.TextStreamReader) -> None:
        """Show what the agent heard the caller say: whole each time, so far or in the end."""
        if reader.info.topic == _TRANSCRIPTION:
            final = (reader.info.attributes or {}).get(_FINAL) == "true"
            async with self._order, asyncio.timeout(_MESSAGE):
                text = await reader.read_all()
                self._screen.show(events.Heard(text=text, final=final))

    def _level(self, levels: Levels) -> None:
        self._screen.level(levels.caller, levels.others, muted=levels.muted)

    def _name_of(self, identity: str) -> str:
        if self._agent is not None and identity == self._agent.identity:
            return self._label
        participant = self._room.remote_participants.get(identity)
        return (participant.name if participant else "") or identity

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # What a stream that broke off would have told is lost; the call goes on.
            task.exception()


def _label(participant: rtc.RemoteParticipant) -> str:
    names = (participant.attributes.get(name, "") for name in _NAMES)
    return participant.name or next((name for name in names if name), "")
