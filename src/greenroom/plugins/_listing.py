"""All parts that there are, as ``greenroom plugins`` tells of them."""

from __future__ import annotations

import difflib
import inspect

import msgspec

from greenroom.plugins._ids import parse
from greenroom.plugins._kinds import Kind, UnknownIdError
from greenroom.plugins._livekit import installed
from greenroom.plugins._plugin import Registration
from greenroom.plugins._protocols import gives
from greenroom.plugins._registry import Listing, Registry, registry


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a part without making it.

    :param gives: what it has to be.
    :param takes: its options with their defaults, as its function declares them; empty when that is not known.
    :param about: its function's whole docstring.
    """

    listing: Listing
    gives: str = ""
    takes: tuple[str, ...] = ()
    about: str = ""


def listings(kind: Kind | None = None, *, plugins: Registry | None = None) -> list[Listing]:
    """Return what is registered and what LiveKit's installed plugins bring, by kind and id.

    :param kind: only these; plugins that could not be loaded are always told of, for what they bring is not known.
    """
    order = list(Kind)
    found = [*(plugins or registry()).listings(), *installed()]
    kept = [each for each in found if kind is None or each.kind in {kind, ""}]
    return sorted(kept, key=lambda each: (order.index(Kind(each.kind)) if each.kind else len(order), each.id))


def describe(name: str, *, plugins: Registry | None = None) -> list[Description]:
    """Return what is known of everything that an id may name, whatever its kind. Imports nothing further.

    :raises UnknownIdError: when nothing has the id.
    """
    there = plugins or registry()
    every = listings(plugins=there)
    found = [each for each in every if each.id == name]
    if not found:
        # Not as it stands: then with a language, a voice or a model.
        found = [each for each in every if each.kind and each.id in _names(Kind(each.kind), name)]
    if not found:
        near = difflib.get_close_matches(name, [each.id for each in every], n=3)
        hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else "See what there is: greenroom plugins"
        raise UnknownIdError(f"No plugin here has the id '{name}'", fix=hint, context={"id": name})
    return [_description(each, there) for each in found]


def _names(kind: Kind, name: str) -> set[str]:
    wanted = parse(kind, name)
    return {wanted.name, wanted.provider}


def _description(listing: Listing, plugins: Registry) -> Description:
    if not listing.kind:
        return Description(listing=listing)
    kind = Kind(listing.kind)
    part = plugins.find(kind, listing.id) if listing.state in {"ready", "missing"} else None
    return Description(
        listing=listing,
        gives=gives(kind),
        takes=_options(part) if part else (),
        about=(inspect.getdoc(part.make) or "") if part else "",
    )


def _options(part: Registration) -> tuple[str, ...]:
    if part.kind is Kind.TOOL and not inspect.isclass(part.make):
        return ()
    try:
        return tuple(str(each) for each in inspect.signature(part.make).parameters.values())
    except (TypeError, ValueError):
        return ()
