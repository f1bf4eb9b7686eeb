"""Whether an agent comes when it is asked for, and answers."""

from __future__ import annotations

import asyncio
import http.client
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from livekit.protocol import models

from greenroom.cli.doctor._http import Address, fetch
from greenroom.cli.doctor._participant import Participant
from greenroom.cli.doctor._report import FaultError
from greenroom.cli.doctor._words import RELIABLE

_DISPATCHES: Final = "/twirp/livekit.AgentDispatchService/ListDispatch"
#: How long nobody has come before it is asked why.
_ASK_AFTER: Final = 3.0
#: An agent that greets does so by then; any other is greeted.
_GREETING: Final = 6.0
_LINE: Final = "Hello. Can you hear me?"
#: Packets of audio that are no accident: 0.2 s.
_VOICE: Final = 10
_TRACK_LAG: Final = 1.0
_VOICE_LAG: Final = 3.0


@dataclass(frozen=True)
class Call:
    """Whom the agent check calls.

    :param name: empty for agents that join every room.
    :param admin_token: lets the server be asked about the room's dispatches.
    """

    address: Address
    room: str
    name: str
    admin_token: str

    @property
    def label(self) -> str:
        return f"agent '{self.name}'" if self.name else "an agent"


async def check_agent(call: Call, caller: Participant, patience: float) -> str:
    """Wait for the agent and for its first words. Raises :class:`FaultError`."""
    began = time.monotonic()
    if not await caller.until(lambda: _agent_of(caller) is not None, min(_ASK_AFTER, patience)):
        await _come_or_say_why(call, caller, patience - _ASK_AFTER)
    joined = time.monotonic() - began
    agent = _agent_of(caller)
    identity = agent.identity if agent else ""
    if not await caller.until(lambda: _answer(caller, identity) != "", min(_GREETING, patience)):
        await caller.until(lambda: RELIABLE in caller.channels, 1.0)
        caller.say(_LINE)
        await caller.until(lambda: _answer(caller, identity) != "", patience)
    # Its words may be ahead of its voice.
    if _answer(caller, identity) and await caller.until(lambda: _has_voice(caller), _TRACK_LAG):
        await caller.until(lambda: caller.heard.strange >= _VOICE, _VOICE_LAG)
    answer = _answer(caller, identity)
    if not answer:
        raise FaultError(
            "agent_silent",
            f"{call.label} joined after {joined:.1f} s and said nothing within {patience:g} s",
            fix="Its log says why; often a model's key is missing or its provider cannot be reached",
        )
    return f"{call.label} joined after {joined:.1f} s and answered by {answer}"


async def _come_or_say_why(call: Call, caller: Participant, seconds: float) -> None:
    end = time.monotonic() + max(0.0, seconds)
    while True:
        why = await asyncio.to_thread(_why, call)
        # What is missing may be about to register; other reasons may pass.
        remaining = end - time.monotonic()
        wait = min(_ASK_AFTER if why else 1.0, max(0.0, remaining))
        if await caller.until(lambda: _agent_of(caller) is not None, wait):
            return
        if why or remaining <= 0:
            message = f"{call.label} did not come" + (f": {why[0]}" if why else "")
            raise FaultError("no_agent", message, fix=why[1] if why else _START)


_START: Final = (
    "Start its worker with this server's LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET: greenroom dev PATH, "
    "or python AGENT.py start; and check --agent against its agent_name"
)


def is_recorded(call: Call) -> bool | None:
    """Say whether the server asks the agent to record its session; ``None`` when it does not tell. Blocks."""
    for job in _jobs(call):
        return bool(job.get("enable_recording", job.get("enableRecording", False)))
    return None


def _why(call: Call) -> tuple[str, str] | None:
    """Ask the server why a job waits: LiveKit's jobs carry an error, Greenroom's say what is missing."""
    for job in _jobs(call):
        error = (job.get("state") or {}).get("error", "")
        if error:
            reason, _, fix = error.removeprefix("waits for a worker: ").partition(". ")
            return reason, fix or _START
    return None


def _jobs(call: Call) -> list[dict[str, Any]]:
    """Return the jobs of the room's dispatches, as LiveKit's JSON has them."""
    body = msgspec.json.encode({"room": call.room}).decode()
    try:
        reply = fetch(call.address, _DISPATCHES, token=call.admin_token, method="POST", body=body)
        found: dict[str, Any] = msgspec.json.decode(reply.body) if reply.status == 200 else {}
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return []
    dispatches = found.get("agent_dispatches", found.get("agentDispatches", []))
    return [job for dispatch in dispatches for job in (dispatch.get("state") or {}).get("jobs", [])]


def _agent_of(caller: Participant) -> models.ParticipantInfo | None:
    return next((one for one in caller.others.values() if one.kind == models.ParticipantInfo.AGENT), None)


def _has_voice(caller: Participant) -> bool:
    agent = _agent_of(caller)
    return agent is not None and any(track.type == models.AUDIO for track in agent.tracks)


def _answer(caller: Participant, identity: str) -> str:
    """Say by what the agent has answered; nothing when it has not."""
    text = caller.listener.said(identity)
    voice = caller.heard.strange >= _VOICE
    words = f'text ("{text[:60]}{"…" if len(text) > 60 else ""}")' if text else ""
    return " and ".join(part for part in (words, "voice" if voice else "") if part)
