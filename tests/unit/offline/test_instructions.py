"""What the stand-in makes of instructions for one reply."""

from __future__ import annotations

import pytest

from greenroom.offline._instructions import follow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        ('Greet the user with: "Welcome to the Ritz."', "Welcome to the Ritz."),
        ("Say “one moment”, then wait", "one moment"),
        ("Say 'it's ready' to the caller", "it's ready"),
        ("Greet the user and offer your assistance.", "GREETING"),
        ("Welcome them warmly.", "GREETING"),
        ("Say goodbye to the user.", "FAREWELL"),
        ("Tell the caller that their table is ready. Then stop.", "Your table is ready."),
        ("Let the user know that they are next in line", "You are next in line."),
        ("Inform them that the user's order has left", "Your order has left."),
        ("Ask the user for their name.", "May I have your name?"),
        ("Ask whether they want a receipt", "May I ask if you want a receipt?"),
        ("Ask the caller how their day was.", "May I ask how your day was?"),
        ("Offer help.", "NUDGE"),
        ("Consider the weather and respond in the style of Homer", None),
        ("You are a helpful assistant.", None),
    ],
)
def test_common_forms_are_followed(instructions: str, words: str | None) -> None:
    assert follow(instructions, greeting="GREETING", farewell="FAREWELL", nudge="NUDGE") == words
