"""What docs/offline.md says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import AgentSession

from greenroom.offline import Latency, Rule
from greenroom.offline._decide import Script
from greenroom.offline._instructions import follow
from greenroom.offline._patterns import MAX_TEXT
from greenroom.offline._smalltalk import FAREWELL, NUDGE
from greenroom.offline._values import TYPES
from support.offline_talk import Talk

pytestmark = pytest.mark.unit

MANUAL = (Path(__file__).parents[3] / "docs" / "offline.md").read_text()


async def test_the_first_example_does_what_the_page_shows() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(program, names)
    session: AgentSession[None] = names["session"]
    shown = re.findall(r"^> \*\*(caller|agent)\*\* (.*?)\s*$", MANUAL, re.MULTILINE)
    async with session:
        await session.start(names["Waiter"]())
        for (_, said), (_, answer) in zip(shown[::2], shown[1::2], strict=True):
            result = await session.run(user_input=said)
            words = [event.item.text_content for event in result.events if event.type == "message"]
            assert words == [answer]


def test_every_slot_type_is_listed() -> None:
    table = MANUAL.partition("| slot type |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:])))
    assert set(TYPES) <= listed


def test_the_instructions_in_the_table_are_followed() -> None:
    table = MANUAL.partition("| instructions | said |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| .*?`(.+?)` \| (.*?) \|$", table, re.MULTILINE)
    assert len(rows) == 4
    for instructions, said in rows:
        words = follow(instructions, greeting="", farewell=FAREWELL, nudge=NUDGE)
        assert words == ("Welcome!" if said == "that text" else said)


def test_the_error_it_quotes_is_the_error() -> None:
    talk = Talk(Script(rules=(Rule("go", tool="fly"),)))
    (quoted,) = re.findall(r"^Rule 'go'.*$", MANUAL, re.MULTILINE)
    with pytest.raises(Exception, match=r"Rule 'go' calls the tool 'fly', which the agent does not have\.") as caught:
        talk.say("go")
    assert quoted.replace("(walk)", "(none)") == str(caught.value)


def test_the_numbers_it_names_are_the_numbers() -> None:
    assert f"first {MAX_TEXT} characters" in MANUAL
    assert re.search(rf"Latency\(first_token={Latency().first_token}, per_token={Latency().per_token}", MANUAL)
