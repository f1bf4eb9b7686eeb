"""One published track, and how LiveKit describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from livekit.protocol import models, rtc

from greenroom._media import Receive, TrackId
from greenroom.ids import Prefix, new_id

if TYPE_CHECKING:
    from greenroom.server.room import Participant

Source = models.TrackSource
Kind = models.TrackType

#: Kinds of tracks that are carried.
SERVED: Final = frozenset({Kind.AUDIO, Kind.VIDEO})

_KIND_NAMES: Final = {Kind.AUDIO: "audio", Kind.VIDEO: "video", Kind.DATA: "data"}
_CODECS: Final = {codec.lower(): codec for codec in ("VP8", "H264", "VP9", "AV1")}
_KIND_LETTERS: Final = {Kind.AUDIO: "A", Kind.VIDEO: "V"}
_SOURCE_LETTERS: Final = {
    Source.CAMERA: "C",
    Source.MICROPHONE: "M",
    Source.SCREEN_SHARE: "S",
    Source.SCREEN_SHARE_AUDIO: "s",
}
_STREAMS: Final = {
    Source.CAMERA: "camera",
    Source.MICROPHONE: "camera",
    Source.SCREEN_SHARE: "screen",
    Source.SCREEN_SHARE_AUDIO: "screen",
}


class Track:
    """A track from the moment its publisher announced it.

    :param number: the engine's name for it.
    """

    def __init__(self, number: TrackId, owner: Participant, request: rtc.AddTrackRequest, now: float) -> None:
        self.number = number
        self.owner = owner
        self.cid = request.cid
        #: Every id under which the section may come.
        self.cids = {request.cid, *(codec.cid for codec in request.simulcast_codecs)} - {""}
        self.info = _info(request)
        #: LiveKit's name for it.
        self.sid = self.info.sid
        #: ``audio`` or ``video``, as in SDP.
        self.kind = _KIND_NAMES[request.type]
        #: The publisher's section; empty until it has been offered.
        self.mid = ""
        #: Sids of those who receive it or wait for a section to receive it in.
        self.audience: set[str] = set()
        #: Whether the publisher has been told that somebody listens.
        self.was_received = False
        self.touch(now)

    def __repr__(self) -> str:
        return f"Track({self.sid}, mid={self.mid!r}, audience={len(self.audience)})"

    @property
    def receive(self) -> Receive:
        """How the publisher's section is to be answered."""
        return Receive(dtx=not self.info.disable_dtx, stereo=self.info.stereo)

    def bind(self, mid: str) -> None:
        """Note the section in which the publisher sends."""
        self.mid = self.info.mid = mid
        for codec in self.info.codecs:
            codec.mid = mid

    def update(self, update: rtc.UpdateLocalAudioTrack | rtc.UpdateLocalVideoTrack) -> None:
        """Take over what the publisher says of a track that it has announced before."""
        if isinstance(update, rtc.UpdateLocalAudioTrack):
            _set_features(self.info, update.features)
        else:
            self.info.width, self.info.height = update.width, update.height

    def touch(self, now: float) -> None:
        """Note a change of the info."""
        self.info.version.unix_micro = int(now * 1_000_000)


def _info(request: rtc.AddTrackRequest) -> models.TrackInfo:
    mime_type = _mime_type(request)
    layers = _layers(request)
    stereo = request.stereo or models.TF_STEREO in request.audio_features
    info = models.TrackInfo(
        sid=_new_sid(request),
        type=request.type,
        name=request.name,
        muted=request.muted,
        source=request.source,
        width=request.width,
        height=request.height,
        disable_dtx=request.disable_dtx or models.TF_NO_DTX in request.audio_features,
        layers=layers,
        mime_type=mime_type,
        codecs=[models.SimulcastCodecInfo(mime_type=mime_type, cid=request.cid, layers=layers)],
        stereo=stereo,
        disable_red=request.disable_red,
        encryption=request.encryption,
        stream=request.stream or _STREAMS.get(request.source, "unknown"),
        backup_codec_policy=request.backup_codec_policy,
        packet_trailer_features=request.packet_trailer_features,
    )
    _set_features(info, request.audio_features)
    return info


def _mime_type(request: rtc.AddTrackRequest) -> str:
    """Return what the track will be sent in; empty for video whose publisher has not said."""
    if request.type == Kind.AUDIO:
        return "audio/opus"
    codec = request.simulcast_codecs[0].codec if request.simulcast_codecs else ""
    name = _CODECS.get(codec.lower().removeprefix("video/"), "")
    return name and f"video/{name}"


def _layers(request: rtc.AddTrackRequest) -> list[models.VideoLayer]:
    """Return the one layer that is taken in, of however many were announced; alone it counts as high."""
    announced = request.layers or (request.simulcast_codecs[0].layers if request.simulcast_codecs else ())
    layer = models.VideoLayer()
    for largest in sorted(announced, key=lambda layer: layer.width * layer.height)[-1:]:
        layer.CopyFrom(largest)
        layer.quality = models.HIGH
        return [layer]
    return []


def _set_features(info: models.TrackInfo, features: Iterable[models.AudioTrackFeature]) -> None:
    """Replace the audio features; what was negotiated (stereo, DTX) stays true to the track."""
    wanted = set(features) - {models.TF_STEREO, models.TF_NO_DTX}
    if info.stereo:
        wanted.add(models.TF_STEREO)
    if info.disable_dtx and info.type == Kind.AUDIO:
        wanted.add(models.TF_NO_DTX)
    info.ClearField("audio_features")
    info.audio_features.extend(sorted(wanted))


def _new_sid(request: rtc.AddTrackRequest) -> str:
    letters = _KIND_LETTERS.get(request.type, "") + _SOURCE_LETTERS.get(request.source, "")
    return Prefix.TRACK + letters + new_id(Prefix.TRACK).removeprefix(Prefix.TRACK)
