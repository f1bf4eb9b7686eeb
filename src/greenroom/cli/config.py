"""``greenroom config``: what is in force, whether it is usable, and what there is to say."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from greenroom.cli._configuration import Configuration, read_configuration
from greenroom.cli._options import ControlOptions, KeyOptions, PoolOptions
from greenroom.cli._pool_settings import pool_settings
from greenroom.cli._schema import ConfigFile, settings
from greenroom.cli._settings import api_keys, control_of, record_of, server_of
from greenroom.pool.settings import DEFAULT_DRAIN_TIMEOUT, DEFAULT_HTTP_PORT, DEFAULT_MAX_SESSIONS

_MASK: Final = "********"
_SECRETS: Final = frozenset({"secret", "token", "providers", "environment"})
#: What is in force when neither a person nor the program says anything.
_UNSAID: Final = {
    "pool.max_sessions": DEFAULT_MAX_SESSIONS,
    "pool.drain_timeout": DEFAULT_DRAIN_TIMEOUT,
    "pool.port": DEFAULT_HTTP_PORT,
}
#: Read elsewhere: not settings, but variables all the same.
_OTHERS: Final = frozenset({"GREENROOM_CONFIG", "GREENROOM_KEY"})


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A setting in force. ``origin`` is a file, a variable, or ``default``."""

    value: Any
    origin: str


def show_command(file: Path | None, *, everything: bool, as_json: bool) -> int:
    """Print what is in force. Raises :class:`ConfigError`."""
    found = effective(read_configuration(file, os.environ), os.environ)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return 0
    shown = {name: each for name, each in found.items() if everything or each.origin != "default"}
    if not shown:
        print("everything is as it is by default; --all shows it")
    width = max(map(len, shown), default=0)
    for name, each in shown.items():
        print(f"{name:<{width}}  {msgspec.json.encode(each.value).decode()}  ({each.origin})")
    return 0


def check_command(file: Path | None) -> int:
    """Say that the configuration is usable. Raises :class:`ConfigError` when it is not."""
    said = read_configuration(file, os.environ)
    options = KeyOptions(config=file)
    server_of(said, options)
    control_of(said, ControlOptions(config=file))
    record_of(said)
    pool_settings(said, PoolOptions(config=file))
    for line in strangers(os.environ):
        print(f"note: {line}")
    where = f"'{said.file}'" if said.file is not None else "no configuration file; the environment"
    print(f"{where} is in order: {len(said.origins)} settings, {len(api_keys(options))} API keys")
    return 0


def schema_command() -> int:
    """Print the JSON Schema of the file."""
    schema = msgspec.json.schema(ConfigFile)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "greenroom.toml", **schema}
    print(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())
    return 0


def effective(said: Configuration, environment: Mapping[str, str]) -> dict[str, Shown]:
    """Return every setting by its name, without its secrets."""
    found: dict[str, Shown] = {}
    for setting in settings():
        given = said.says(setting.name)
        value = said.get(setting.name) if given else _UNSAID.get(setting.name, setting.default)
        origin = said.origins[setting.name] if given else "default"
        if setting.name == "keys" and environment.get("GREENROOM_KEY", "").strip():
            keys = api_keys(KeyOptions(config=said.file), environment)
            value, origin = {key.key: {"secret": key.secret} for key in keys}, "GREENROOM_KEY"
        found[setting.name] = Shown(value=masked(setting.name.rpartition(".")[2], value), origin=origin)
    return found


def masked(name: str, value: Any) -> Any:
    """Return a value as it may be shown."""
    if name in _SECRETS and value:
        return dict.fromkeys(value, _MASK) if isinstance(value, dict) else _MASK
    if isinstance(value, dict):
        return {each: masked(each, inner) for each, inner in value.items()}
    return value


def strangers(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that looks like a setting and is none."""
    known = {variable for setting in settings() for variable in setting.variables} | _OTHERS
    lines = []
    for name in sorted(environment):
        if not re.match("GREENROOM_", name) or name in known:
            continue
        near = difflib.get_close_matches(name, known, 1, cutoff=0.8)
        lines.append(f"{name} is no setting" + (f"; {near[0]} perhaps?" if near else ""))
    return lines
