"""``greenroom plugins``: what plugins bring, and what is wrong with those that bring nothing."""

from __future__ import annotations

import logging
from typing import Final

from greenroom.cli._api import print_json
from greenroom.cli._paper import Paper, plain
from greenroom.plugins import Description, Kind, Listing, describe, listings

_READY: Final = "ready"
_COLOURS: Final = {"missing": "yellow", "shadowed": "yellow", "broken": "red"}
# What is wrong stands in what is printed.
logging.getLogger("greenroom.plugins").addHandler(logging.NullHandler())


def list_command(kind: str | None, *, as_json: bool) -> int:
    """Print a line for each part. Raises :class:`PluginError` for a kind that there is not."""
    found = listings(Kind.of(kind) if kind is not None else None)
    if as_json:
        print_json(found)
    else:
        print(*lines_of(found, Paper.here()), sep="\n")
    return 0


def show_command(plugin_id: str, *, as_json: bool) -> int:
    """Print all that is known of an id. Raises :class:`UnknownIdError`."""
    found = describe(plugin_id)
    if as_json:
        print_json(found)
    else:
        print("\n\n".join("\n".join(description_of(each, Paper.here())) for each in found))
    return 0 if any(each.listing.state == _READY for each in found) else 1


def lines_of(found: list[Listing], paper: Paper) -> list[str]:
    """Return a table of parts, and under it what is wrong with which."""
    if not found:
        return ["no plugins of this kind"]
    rows = [(each.id, each.kind or "?", each.package, each.version, each.state, plain(each.summary)) for each in found]
    lines = paper.table(("ID", "KIND", "PACKAGE", "VERSION", "STATE", "WHAT"), rows)
    for each in found:
        if each.problem:
            said = f"{each.id}: {plain(each.problem)}" + (f". {plain(each.fix)}" if each.fix else "")
            lines.append(paper.ink(said, _COLOURS[each.state]))
    return lines


def description_of(each: Description, paper: Paper) -> list[str]:
    """Return all that is known of a part, a line for each thing."""
    part = each.listing
    said = {
        "package": f"{part.package} {part.version}".strip(),
        "state": part.state,
        "problem": part.problem,
        "fix": part.fix,
        "gives": each.gives,
        "takes": ", ".join(each.takes),
    }
    lines = [f"{paper.ink(part.id, 'bold')}  {part.kind}".rstrip()]
    lines += [f"  {name:<8} {plain(value)}" for name, value in said.items() if value]
    about = each.about or part.summary
    return lines + [f"  {plain(line)}".rstrip() for line in about.splitlines()]
