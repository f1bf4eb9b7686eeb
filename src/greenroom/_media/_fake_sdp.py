"""Template SDP for the fake engine: enough of RFC 8866 and RFC 9429 to answer what LiveKit clients offer."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from greenroom._media._engine import NO_PLAN, Plan, Receive, Section, Send
from greenroom.errors import MediaEngineError

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_KINDS = ("audio", "video", "application")
# What an answer repeats from the offer: payload types and header extensions.
_NEGOTIATED = ("rtpmap:", "fmtp:", "rtcp-fb:")
# What audio could use and need not: feedback on every packet, and the time of each.
_NOT_FOR_AUDIO = (
    " http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    " http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    " transport-cc",
)
_FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)


@dataclass(slots=True)
class OfferedSection:
    """One ``m=`` block of an offer, as its lines."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    lines: list[str] = field(default_factory=list)

    def attribute(self, name: str) -> str | None:
        """Return the value of the first ``a=name:value`` line."""
        prefix = f"a={name}:"
        return next((line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)), None)

    @property
    def direction(self) -> str:
        """The offered direction, ``sendrecv`` when none is written (RFC 8866 section 6.7)."""
        return next((name for name in _DIRECTIONS if f"a={name}" in self.lines), "sendrecv")

    def section(self) -> Section:
        """Return what the seam tells about this section."""
        msid = (self.attribute("msid") or "").split()
        return Section(
            mid=self.attribute("mid") or "",
            kind=self.kind,
            direction="inactive" if _rejected(self) else self.direction,
            cid=msid[1] if len(msid) > 1 else "",
        )


@dataclass(slots=True)
class Offer:
    """A parsed offer."""

    sections: list[OfferedSection]
    ufrag: str


def parse_offer(sdp: str) -> Offer:
    """Read an offer. Raises :class:`MediaEngineError` when no transport could be made from it."""
    lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0] != "v=0":
        raise _unusable("it does not begin with v=0")
    session = OfferedSection("", 0, "", [])
    sections: list[OfferedSection] = []
    for line in lines[1:]:
        if len(line) < 2 or line[1] != "=":
            raise _unusable("a line is not of the form x=value")
        if line.startswith("m="):
            sections.append(_media_line(line))
        else:
            (sections[-1] if sections else session).lines.append(line)
    _check(session, sections)
    ufrag = _either(session, sections, "ice-ufrag")
    return Offer(sections, ufrag)


def _media_line(line: str) -> OfferedSection:
    parts = line[2:].split()
    if len(parts) < 4 or parts[0] not in _KINDS or not parts[1].isdigit():
        raise _unusable("a media line is malformed")
    return OfferedSection(kind=parts[0], port=int(parts[1]), protocol=parts[2], formats=parts[3:])


def _check(session: OfferedSection, sections: Sequence[OfferedSection]) -> None:
    if not sections:
        raise _unusable("it has no media section")
    mids = [section.attribute("mid") for section in sections]
    if None in mids or len(set(mids)) != len(mids):
        raise _unusable("its sections are not told apart by a=mid")
    for name in ("ice-ufrag", "ice-pwd", "fingerprint"):
        if not _either(session, sections, name):
            raise _unusable(f"it has no a={name}")


def _either(session: OfferedSection, sections: Iterable[OfferedSection], name: str) -> str:
    return next((value for part in (session, *sections) if (value := part.attribute(name))), "")


def _unusable(why: str) -> MediaEngineError:
    return MediaEngineError(f"The offer cannot be used: {why}", fix="Send a complete WebRTC offer")


def answer(
    offer: Offer, *, seed: str, lite: bool, candidates: Sequence[str], max_message: int, plan: Plan = NO_PLAN
) -> str:
    """Write the answer to ``offer``; credentials follow from ``seed``.

    Raises :class:`MediaEngineError` for a plan that the offer leaves no room for.
    """
    mids = [part.attribute("mid") for part in offer.sections if not _rejected(part)]
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {' '.join(filter(None, mids))}"]
    if lite:
        lines.append("a=ice-lite")
    digest = hashlib.sha256(seed.encode()).hexdigest()
    transport = [
        f"a=ice-ufrag:{digest[:8]}",
        f"a=ice-pwd:{digest[8:40]}",
        f"a=fingerprint:{_FINGERPRINT}",
        "a=setup:passive",
        *(f"a={candidate}" for candidate in candidates),
        "a=end-of-candidates",
    ]
    for part in offer.sections:
        lines += _answer_section(part, transport, max_message, plan.get(part.attribute("mid") or ""))
    return "\r\n".join(lines) + "\r\n"


def _rejected(part: OfferedSection) -> bool:
    return part.port == 0 and "a=bundle-only" not in part.lines


