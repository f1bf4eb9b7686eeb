"""``greenroom control``: the control plane beside any LiveKit server."""

from __future__ import annotations

import logging

from greenroom.cli._options import ControlOptions
from greenroom.cli._run import announce_ready, begin_log, run
from greenroom.cli._settings import ControlTarget, control_configuration, control_of, record_of
from greenroom.config import Limits, RecordSettings
from greenroom.server import listen, serve, url_of

_log = logging.getLogger("greenroom.control")


def control_command(options: ControlOptions, *, recording: bool | None = None) -> int:
    """Serve until told to stop. Raises :class:`GreenroomError`."""
    said = control_configuration(options, recording=recording)
    begin_log(said)
    return run(_serve(control_of(said, options), record_of(said)))


async def _serve(target: ControlTarget, record: RecordSettings) -> int:
    opened = listen(target.bind, target.port)
    try:
        from greenroom.control import Access, PlaneSettings, control_app, open_plane  # noqa: PLC0415 - the port first

        access = Access(bind=target.bind, allowed_hosts=target.allowed_hosts, keys=target.keys)
        settings = PlaneSettings.of(target.data_dir, record)
        async with open_plane(target.livekit, target.keys, access, settings) as plane:
            app = control_app(target.livekit, target.keys[0], access=access, plane=plane)

            def ready() -> None:
                announce_ready(url_of(opened))
                _log.info("serving", extra={"livekit": target.livekit, "data": str(target.data_dir)})

            await serve(app, opened, limits=Limits(), on_ready=ready, on_stop=plane.hang_up)
    finally:
        opened.close()
    return 0
