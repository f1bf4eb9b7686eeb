"""What was said, put together: options before the environment before the file. Defaults come after."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from greenroom.cli._schema import ConfigFile, fields_at, settings
from greenroom.errors import ConfigError

DEFAULT_FILE: Final = "greenroom.toml"
PAGE: Final = "docs/configuration.md"

_NOTHING: Final = object()

_Shape = TypeVar("_Shape")


class Configuration:
    """What a person said, and where.

    :param file: the configuration file; ``None`` when there is none.
    """

    def __init__(self, file: Path | None, tree: dict[str, Any]) -> None:
        self.file = file
        self._tree = tree
        #: By the name of a setting: the option, the variable or the file that says it.
        self.origins = {setting.name: str(file) for setting in settings() if self.says(setting.name)}

    def say(self, name: str, value: Any, origin: str) -> None:
        """Set what a setting is; ``pool.watchdog.stall``."""
        *tables, last = name.split(".")
        here = self._tree
        for table in tables:
            if not isinstance(here.get(table), dict):
                here[table] = {}
            here = here[table]
        here[last] = value
        self.origins[name] = origin

    def says(self, name: str) -> bool:
        """Tell whether anything was said of a setting or a section."""
        return self._find(name) is not _NOTHING

    def get(self, name: str) -> Any:
        """Return what was said of a setting or a section; ``None`` when nothing was."""
        found = self._find(name)
        return None if found is _NOTHING else found

    def _find(self, name: str) -> Any:
        here: Any = self._tree
        for part in name.split("."):
            if not isinstance(here, dict) or part not in here:
                return _NOTHING
            here = here[part]
        return here

    def section(self, name: str, kind: type[_Shape]) -> _Shape:
        """Return a section with its defaults."""
        return msgspec.convert(self.get(name) or {}, kind)

    def whole(self) -> ConfigFile:
        """Return everything with its defaults."""
        return msgspec.convert(self._tree, ConfigFile)


def read_configuration(
    named: Path | None, environment: Mapping[str, str], flags: Mapping[str, tuple[str, Any]] | None = None
) -> Configuration:
    """Return what was said.

    :param named: the file of ``--config``.
    :param flags: by the setting, the option's name and its value; ``None`` was not given.
    :raises ConfigError: with the setting and what it may be.
    """
    chosen = named or environment.get("GREENROOM_CONFIG")
    path = Path(chosen or DEFAULT_FILE)
    tree = _read(path, named=bool(chosen))
    found = Configuration(None if tree is None else path, tree or {})
    for setting in settings():
        for variable in setting.variables:
            text = environment.get(variable, "").strip()
            if text:
                found.say(setting.name, setting.read(variable, text), variable)
                break
    for name, (option, value) in (flags or {}).items():
        if value is not None:
            found.say(name, value, option)
    return found


def check_file(path: Path) -> None:
    """Read a file. Raises :class:`ConfigError` for anything in it that is not as it should be."""
    _read(path, named=True)


def _read(path: Path, *, named: bool) -> dict[str, Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if not named:
            return None
        raise ConfigError(f"Configuration file '{path}' does not exist", fix="Check --config") from None
    except OSError as error:
        raise ConfigError(f"Cannot read '{path}': {error.strerror}", fix="Check --config") from None
    try:
        decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
        tree = decode(content)
        msgspec.convert(tree, ConfigFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' is not a usable configuration: {error}", fix=_advice(str(error))) from None
    return tree  # type: ignore[no-any-return]


def _advice(error: str) -> str:
    """Say what may stand where an unknown name does."""
    unknown = re.match(r"Object contains unknown field `(.*?)`(?: - at `(.*?)`)?$", error)
    if unknown is None:
        return f"See {PAGE}"
    path = unknown[2] or "$"
    allowed = fields_at(path)
    where = path.removeprefix("$.").replace("[...]", ".NAME") if unknown[2] else "The file"
    near = difflib.get_close_matches(unknown[1], allowed, 1)
    meant = f"'{near[0]}' perhaps? " if near else ""
    return f"{meant}{where} takes {', '.join(allowed)}: see {PAGE}"