def _answer_section(
    part: OfferedSection, transport: Sequence[str], max_message: int, planned: Receive | Send | None
) -> list[str]:
    mid = f"a=mid:{part.attribute('mid')}"
    if part.kind == "application":
        port = 0 if _rejected(part) else 9
        head = [f"m=application {port} {part.protocol} {' '.join(part.formats)}", "c=IN IP4 0.0.0.0", mid]
        return [*head, *transport, "a=sctp-port:5000", f"a=max-message-size:{max_message}"]
    red = _red_payloads(part)
    formats = [name for name in part.formats if name not in red]
    port = 0 if _rejected(part) or not formats else 9
    head = [f"m={part.kind} {port} {part.protocol} {' '.join(formats or part.formats)}", "c=IN IP4 0.0.0.0", mid]
    kept = [line for line in part.lines if line.startswith("a=extmap:") or _negotiated(line, red)]
    if part.kind == "audio":
        kept = [line for line in kept if not line.endswith(_NOT_FOR_AUDIO)]
    if isinstance(planned, Receive) and part.kind == "audio":
        kept = [_opus(line, planned) for line in kept]
    if layers := part.attribute("simulcast"):
        names = layers.removeprefix("send ").replace("~", "").split(";")
        largest = next((name for name in "fhq" if name in names), names[0])
        kept += [f"a=rid:{largest} recv", f"a=simulcast:recv {largest}"]
    return [*head, *transport, *_direction(part, planned), "a=rtcp-mux", "a=rtcp-rsize", *kept]


def ssrc(mid: str, planned: Send) -> int:
    """Return the SSRC of what is sent on a section: another for every track."""
    return zlib.crc32(f"{mid} {planned.stream} {planned.track}".encode())


def _direction(part: OfferedSection, planned: Receive | Send | None) -> list[str]:
    if planned is None:
        return ["a=inactive"]
    needed = ("sendonly", "sendrecv") if isinstance(planned, Receive) else ("recvonly", "sendrecv")
    section = part.section()
    if section.direction not in needed:
        raise _unusable(f"section {section.mid} is {section.direction}")
    if isinstance(planned, Receive):
        return ["a=recvonly"]
    msid = f"{planned.stream} {planned.track}"
    return ["a=sendonly", f"a=msid:{msid}", f"a=ssrc:{ssrc(section.mid, planned)} msid:{msid}"]


def _opus(line: str, planned: Receive) -> str:
    if not line.startswith("a=fmtp:") or "minptime" not in line:
        return line
    return line + ";usedtx=1" * planned.dtx + ";stereo=1" * planned.stereo


def _red_payloads(part: OfferedSection) -> set[str]:
    """Payload types of RED, and of the retransmissions that only serve it."""
    red = {
        line.removeprefix("a=rtpmap:").split()[0]
        for line in part.lines
        if line.startswith("a=rtpmap:") and line.split(" ", 1)[-1].lower().startswith("red/")
    }
    for line in part.lines:
        payload, _, parameters = line.removeprefix("a=fmtp:").partition(" ")
        if line.startswith("a=fmtp:") and parameters.startswith("apt=") and parameters[4:] in red:
            red.add(payload)
    return red


def _negotiated(line: str, left_out: set[str]) -> bool:
    for prefix in _NEGOTIATED:
        start = f"a={prefix}"
        if line.startswith(start):
            return line.removeprefix(start).split()[0] not in left_out
    return False


def client_offer(
    *, audio: int = 3, video: int = 3, generation: int = 0, more: Sequence[tuple[str, str, str]] = ()
) -> str:
    """Write what a single-peer-connection LiveKit client offers: data channels and receiving sections.

    :param generation: another number is an ICE restart.
    :param more: kind, direction and cid of the sections that later offers append.
    """
    transport = [
        f"a=ice-ufrag:peer{generation}",
        "a=ice-pwd:0123456789abcdef01234567",
        f"a=fingerprint:{_FINGERPRINT}",
        "a=setup:actpass",
    ]
    codecs = {
        "audio": ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1", "a=rtpmap:63 red/48000/2"],
        "video": ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"],
    }
    formats = {"audio": "111 63", "video": "96 97"}
    receiving = [("audio", "recvonly", "")] * audio + [("video", "recvonly", "")] * video
    parts = [("application", "", ""), *receiving, *more]
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines.append(f"a=group:BUNDLE {' '.join(str(mid) for mid in range(len(parts)))}")
    for mid, (kind, direction, cid) in enumerate(parts):
        if kind == "application":
            lines += ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", f"a=mid:{mid}", *transport]
            lines += ["a=sctp-port:5000", "a=max-message-size:262144"]
            continue
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats[kind]}", f"a=mid:{mid}", *transport, f"a={direction}"]
        lines += [f"a=msid:- {cid}"] * bool(cid)
        lines += ["a=rtcp-mux", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", *codecs[kind]]
    return "\r\n".join(lines) + "\r\n"
