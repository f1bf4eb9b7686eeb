"""The front desk of a small clinic: an ordinary LiveKit agent with two tools, by voice and in text.

With OPENAI_API_KEY set and livekit-plugins-openai installed real models listen, think and speak. Otherwise
Greenroom's offline stand-ins do, which need no network: PocketSphinx, patterns and flite. A caller who only
types gets text; whoever turns the microphone on is spoken to, and may interrupt.

    greenroom dev examples/agents/front_desk.py
    python -m livekit.agents start examples/agents/front_desk.py --dev     (against any LiveKit server)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterable
from datetime import date, datetime, timedelta
from multiprocessing import forkserver
from typing import Any, NamedTuple

from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    ModelSettings,
    ToolError,
    TurnHandlingOptions,
    function_tool,
    inference,
    llm,
    room_io,
    stt,
    tts,
)

from greenroom import offline
from greenroom.errors import GreenroomError

try:
    from livekit.plugins import openai
except ImportError:
    openai = None

logger = logging.getLogger("front-desk")

GREETING = "Hello, this is the front desk of Harbour Clinic. How can I help you?"
MICROPHONE_ON = "This is the front desk of Harbour Clinic. I can hear you now."
TEXT_ONLY = "I cannot hear you: this machine has no speech. Please type. My log says what to install."
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = ("09:00", "10:00", "11:00", "14:00", "15:00", "16:00")


class Diary:
    """The appointments of one call's clinic. Nothing outlives the process, which serves one call."""

    def __init__(self, today: date) -> None:
        self.today = today
        self._booked: dict[tuple[date, str], str] = {}

    def date_of(self, day: str) -> date:
        """Read "today", "tomorrow", a weekday or an ISO date."""
        words = day.lower().removeprefix("next ").strip()
        if words in {"today", "tomorrow", "day after tomorrow"}:
            return self.today + timedelta(days=("today", "tomorrow", "day after tomorrow").index(words))
        if words in WEEKDAYS:
            return self.today + timedelta(days=(WEEKDAYS.index(words) - self.today.weekday() - 1) % 7 + 1)
        try:
            return date.fromisoformat(words)
        except ValueError:
            raise ToolError("I need a day such as tomorrow, Friday, or 2030-05-03.") from None

    def free(self, when: date) -> list[str]:
        """List the free hours of a day: none at the weekend, one taken by somebody else on every other day."""
        if when < self.today or when.weekday() >= 5:
            return []
        taken = HOURS[when.toordinal() % len(HOURS)]
        return [hour for hour in HOURS if hour != taken and (when, hour) not in self._booked]

    def book(self, when: date, hour: str, name: str) -> None:
        """Write an appointment down."""
        if hour not in self.free(when):
            raise ToolError(f"{hour} on {spoken(when)} is not free.")
        self._booked[when, hour] = name


def spoken(when: date) -> str:
    """Say a date: Friday 3 May."""
    return f"{when:%A} {when.day} {when:%B}"


class FrontDesk(Agent):
    """Says which appointments are free, and books them."""

    def __init__(self, diary: Diary) -> None:
        super().__init__(
            instructions=(
                "You are the front desk of Harbour Clinic. You tell which appointments are free and book them. "
                f"Be brief and friendly. Today is {spoken(diary.today)}, {diary.today.isoformat()}."
            )
        )
        self._diary = diary

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.generate_reply(instructions=f'Greet the caller with: "{GREETING}"')

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterable[stt.SpeechEvent]:
        """Start listening when there is something to hear: who only types needs no recogniser."""
        frames = aiter(audio)
        first = await anext(frames, None)
        if first is None:
            return

        async def everything() -> AsyncIterable[rtc.AudioFrame]:
            yield first
            async for frame in frames:
                yield frame

        async for event in Agent.default.stt_node(self, everything(), model_settings):
            yield event

    @function_tool
    async def check_availability(self, day: str, time: str = "") -> str:
        """Tell which appointments are free on a day, or whether one is.

        Args:
            day: "today", "tomorrow", a weekday, or a date as YYYY-MM-DD.
            time: The hour the caller asked about, as HH:MM.
        """
        when = self._diary.date_of(day)
        free = self._diary.free(when)
        if not free:
            return f"There is nothing free on {spoken(when)}."
        if time in free:
            return f"Yes, {time} on {spoken(when)} is free."
        no = f"{time} is taken. " if time else ""
        return f"{no}On {spoken(when)} these times are free: {', '.join(free)}."

    @function_tool
    async def book_appointment(self, day: str, time: str, name: str) -> str:
        """Book an appointment.

        Args:
            day: "today", "tomorrow", a weekday, or a date as YYYY-MM-DD.
            time: The hour, as HH:MM.
            name: The name of the patient.
        """
        when = self._diary.date_of(day)
        self._diary.book(when, time, name)
        return f"{name} is booked for {spoken(when)} at {time}."


