"""``greenroom why``: how it stands with the agents of a room, and what in the log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.cli._api import Api, print_json
from greenroom.cli._options import ApiOptions
from greenroom.cli._paper import Paper, plain
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.sessions.why import Why


def why_command(options: ApiOptions, room: str, *, as_json: bool) -> int:
    """Print the explanation. Raises :class:`GreenroomError`."""
    from greenroom.sessions.why import Why  # noqa: PLC0415 - not before the options are read

    if not room.strip():
        raise ConfigError("A room needs a name", fix="For example: greenroom why lobby")
    found = Api.of(options).get("/why", Why, room=room)
    if as_json:
        print_json(found)
    else:
        print(*lines_of(found, Paper.here()), sep="\n")
    return 0


def lines_of(found: Why, paper: Paper) -> list[str]:
    """Return an explanation as lines: the answer, what to do, and the events it rests on."""
    status = "" if found.status == "unknown" else f"  {found.status}"
    lines = [f"{paper.ink(plain(found.room), 'bold')}  {found.room_sid}".rstrip() + status]
    lines += [plain(sentence) for sentence in found.answer]
    if found.fix:
        lines.append(paper.ink(plain(found.fix), "yellow"))
    if found.evidence:
        rows = [(str(each.position), paper.clock(each.at), plain(each.what)) for each in found.evidence]
        lines += ["", *paper.table(("POSITION", "TIME", "EVENT"), rows)]
    return lines
