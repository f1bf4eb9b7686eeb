"""docs/cli.md knows every command, option, variable and setting, and its example is true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from greenroom.cli import _settings
from greenroom.cli._app import app
from greenroom.config import AgentDefaults, Limits, RoomDefaults, WebhookSettings

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
EXAMPLE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]


def options_of(command: str) -> set[str]:
    return {
        name
        for argument in app[command].assemble_argument_collection(default_parameter=app.default_parameter)
        for name in argument.names
        if name.startswith("--")
    }


COMMANDS = ("dev", "server", "doctor", "export", "sessions", "session", "talk", "token", "top", "why")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_in_the_page(command: str) -> None:
    options = options_of(command)
    assert options
    assert f"## `greenroom {command}" in PAGE
    assert {option for option in options if f"`{option}`" not in PAGE} == set()


def test_there_is_no_command_without_a_section() -> None:
    commands = {app[name].name[0] for name in app if not name.startswith("-")}
    assert {name for name in commands if f"## `greenroom {name}" not in PAGE} == set()


def test_every_other_name_of_a_command_stands_in_the_page() -> None:
    names = {name for name in app if not name.startswith("-")}
    assert {name for name in names if f"`greenroom {name}" not in PAGE} == set()


def test_every_environment_variable_stands_in_the_page() -> None:
    variables = set(re.findall(r"(?:GREENROOM|LIVEKIT)_\w+", inspect.getsource(_settings)))
    assert {name for name in variables if f"`{name}`" not in PAGE} == set()


def test_the_example_names_every_setting_with_its_default() -> None:
    example = msgspec.toml.decode(EXAMPLE, type=_settings.ConfigFile)
    assert set(msgspec.toml.decode(EXAMPLE)) == set(_settings.ConfigFile.__struct_fields__)
    sections = {"room": RoomDefaults(), "agent": AgentDefaults(), "limits": Limits(), "webhook": WebhookSettings()}
    for section, defaults in sections.items():
        assert msgspec.toml.decode(EXAMPLE)[section] == msgspec.json.decode(msgspec.json.encode(defaults)), section
    assert example.keys["front"].agents == ("front-*",)