# What the offline stand-in listens for. A language model needs none of this.
RULES = [
    offline.Rule(
        "(cancel|change|move|reschedule) [my|the|an|that] (appointment|booking)",
        "I am sorry, I can only book new appointments. Please ask the practice to change one.",
        help="",
    ),
    offline.Rule(
        ["opening hours", "when (are you|do you) (open|close|closed)", "what time do you (open|close)"],
        "We see patients from Monday to Friday, from nine to twelve and from two to five.",
        help="when are you open?",
    ),
    offline.Rule(
        ["where are you", "(address|directions)", "how do I get (there|to you)"],
        "We are at 1 Harbour Street, across from the ferry.",
        help="where are you?",
    ),
    offline.Rule(
        ["{day} [at] {time} (free|available)", "{time} [on] {day} (free|available)", "free [on] {day} [at] {time}"],
        "{result} Shall I book it?",
        tool="check_availability",
        slots={"day": offline.Slot(ask="For which day shall I look?"), "time": offline.Slot(ask="At what time?")},
        help="",
    ),
    offline.Rule(
        [
            "(what|when|which|anything|something|slots|times|do you have|are you) [is|else] (free|available)",
            "is (anything|something) free [on] {day}",
            "(free|available) [times|slots|appointments] [on] {day}",
            "{day} (free|available)",
            "(what|how) about {day}",
            "^[and|or] [on] {day}$",
            "availability",
        ],
        "{result} What would suit you?",
        tool="check_availability",
        slots={"day": offline.Slot(ask="For which day shall I look?")},
        help="what is free on Friday?",
    ),
    offline.Rule(
        [
            "(book|make|schedule|reserve|take) [it|that|one|me|an appointment] [at|on] [{time}|{day}] [for {name}]",
            "appointment [for {name}]",
            "see (a|the) doctor",
            "^yes [please|book it]$",
            "^[yes] [on] [{day}] [at|the|make it] {time} [is fine|would be fine|works|sounds good] [for {name}]$",
        ],
        "Done. {result} See you then!",
        tool="book_appointment",
        slots={
            "day": offline.Slot(ask="For which day would you like the appointment?", recall=True),
            "time": offline.Slot(ask="At what time?", recall=True),
            "name": offline.Slot(ask="What name shall I put?", recall=True),
        },
        on_error="{error} When would suit you?",
        help="book an appointment tomorrow at 3 pm",
    ),
]


# LiveKit's local voice detection decides alone: no model is downloaded, no service asked. What is no speech after
# all, a cough, makes the agent pause; then it goes on.
TURN_HANDLING: TurnHandlingOptions = {
    "turn_detection": "vad",
    "interruption": {"mode": "vad", "min_duration": 0.1, "false_interruption_timeout": 1.5},
}


class Ear(offline.STT):
    """Starts its recogniser when there is something to hear."""

    def prewarm(self) -> None:
        """Do nothing: LiveKit calls it for every call, and who only types needs no recogniser."""


class Speech(NamedTuple):
    """What hears the caller, and what speaks to them."""

    ear: stt.STT[Any]
    voice: tts.TTS[Any]


