"""Every plugin that is installed, found through entry points."""

from __future__ import annotations

import functools
import importlib.util
import logging
import traceback
import types
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any, Final

import msgspec

from greenroom.plugins._kinds import Kind, PluginError
from greenroom.plugins._plugin import Plugin, Registration

logger = logging.getLogger("greenroom.plugins")

GROUP: Final = "greenroom.plugins"
OWN: Final = "greenroom"


class Source(msgspec.Struct, frozen=True):
    """Where a plugin comes from: a distribution, its version, and the entry point in it."""

    package: str
    version: str = ""
    entry: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``greenroom plugins``.

    :param id: of the part; of a plugin that could not be loaded, the name of its entry point.
    :param kind: empty for a plugin that could not be loaded.
    :param state: ``ready``; ``missing`` when a module that it needs is not installed; ``shadowed`` when another
        plugin has the id; ``broken`` when the plugin could not be loaded.
    :param problem: why it is not ready.
    :param fix: what to do about it.
    """

    id: str
    kind: str = ""
    package: str = ""
    version: str = ""
    state: str = "ready"
    summary: str = ""
    problem: str = ""
    fix: str = ""


class Registry:
    """Plugins and the parts they bring.

    Greenroom's own come first, then the others in the order of their distributions' names. Of two with the same kind
    and id the first keeps it; the other is listed as shadowed, and a warning is logged.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[Kind, str], tuple[Registration, Source]] = {}
        self._listings: list[Listing] = []

    @classmethod
    def installed(cls) -> Registry:
        """Return a registry of what is installed. A plugin that cannot be loaded is listed with why."""
        found = cls()
        for entry in sorted(metadata.entry_points(group=GROUP), key=_order):
            found.load(entry)
        return found

    def load(self, entry: metadata.EntryPoint) -> None:
        """Import what an entry point names, and take what it registers: all of it, or nothing."""
        source = Source(entry.dist.name, entry.dist.version, entry.name) if entry.dist else Source("", "", entry.name)
        try:
            plugin = _plugin_of(entry.load())
        except (Exception, SystemExit) as error:
            self._broken(source, error)
            return
        self.add(plugin, source)

    def add(self, plugin: Plugin, source: Source) -> None:
        """Take what a plugin brings."""
        for each in plugin.registrations:
            taken = self._parts.setdefault((each.kind, each.id), (each, source))
            self._listings.append(_listing(each, source, None if taken[0] is each else taken[1]))
            if taken[0] is not each:
                logger.warning(
                    "two plugins bring the same id; the first keeps it",
                    extra={"kind": each.kind, "id": each.id, "kept": taken[1].package, "shadowed": source.package},
                )

    def find(self, kind: Kind, name: str) -> Registration | None:
        """Return what is registered under exactly this id."""
        return self._parts[kind, name][0] if (kind, name) in self._parts else None

    def ids(self, kind: Kind) -> list[str]:
        """Return the ids of a kind."""
        return sorted(name for each, name in self._parts if each is kind)

    def listings(self) -> list[Listing]:
        """Return everything, in the order in which it was found."""
        return list(self._listings)

    def broken(self) -> Iterator[Listing]:
        """Yield the plugins that could not be loaded."""
        return (each for each in self._listings if each.state == "broken")

    def _broken(self, source: Source, error: BaseException) -> None:
        problem = f"{type(error).__name__}: {error}{_place(error)}"
        fix = error.fix if isinstance(error, PluginError) else ""
        logger.warning("a plugin cannot be loaded", extra={"plugin": source.entry, "package": source.package})
        self._listings.append(
            Listing(
                id=source.entry,
                package=source.package,
                version=source.version,
                state="broken",
                problem=problem,
                fix=fix or f"Update it, or remove it: pip uninstall {source.package}",
            )
        )


@functools.cache
def registry() -> Registry:
    """Return what is installed, looked for once in a process."""
    return Registry.installed()


def missing(modules: Iterable[str]) -> str:
    """Return the first of these modules that is not installed; empty when all are. Imports only their parents."""
    for name in modules:
        try:
            if importlib.util.find_spec(name) is None:
                return name
        except ImportError:
            return name
    return ""


def _order(entry: metadata.EntryPoint) -> tuple[bool, str, str]:
    package = entry.dist.name if entry.dist else ""
    return package != OWN, package.lower(), entry.name


def _plugin_of(loaded: Any) -> Plugin:
    """Return the plugin that an entry point's object is, has or fills."""
    if isinstance(loaded, types.ModuleType):
        loaded = getattr(loaded, "plugin", None) or getattr(loaded, "register", None)
    if isinstance(loaded, Plugin):
        return loaded
    if not callable(loaded):
        raise PluginError(
            "The entry point names no plugin",
            fix="Name a greenroom.plugins.Plugin, a module that has one as 'plugin', or a function that takes one",
        )
    plugin = Plugin()
    loaded(plugin)
    return plugin


def _listing(each: Registration, source: Source, taken: Source | None) -> Listing:
    state, problem, fix = "ready", "", ""
    if taken is not None:
        state, problem = "shadowed", f"{taken.package or 'another plugin'} brings the same id"
        fix = f"Uninstall one of {taken.package} and {source.package}"
    elif lacking := missing(each.requires):
        state, problem, fix = "missing", f"The module {lacking} is not installed", each.install
    return Listing(
        id=each.id,
        kind=each.kind,
        package=source.package,
        version=source.version,
        state=state,
        summary=each.summary,
        problem=problem,
        fix=fix,
    )


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
