"""Parts that others bring: providers, tools, observers, memories, stores. ``docs/plugins.md`` is the manual.

:func:`resolve` makes one from its id, ``deepgram/nova-3`` or ``offline/flite:slt``. Plugins are found through entry
points of the group ``greenroom.plugins``. Importing this package imports none of them.
"""

from __future__ import annotations

from greenroom.plugins._ids import Id, parse
from greenroom.plugins._kinds import Kind, PluginError, UnknownIdError
from greenroom.plugins._listing import Description, describe, listings
from greenroom.plugins._plugin import Plugin, Register, Registration
from greenroom.plugins._protocols import (
    Memento,
    Memory,
    Message,
    Messaging,
    Observer,
    Policy,
    Receipt,
    Score,
    Scorer,
    Sink,
    Store,
    TurnDetector,
    gives,
)
from greenroom.plugins._registry import GROUP, Listing, Registry, Source, registry
from greenroom.plugins._resolve import prepare, resolve

__all__ = [
    "GROUP",
    "Description",
    "Id",
    "Kind",
    "Listing",
    "Memento",
    "Memory",
    "Message",
    "Messaging",
    "Observer",
    "Plugin",
    "PluginError",
    "Policy",
    "Receipt",
    "Register",
    "Registration",
    "Registry",
    "Score",
    "Scorer",
    "Sink",
    "Source",
    "Store",
    "TurnDetector",
    "UnknownIdError",
    "describe",
    "gives",
    "listings",
    "parse",
    "prepare",
    "registry",
    "resolve",
]
