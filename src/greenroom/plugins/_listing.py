"""All parts that there are, as ``greenroom plugins`` tells of them."""

from __future__ import annotations

from greenroom.plugins._kinds import Kind
from greenroom.plugins._livekit import installed
from greenroom.plugins._registry import Listing, Registry, registry


def listings(kind: Kind | None = None, *, plugins: Registry | None = None) -> list[Listing]:
    """Return what is registered and what LiveKit's installed plugins bring, by kind and id.

    :param kind: only these; plugins that could not be loaded are always told of, for what they bring is not known.
    """
    order = list(Kind)
    found = [*(plugins or registry()).listings(), *installed()]
    kept = [each for each in found if kind is None or each.kind in {kind, ""}]
    return sorted(kept, key=lambda each: (order.index(Kind(each.kind)) if each.kind else len(order), each.id))
