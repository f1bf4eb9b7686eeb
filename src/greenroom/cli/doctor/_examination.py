"""The order of the checks: each rests on those before it, so the first fault ends the examination."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from livekit.protocol import agent_dispatch
from livekit.protocol import room as room_pb

from greenroom._media import Calls
from greenroom.cli._agents import list_agents
from greenroom.cli._settings import Target
from greenroom.cli.doctor._agent import Call, check_agent, is_recorded
from greenroom.cli.doctor._http import Address, Reply, check_clock, check_key, check_server
from greenroom.cli.doctor._media import check_audio, check_path
from greenroom.cli.doctor._participant import Participant, join_query, new_name, resolve
from greenroom.cli.doctor._report import Check, FaultError
from greenroom.grants import VideoGrant, mint

_TTL: Final = 600.0
_RECORDED: Final = "the server asks it to record; its worker uploads to its LIVEKIT_OBSERVABILITY_URL"
_NOT_RECORDED: Final = (
    "the server does not ask it to record. For a control plane set agents.enable_user_data_recording: true "
    "in LiveKit's configuration, --observability-url of greenroom server"
)


@dataclass
class Examination:
    """One examination of a server.

    :param agent: the agent to call; None for those the server's page lists.
    :param timeout: seconds for an agent to come, and again to answer.
    :param rtc_port: the UDP port that a server here would open.
    :param tell: is given each check when it is done.
    """

    target: Target
    agent: str | None
    timeout: float
    rtc_port: int
    tell: Callable[[Check], None]
    checks: list[Check] = field(default_factory=list)
    _recorded: bool | None = None

    async def run(self) -> None:
        """Examine until something is wrong, or everything is known; :attr:`checks` tell."""
        address = Address.of(self.target.url)
        try:
            host = await self._requests(address)
            async with Calls() as calls:
                await self._media(calls, address, host)
                await self._agents(calls, address, host)
        except FaultError:
            # It stands in the last check.
            return

    async def _requests(self, address: Address) -> str:
        reply: list[Reply] = []

        def server() -> str:
            answered, words = check_server(address, self.rtc_port)
            reply.append(answered)
            return words

        await self._step("server", asyncio.to_thread(server))
        await self._step("clock", asyncio.to_thread(check_clock, reply[0]))
        token = self._token(new_name("doctor"), "doctor")
        await self._step("key", asyncio.to_thread(check_key, address, self.target.key.key, token, join_query("")))
        return await resolve(address)

    async def _media(self, calls: Calls, address: Address, host: str) -> None:
        room = new_name("doctor")
        speaker, listener = Participant(calls, speaks=True), Participant(calls, speaks=False)
        both = [speaker, listener]

        async def join() -> str:
            await asyncio.gather(*(one.join(address, host, self._token(room, new_name("doctor"))) for one in both))
            return "two participants joined a room"

        try:
            await self._step("signal", join())
            await self._step("media", check_path(both, host))
            await self._step("audio", check_audio(speaker, listener))
        finally:
            await asyncio.gather(*(one.leave() for one in both))

    async def _agents(self, calls: Calls, address: Address, host: str) -> None:
        names = [self.agent] if self.agent is not None else await self._listed()
        if not names:
            self._found("agent", 0.0, ok=None, message="not examined: name one with --agent NAME")
        for name in names:
            try:
                await self._step("agent", self._call(calls, address, host, name))
            except FaultError:
                # The others may be well.
                continue
            if self._recorded is not None:
                # Whoever keeps no record of calls lacks nothing.
                message = _RECORDED if self._recorded else _NOT_RECORDED
                self._found("record", 0.0, ok=self._recorded or None, message=message)

    async def _listed(self) -> list[str]:
        listed = await asyncio.to_thread(list_agents, self.target.url)
        return list(dict.fromkeys(agent.name for agent in listed))

    async def _call(self, calls: Calls, address: Address, host: str, name: str) -> str:
        room = new_name("doctor")
        call = Call(address, room, name, self._token(room, "", room_admin=True))
        caller = Participant(calls, speaks=False)
        try:
            await caller.join(address, host, self._token(room, new_name("doctor"), agent=name))
            answer = await check_agent(call, caller, self.timeout)
            self._recorded = await asyncio.to_thread(is_recorded, call)
            return answer
        finally:
            await caller.leave()

    def _token(self, room: str, identity: str, *, agent: str = "", room_admin: bool = False) -> str:
        # To create it, where rooms are not created by joining them.
        grant = VideoGrant(room_join=not room_admin, room=room, room_create=not room_admin, room_admin=room_admin)
        config = room_pb.RoomConfiguration(
            agents=[agent_dispatch.RoomAgentDispatch(agent_name=agent)] if agent else [],
        )
        return mint(self.target.key, ttl=_TTL, identity=identity, video=grant, room_config=config if agent else None)

    async def _step(self, name: str, work: Awaitable[str]) -> None:
        began = time.perf_counter()
        try:
            message = await work
        except FaultError as fault:
            seconds = time.perf_counter() - began
            self._found(name, seconds, ok=False, message=fault.message, code=fault.code, fix=fault.fix)
            raise
        self._found(name, time.perf_counter() - began, ok=True, message=message)

    def _found(
        self, name: str, seconds: float, *, ok: bool | None, message: str, code: str = "", fix: str = ""
    ) -> None:
        check = Check(check=name, ok=ok, message=message, seconds=round(seconds, 4), code=code, fix=fix)
        self.checks.append(check)
        self.tell(check)
