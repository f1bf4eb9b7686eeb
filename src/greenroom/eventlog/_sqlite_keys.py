"""Where the events with a key stand: the newest in memory, the others filed in a table, many at a time.

Producers choose keys, so keys that come together lie far apart in any index. Filing each as it comes would write a
page of the index for each event; filed in order, by the thousand, neighbours share one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from greenroom.eventlog._chain import Append, Place, Row
from greenroom.eventlog._sqlite_rows import chunks, insert, marks

# How many keys stay in memory. When the log is opened, they are read again.
_UNFILED: Final = 2_000


class Keys:
    """Belongs to the thread and the connection that write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unfiled: dict[tuple[str, str], Place] = {}
        self._filing = False

    def reload(self) -> None:
        """Read what is not filed, in a transaction."""
        self._filing = False
        rows = self._connection.execute(
            "SELECT tenant, key, position, seq FROM events "
            "WHERE position > (SELECT position FROM filed) AND key != '' ORDER BY position"
        )
        self._unfiled = {(tenant, key): Place(position, seq) for tenant, key, position, seq in rows}

    def find(self, appends: Iterable[Append]) -> dict[tuple[str, str], Place]:
        """Return where those keys stand that ``appends`` hold and the log knows."""
        known = {}
        wanted: dict[str, list[str]] = {}
        for append in appends:
            for found in append.events:
                if found.key:
                    place = self._unfiled.get((append.tenant, found.key))
                    if place is None:
                        wanted.setdefault(append.tenant, []).append(found.key)
                    else:
                        known[append.tenant, found.key] = place
        for tenant, keys in wanted.items():
            for some in chunks(keys):
                rows = self._connection.execute(
                    f"SELECT key, position, seq FROM keys WHERE tenant = ? AND key IN ({marks(some)})",  # noqa: S608
                    (tenant, *some),
                )
                for key, position, seq in rows:
                    known[tenant, key] = Place(position, seq)
        return known

    def file(self, position: int) -> None:
        """File what is in memory when there is enough of it. All events up to ``position`` are."""
        if len(self._unfiled) < _UNFILED:
            return
        rows = [(*key, *place) for key, place in sorted(self._unfiled.items())]
        insert(self._connection, "INSERT OR IGNORE INTO keys (tenant, key, position, seq)", rows)
        self._connection.execute("UPDATE filed SET position = ?", (position,))
        self._filing = True

    def keep(self, rows: Sequence[Row]) -> None:
        """Remember what has just become durable."""
        if self._filing:
            self._unfiled.clear()
            self._filing = False
        for row in rows:
            if row.key:
                self._unfiled[row.tenant, row.key] = Place(row.position, row.seq)
