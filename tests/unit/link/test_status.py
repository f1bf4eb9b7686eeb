"""What an agent says of its task: what fits counts, and nothing else does any harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.link import AgentStatus, status_of_attributes, status_of_text

pytestmark = pytest.mark.unit


def test_attributes_state_a_task() -> None:
    stated = status_of_attributes(
        {
            "greenroom.task.title": "  Move\nan appointment ",
            "greenroom.task.progress": "40.5",
            "greenroom.integrations": "calendar, calendar,,email",
            "lk.agent.state": "idle",
        }
    )
    expected = AgentStatus(title="Move an appointment", progress=40.5, integrations=("calendar", "email"))
    assert stated == expected
    assert status_of_attributes({"lk.agent.state": "idle"}) is None


def test_a_text_states_a_task() -> None:
    text = '{"title": "Sell", "priority": "urgent", "integrations": ["email", 7], "other": [], "progress": 10}'
    expected = AgentStatus(title="Sell", priority="urgent", integrations=("email",), progress=10.0, by="topic")
    assert status_of_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"title"', '{"title": ""}', '{"title": 7}', '{"progress": true}', "[" * 9000),
        *('{"progress": 101}', '{"progress": -1}', '{"progress": "nan"}', '{"priority": "higher"}', "\ud800"),
        '{"title": "' + "x" * 20_000 + '"}',
    ],
)
def test_what_does_not_fit_states_nothing(text: str) -> None:
    assert status_of_text(text) is None


def test_a_long_title_is_cut() -> None:
    stated = status_of_text('{"title": "' + "x" * 500 + '"}')
    assert stated is not None
    assert len(stated.title or "") == 120


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text() | st.dictionaries(st.sampled_from(("title", "progress", "integrations")), JSON).map(json.dumps))
def test_no_text_raises(text: str) -> None:
    status_of_text(text)
