"""From an id to a part that can be used."""

from __future__ import annotations

import difflib
import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from greenroom.errors import GreenroomError
from greenroom.plugins import _livekit
from greenroom.plugins._ids import Id, parse
from greenroom.plugins._kinds import INFERENCE, VARIANTS, Kind, PluginError, UnknownIdError
from greenroom.plugins._plugin import Registration
from greenroom.plugins._protocols import check
from greenroom.plugins._registry import Registry, missing, registry

_HIDDEN = "***"


def resolve(
    kind: Kind | str,
    name: str,
    /,
    *,
    inference: bool = False,
    plugins: Registry | None = None,
    **options: Any,
) -> Any:
    """Return the part that an id names, made anew.

    Registered plugins come first, ``provider/model`` before ``provider``; then LiveKit's installed plugins.

    :param name: the id: ``provider/model``, with ``:language`` for an STT or ``:voice`` for a TTS; or a mere name.
    :param inference: whether to give the id itself back when nobody here has it, so that LiveKit's hosted inference
        takes it. Not with options, which it could not be told.
    :param plugins: where to look; what is installed by default.
    :param options: handed to whoever makes it. What they hold is in no error.
    :raises UnknownIdError: when nobody has it; says the nearest ids and what to install.
    :raises PluginError: when it cannot be made.
    """
    kind = Kind.of(kind)
    wanted = parse(kind, name)
    found = _registered(kind, wanted, plugins or registry()) or _livekit.maker(kind, wanted)
    if found is not None:
        make, said = found
        return _make(kind, name, make, {**said, **options})
    if inference and kind in INFERENCE and wanted.model and not options:
        return name
    raise _unknown(kind, name, wanted, plugins or registry())


def prepare(
    kind: Kind | str,
    name: str,
    /,
    *,
    inference: bool = False,
    plugins: Registry | None = None,
) -> None:
    """Import what an id needs, and make nothing: for whoever wants it quick, or copied on write, later.

    Raises as :func:`resolve` does for an id that nobody has.
    """
    kind = Kind.of(kind)
    wanted = parse(kind, name)
    if part := _part(kind, wanted, plugins or registry()):
        for module in part.requires:
            importlib.import_module(module)
        return
    if _livekit.maker(kind, wanted):
        return
    if not (inference and kind in INFERENCE and wanted.model):
        raise _unknown(kind, name, wanted, plugins or registry())


def _registered(kind: Kind, wanted: Id, plugins: Registry) -> tuple[Callable[..., Any], dict[str, str]] | None:
    part = _part(kind, wanted, plugins)
    if part is None:
        return None
    said = {"model": wanted.model} if part.id == wanted.provider and wanted.model else {}
    if wanted.variant:
        said[VARIANTS[kind]] = wanted.variant
    return part.make, said


def _part(kind: Kind, wanted: Id, plugins: Registry) -> Registration | None:
    part = plugins.find(kind, wanted.name) or plugins.find(kind, wanted.provider)
    if part is not None and (lacking := missing(part.requires)):
        raise PluginError(
            f"The {kind} '{part.id}' needs the module {lacking}, which is not installed",
            fix=f"Run: {part.install}" if part.install else "",
        )
    return part


def _make(kind: Kind, name: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    if kind is Kind.TOOL and not inspect.isclass(make):
        if options:
            raise PluginError(f"The tool '{name}' takes no options", fix="Leave them out")
        return check(kind, name, make)
    _accepts(kind, name, make, options)
    try:
        made = make(**options)
    except Exception as error:
        # Whatever failed may quote what it was given, and so may the frames of its traceback: neither goes on.
        told = _without_secrets(str(error), options)
        if isinstance(error, GreenroomError) and told == str(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        raise PluginError(
            f"The {kind} '{name}' could not be made: {type(error).__name__}: {told}"
            f" ({frames[-1].filename}:{frames[-1].lineno})",
        ) from None
    return check(kind, name, made)


def _accepts(kind: Kind, name: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    try:
        accepted = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted):
        return
    known = [each.name for each in accepted if each.kind is not inspect.Parameter.POSITIONAL_ONLY]
    for option in options:
        if option not in known:
            raise PluginError(
                f"The {kind} '{name}' takes no {option}",
                fix=f"It takes: {', '.join(known)}" if known else "It takes no options",
            )


def _without_secrets(text: str, options: Mapping[str, Any]) -> str:
    for value in sorted(_words(options), key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text


def _words(value: Any) -> Iterator[str]:
    """Yield every text in some options that is long enough to be a secret."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _words(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _words(each)
    elif isinstance(value, bytes):
        yield from _words(value.decode(errors="replace"))
    elif isinstance(value, str) and len(value) >= 4:
        yield value
        yield from (repr(value)[1:-1],)


def _unknown(kind: Kind, text: str, wanted: Id, plugins: Registry) -> UnknownIdError:
    known = plugins.ids(kind) + [each.id for each in _livekit.installed() if each.kind == kind]
    here = [each for each in known if each.partition("/")[0] == wanted.provider]
    near = here or difflib.get_close_matches(wanted.name, known, n=3, cutoff=0.6)
    fix = [f"Did you mean {' or '.join(near)}?"] if near else []
    provider = _livekit.known(wanted.provider)
    if not here and kind in _livekit.CLASSES and provider:
        fix.append(f"Run: pip install {_livekit.distribution(provider)}")
        if provider != wanted.provider:
            fix.append(f"and write {provider}, if that is what '{wanted.provider}' means")
    elif not near:
        fix.append("See what there is: greenroom plugins")
    if broken := ", ".join(each.id for each in plugins.broken()):
        fix.append(f"(plugins that cannot be loaded: {broken})")
    return UnknownIdError(
        f"No plugin here has the {kind} '{text}'", fix=" ".join(fix), context={"kind": str(kind), "id": text}
    )