def has_real_models() -> bool:
    """Tell whether there is a key for real models and a plugin for it."""
    if not os.environ.get("OPENAI_API_KEY"):
        return False
    if openai is None:
        logger.warning(
            "OPENAI_API_KEY is set but its plugin is not installed, so the offline stand-ins answer; "
            "to use the key run: pip install livekit-plugins-openai"
        )
    return openai is not None


def language_model(*, real: bool) -> llm.LLM[Any]:
    """Return what thinks of an answer."""
    if real:
        model: llm.LLM[Any] = openai.LLM(model=os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"))
        return model
    return offline.LLM(RULES, greeting=GREETING, seed=7)


def speech(*, real: bool) -> Speech | None:
    """Return what listens and speaks, or nothing where a part of it is not installed: then calls are in text."""
    if real:
        return Speech(openai.STT(), openai.TTS())
    try:
        return Speech(Ear(RULES), offline.TTS())
    except GreenroomError as error:
        logger.warning("front-desk serves text only. %s. %s", error.message, error.fix)
        return None


# Jobs load the local speech models when a caller speaks; all of them at once would take 250 MB.
os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
# Of a call in text LiveKit warns that the voice is detached from the transcript, which is what text is.
logging.getLogger("livekit.agents").addFilter(lambda record: "audio output was detached" not in record.getMessage())
# The health page stays on this machine.
server = AgentServer(host="127.0.0.1")


@server.on("worker_registered")
def warm_up(*_: object) -> None:
    """Start the process that jobs are forked from before the first call needs it; its caller waits a second less."""
    if sys.platform == "linux":
        forkserver.ensure_running()


@server.rtc_session(agent_name="front-desk")
async def front_desk(ctx: JobContext) -> None:
    """Serve one call."""
    # A greeting said before anybody is there to hear it would be lost.
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    real = has_real_models()
    able = speech(real=real)
    session: AgentSession[None] = AgentSession(
        llm=language_model(real=real),
        stt=able.ear if able else NOT_GIVEN,
        tts=able.voice if able else NOT_GIVEN,
        vad=inference.VAD() if able else None,
        turn_handling=TURN_HANDLING if able else {"turn_detection": None},
        # The transcript goes with the voice, so it ends where the caller cuts in.
        use_tts_aligned_transcript=True,
        # The caller may cut in from the first word: it is the caller's browser that cancels the echo.
        aec_warmup_duration=None,
    )
    speaks = able is not None and await has_microphone_soon(ctx.room, caller)
    if not speaks:
        session.output.set_audio_enabled(False)
    await session.start(
        FrontDesk(Diary(datetime.now().astimezone().date())),
        room=ctx.room,
        room_options=room_io.RoomOptions(
            audio_input=room_io.AudioInputOptions(sample_rate=16000, frame_size_ms=20) if able else False,
            audio_output=able is not None,
        ),
    )
    if not speaks:
        await_microphone(session, ctx.room, caller, able=able is not None)


def has_microphone(caller: rtc.RemoteParticipant) -> bool:
    """Tell whether the caller has turned a microphone on."""
    return any(each.source == rtc.TrackSource.SOURCE_MICROPHONE for each in caller.track_publications.values())


async def has_microphone_soon(room: rtc.Room, caller: rtc.RemoteParticipant, within: float = 0.5) -> bool:
    """Wait a moment for a microphone: it comes after its owner, and a greeting in text would be cut off by it."""
    there = asyncio.Event()

    def look(*_: object) -> None:
        if has_microphone(caller):
            there.set()

    room.on("track_published", look)
    look()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await there.wait()
    room.off("track_published", look)
    return there.is_set()


def await_microphone(session: AgentSession[None], room: rtc.Room, caller: rtc.RemoteParticipant, *, able: bool) -> None:
    """Give answers by voice as soon as the caller turns a microphone on, or say once that this is not possible."""

    def look(*_: object) -> None:
        if has_microphone(caller):
            room.off("track_subscribed", look)
            session.output.set_audio_enabled(able)
            session.say(MICROPHONE_ON if able else TEXT_ONLY)

    room.on("track_subscribed", look)
    look()
