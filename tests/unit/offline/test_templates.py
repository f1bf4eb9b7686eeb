"""Reply templates."""

from __future__ import annotations

import pytest

from greenroom.offline._templates import TemplateError, UnresolvedError, fields, render, spoken

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("For {people} at {time}.", "For 4 at 19:00."),
        ("Hello {nobody}!", "Hello !"),
        ("Use {{braces}}", "Use {braces}"),
        ("{json.id} for {json.guest.name}", "7 for Ada"),
        ("{python.days}", "monday, tuesday and friday"),
        ("{python.days.1}", "tuesday"),
        ("{flag}", "yes"),
    ],
)
def test_a_template_is_filled_from_values_and_results(template: str, words: str) -> None:
    values = {
        "people": 4,
        "time": "19:00",
        "json": '{"id": 7, "guest": {"name": "Ada"}}',
        "python": "{'days': ['monday', 'tuesday', 'friday']}",
        "flag": True,
    }
    assert render(template, values) == words


@pytest.mark.parametrize("result", ["nothing is free", "{'other': 1}", "[1, 2]", "{broken"])
def test_a_field_that_a_result_does_not_have_is_reported(result: str) -> None:
    with pytest.raises(UnresolvedError):
        render("{result.id}", {"result": result})


@pytest.mark.parametrize("template", ["{", "}", "{a b}", "{a.}", "{}"])
def test_stray_braces_are_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        fields(template)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, ""), ([], ""), (["a"], "a"), ({"a": 1, "b": [2, 3]}, "a 1, b 2 and 3"), (False, "no"), (2.5, "2.5")],
)
def test_values_are_put_into_words(value: object, words: str) -> None:
    assert spoken(value) == words
