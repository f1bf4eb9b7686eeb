"""docs/cli.md knows every command and option, docs/configuration.md every setting and variable with its default."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.cli import _configuration, _options, _settings
from greenroom.cli._app import app
from greenroom.cli._schema import ConfigFile, KeyPolicy, settings
from greenroom.pool.settings import AgentSettings, TenantSettings

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
REFERENCE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
EXAMPLE = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)[0]
TABLES = {"keys": KeyPolicy, "pool.agents": AgentSettings, "tenants.known": TenantSettings}


def options_of(command: str) -> set[str]:
    return {
        name
        for argument in app[command].assemble_argument_collection(default_parameter=app.default_parameter)
        for name in argument.names
        if name.startswith("--")
    }


COMMANDS = (
    "agents",
    "control",
    "dev",
    "list",
    "login",
    "server",
    "doctor",
    "export",
    "sessions",
    "session",
    "plugins",
    "talk",
    "token",
    "top",
    "why",
)


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


def test_every_environment_variable_stands_in_a_page() -> None:
    source = "".join(inspect.getsource(module) for module in (_settings, _configuration, _options))
    variables = set(re.findall(r"(?:GREENROOM|LIVEKIT)_[A-Z_]*[A-Z]", source))
    further = {variable for setting in settings() for variable in setting.variables if variable != ruled(setting.name)}
    assert {name for name in variables | further if f"`{name}`" not in PAGE + REFERENCE} == set()


def ruled(name: str) -> str:
    return f"GREENROOM_{name.replace('.', '_').upper()}"


def test_the_reference_names_every_setting_with_its_default() -> None:
    said = msgspec.toml.decode(EXAMPLE)
    whole = msgspec.toml.decode(re.sub(r"(?m)^# (?=\w+ = )", "", EXAMPLE))
    msgspec.convert(whole, ConfigFile)
    optional = set()
    for setting in settings():
        if setting.name in TABLES:
            continue
        assert at(whole, setting.name) is not None, setting.name
        if setting.default is None or setting.name == "pool.port":
            optional.add(setting.name)
        else:
            assert at(said, setting.name) == msgspec.json.decode(msgspec.json.encode(setting.default)), setting.name
    assert {name for name in optional if at(said, name) is not None} == set()
    for name, shape in TABLES.items():
        (entry,) = at(said, name).values()
        assert set(entry) == set(shape.__struct_fields__), name


def at(tree: Any, name: str) -> Any:
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
