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

# How many keys gather in memory before they are filed. When the log is opened, they are read again.
_UNFILED: Final = 2_000
# How many are filed with one batch of appends, so that none takes much longer than the others.
_AT_ONCE: Final = 256


class Keys:
    """Belongs to the thread and the connection that write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unfiled: dict[tuple[str, str], Place] = {}
        # What is being filed, last first, and up to which event.
        self._filing: list[tuple[tuple[str, str], Place]] = []
        self._through = 0
        self._filed = False

    def reload(self) -> None:
        """Read what is not filed, in a transaction."""
        self._filing = []
        self._filed = False
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
        """File some of what is in memory once there is enough of it. ``position`` is that of the last event."""
        if not self._filing:
            if len(self._unfiled) < _UNFILED:
                return
            self._filing = sorted(self._unfiled.items(), reverse=True)
            self._through = position
        some = self._filing[-_AT_ONCE:][::-1]
        del self._filing[-_AT_ONCE:]
        # After a crash half-way, some are filed already.
        rows = [(*key, *place) for key, place in some]
        insert(self._connection, "INSERT OR IGNORE INTO keys (tenant, key, position, seq)", rows)
        if not self._filing:
            self._connection.execute("UPDATE filed SET position = ?", (self._through,))
            self._filed = True

    def keep(self, rows: Sequence[Row]) -> None:
        """Remember what has just become durable."""
        if self._filed:
            through = self._through
            self._unfiled = {key: place for key, place in self._unfiled.items() if place.position > through}
            self._filed = False
        for row in rows:
            if row.key:
                self._unfiled[row.tenant, row.key] = Place(row.position, row.seq)
