"""The example agent, spoken to without a server."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from livekit.agents import AgentServer, AgentSession, RunResult

from greenroom import offline

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "agents" / "front_desk.py"
PACKAGED = ROOT / "src" / "greenroom" / "dev" / "agents" / "front_desk.py"
WEDNESDAY = date(2030, 5, 1)


@pytest.fixture(scope="module")
def desk() -> ModuleType:
    spec = importlib.util.spec_from_file_location("front_desk", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["front_desk"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def talk(desk: ModuleType) -> AsyncIterator[AgentSession[None]]:
    model = offline.LLM(desk.RULES, greeting=desk.GREETING, latency=0)
    async with AgentSession[None](llm=model, vad=None, turn_handling={"turn_detection": None}) as session:
        greeting = await session.start(desk.FrontDesk(desk.Diary(WEDNESDAY)), capture_run=True)
        assert words(greeting) == desk.GREETING
        yield session


def words(result: RunResult[Any]) -> str:
    return " ".join(event.item.text_content or "" for event in result.events if event.type == "message")


def calls(result: RunResult[Any]) -> list[tuple[str, str]]:
    return [(event.item.name, event.item.arguments) for event in result.events if event.type == "function_call"]


def test_the_packaged_copy_is_the_example() -> None:
    assert PACKAGED.read_bytes() == EXAMPLE.read_bytes()


def test_it_is_a_server_that_livekit_agents_can_start(desk: ModuleType) -> None:
    assert isinstance(desk.server, AgentServer)


async def test_it_looks_up_what_is_free_and_books_it(talk: AgentSession[None]) -> None:
    looked = await talk.run(user_input="Is anything free on Friday?")
    assert calls(looked) == [("check_availability", '{"day": "Friday"}')]
    assert words(looked) == (
        "On Friday 3 May these times are free: 09:00, 10:00, 14:00, 15:00, 16:00. What would suit you?"
    )
    assert words(await talk.run(user_input="3 pm please")) == "What name shall I put?"
    booked = await talk.run(user_input="Ada Lovelace")
    assert calls(booked) == [("book_appointment", '{"day": "Friday", "time": "15:00", "name": "Ada Lovelace"}')]
    assert words(booked) == "Done. Ada Lovelace is booked for Friday 3 May at 15:00. See you then!"


async def test_a_time_that_is_taken_can_be_changed(talk: AgentSession[None]) -> None:
    await talk.run(user_input="I'd like an appointment tomorrow at 3 pm for Ada")
    taken = await talk.run(user_input="can I get an appointment for Grace, tomorrow at 3 pm?")
    assert words(taken) == "15:00 on Thursday 2 May is not free. When would suit you?"
    assert words(await talk.run(user_input="4 pm then")).startswith(
        "Done. Grace is booked for Thursday 2 May at 16:00."
    )


async def test_it_asks_for_all_that_is_missing(talk: AgentSession[None]) -> None:
    asked = [
        words(await talk.run(user_input=said))
        for said in ("I want to see a doctor", "where are you?", "next Monday", "ten", "it's Alan Turing")
    ]
    assert asked == [
        "For which day would you like the appointment?",
        "We are at 1 Harbour Street, across from the ferry. For which day would you like the appointment?",
        "At what time?",
        "What name shall I put?",
        "Done. Alan Turing is booked for Monday 6 May at 10:00. See you then!",
    ]


async def test_a_bare_day_is_looked_up_and_a_day_with_a_time_is_booked(talk: AgentSession[None]) -> None:
    await talk.run(user_input="what is free tomorrow?")
    assert calls(await talk.run(user_input="and on Monday?")) == [("check_availability", '{"day": "Monday"}')]
    assert words(await talk.run(user_input="Tuesday at ten")) == "What name shall I put?"
    assert words(await talk.run(user_input="Ada")) == "Done. Ada is booked for Tuesday 7 May at 10:00. See you then!"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("What's free on Saturday?", "There is nothing free on Saturday 4 May. What would suit you?"),
        (
            "cancel my appointment",
            "I am sorry, I can only book new appointments. Please ask the practice to change one.",
        ),
        ("When are you open?", "We see patients from Monday to Friday, from nine to twelve and from two to five."),
        (
            "help",
            "You can say, for example: “when are you open?”, “where are you?”, “what is free on Friday?”, "
            "“book an appointment tomorrow at 3 pm”.",
        ),
    ],
)
async def test_it_answers_questions(talk: AgentSession[None], said: str, answer: str) -> None:
    assert words(await talk.run(user_input=said)) == answer


@pytest.mark.parametrize("day", ["today", "tomorrow", "wednesday", "next Friday", "2030-05-08", "day after tomorrow"])
def test_the_diary_knows_days(desk: ModuleType, day: str) -> None:
    diary = desk.Diary(WEDNESDAY)
    expected = {"today": 1, "tomorrow": 2, "wednesday": 8, "next Friday": 3, "2030-05-08": 8, "day after tomorrow": 3}
    assert diary.date_of(day) == date(2030, 5, expected[day])


async def test_without_a_key_the_stand_ins_answer(desk: ModuleType) -> None:
    assert not desk.has_real_models()
    assert isinstance(desk.language_model(real=False), offline.LLM)
    able = desk.speech(real=False)
    assert isinstance(able.ear, offline.STT)
    assert isinstance(able.voice, offline.TTS)


async def test_a_key_without_the_plugin_gives_a_line_and_the_stand_ins(
    desk: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(desk, "openai", None)
    with caplog.at_level(logging.WARNING, "front-desk"):
        assert not desk.has_real_models()
    (record,) = caplog.records
    assert "pip install livekit-plugins-openai" in record.message
    assert "sk-secret" not in record.message


async def test_a_key_with_the_plugin_gets_real_models(desk: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    plugin = SimpleNamespace(LLM=lambda model: f"openai {model}", STT=lambda: "an ear", TTS=lambda: "a voice")
    monkeypatch.setattr(desk, "openai", plugin)
    assert desk.has_real_models()
    assert desk.language_model(real=True) == "openai gpt-4.1-mini"
    assert desk.speech(real=True) == ("an ear", "a voice")


@pytest.mark.parametrize(
    ("missing", "said"), [("flite", "apt-get install flite"), ("pocketsphinx", "pip install 'greenroom[speech]'")]
)
async def test_without_a_part_of_speech_it_gives_the_line_to_install_it_and_serves_text(
    desk: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str, said: str
) -> None:
    which, find_spec = shutil.which, importlib.util.find_spec
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else which(name))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    with caplog.at_level(logging.WARNING, "front-desk"):
        assert desk.speech(real=False) is None
    (record,) = caplog.records
    assert record.message.startswith("front-desk serves text only.")
    assert said in record.message
