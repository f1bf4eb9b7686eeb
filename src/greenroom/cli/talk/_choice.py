"""Which microphone and loudspeaker a call by voice goes through."""

from __future__ import annotations

from pathlib import Path

from greenroom.cli.talk._devices import Device, DeviceMicrophone, DeviceSpeaker, Echo, choose, devices, table
from greenroom.cli.talk._sound import NOTHING, Microphone, Recorder, Recording, Silence, Sound, Speaker, is_file
from greenroom.errors import ConfigError


def open_sound(microphone: str, speaker: str) -> Sound:
    """Open both; empty means the machine's usual one. Needs a running event loop. Raises :class:`GreenroomError`.

    :param microphone: a device's number or part of its name, a WAV file, or ``none``.
    :param speaker: the same.
    """
    found = _Devices()
    heard = _microphone(microphone, found)
    try:
        return heard, _speaker(speaker, found)
    except BaseException:
        heard.close()
        raise


def list_sound() -> str:
    """Return the devices as lines of text. Raises :class:`GreenroomError`."""
    lines = [*table(devices())]
    if not lines:
        raise ConfigError(
            "This machine has no sound device",
            fix="Use files in place of one: --microphone QUESTION.wav --speaker ANSWER.wav",
        )
    return "\n".join(lines)


class _Devices:
    """The machine's devices, looked for when one is needed."""

    def __init__(self) -> None:
        self._found: list[Device] | None = None
        self._echo: Echo | None = None

    def choose(self, role: str, wanted: str) -> Device:
        if self._found is None:
            self._found = devices()
        return choose(self._found, role, wanted)

    @property
    def echo(self) -> Echo:
        self._echo = self._echo or Echo()
        return self._echo


def _microphone(wanted: str, found: _Devices) -> Microphone:
    if wanted == NOTHING:
        return Silence()
    if is_file(wanted):
        return Recording(Path(wanted))
    return DeviceMicrophone(found.choose("microphone", wanted), found.echo)


def _speaker(wanted: str, found: _Devices) -> Speaker:
    if wanted == NOTHING:
        return Silence()
    if is_file(wanted):
        return Recorder(Path(wanted))
    return DeviceSpeaker(found.choose("speaker", wanted), found.echo)
