//! LiveKit's signalling, as far as a client that talks and listens needs it. The messages are LiveKit's own.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use livekit_protocol as livekit;
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use prost::Message;

/// How long a token made here lasts, in seconds.
const TOKEN_LIFE: u64 = 3600;

/// Who a client is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The room it joins.
    pub room: String,
    /// Its name in it.
    pub name: String,
}

/// Sign a participant's token (docs/protocol.md, Tokens).
pub fn token(key: &str, secret: &str, who: &Identity) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = serde_json::json!({
        "iss": key,
        "sub": who.name,
        "nbf": now,
        "exp": now + TOKEN_LIFE,
        "video": {"roomJoin": true, "room": who.room},
    });
    let head = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// The path and query of a join that carries the client's first offer.
pub fn join_path(offer: String, auto_subscribe: bool) -> String {
    let request = livekit::JoinRequest {
        client_info: Some(livekit::ClientInfo {
            sdk: livekit::client_info::Sdk::Rust.into(),
            version: "1.1.21".into(),
            protocol: 17,
            client_protocol: 2,
            ..Default::default()
        }),
        connection_settings: Some(livekit::ConnectionSettings { auto_subscribe, ..Default::default() }),
        publisher_offer: Some(livekit::SessionDescription { r#type: "offer".into(), sdp: offer, ..Default::default() }),
        ..Default::default()
    };
    let wrapped = livekit::WrappedJoinRequest { join_request: request.encode_to_vec(), ..Default::default() };
    // The padding is the only character that a query has to escape.
    format!("/rtc/v1?join_request={}", BASE64URL.encode(&wrapped.encode_to_vec()).replace('=', "%3D"))
}

/// Ask for a track of audio.
pub fn add_track(cid: &str) -> Vec<u8> {
    let request = livekit::AddTrackRequest {
        cid: cid.into(),
        name: "microphone".into(),
        r#type: livekit::TrackType::Audio.into(),
        source: livekit::TrackSource::Microphone.into(),
        ..Default::default()
    };
    frame(Request::AddTrack(request))
}

/// Offer again.
pub fn offer(sdp: String) -> Vec<u8> {
    frame(Request::Offer(livekit::SessionDescription { r#type: "offer".into(), sdp, ..Default::default() }))
}

/// Ask to receive tracks.
pub fn subscribe(track_sids: Vec<String>) -> Vec<u8> {
    frame(Request::Subscription(livekit::UpdateSubscription { track_sids, subscribe: true, ..Default::default() }))
}

/// Show that somebody is there.
pub fn ping() -> Vec<u8> {
    frame(Request::PingReq(livekit::Ping::default()))
}

/// Say goodbye.
pub fn leave() -> Vec<u8> {
    let reason = livekit::DisconnectReason::ClientInitiated.into();
    frame(Request::Leave(livekit::LeaveRequest { reason, ..Default::default() }))
}

fn frame(message: Request) -> Vec<u8> {
    livekit::SignalRequest { message: Some(message) }.encode_to_vec()
}

/// What a server says that a client has to act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The client is in.
    Joined,
    /// The answer to its offer.
    Answer(String),
    /// Its track is announced; the section may be offered.
    Published,
    /// Offer again, with so many more audio sections.
    Sections(usize),
    /// Another candidate: the value of `candidate` in the trickle.
    Candidate(String),
    /// Stay away, and why.
    Leave(String),
    /// The request for a track was refused, and why.
    Refused(String),
    /// Nothing of interest.
    Nothing,
}

/// Reads what a server says, and remembers which tracks there are.
#[derive(Debug, Default)]
pub struct Reader {
    own: String,
    known: HashSet<String>,
    /// Tracks of others that are new since they were last taken.
    pub tracks: Vec<String>,
}

impl Reader {
    /// Read a frame.
    pub fn read(&mut self, frame: &[u8]) -> Result<Said, String> {
        let response = livekit::SignalResponse::decode(frame).map_err(|error| error.to_string())?;
        Ok(match response.message {
            Some(Response::Join(join)) => {
                self.own = join.participant.map(|own| own.sid).unwrap_or_default();
                self.learn(&join.other_participants);
                Said::Joined
            }
            Some(Response::Update(update)) => {
                self.learn(&update.participants);
                Said::Nothing
            }
            Some(Response::Answer(answer)) => Said::Answer(answer.sdp),
            Some(Response::TrackPublished(_)) => Said::Published,
            Some(Response::MediaSectionsRequirement(wanted)) => Said::Sections(wanted.num_audios as usize),
            Some(Response::Trickle(trickle)) => {
                let init: serde_json::Value =
                    serde_json::from_str(&trickle.candidate_init).map_err(|error| error.to_string())?;
                Said::Candidate(init["candidate"].as_str().unwrap_or_default().to_owned())
            }
            Some(Response::Leave(leave)) => Said::Leave(leave.reason().as_str_name().to_owned()),
            Some(Response::RequestResponse(answer)) if answer.reason != 0 => {
                Said::Refused(format!("{} {}", answer.reason().as_str_name(), answer.message))
            }
            _ => Said::Nothing,
        })
    }

    fn learn(&mut self, participants: &[livekit::ParticipantInfo]) {
        for track in participants.iter().filter(|other| other.sid != self.own).flat_map(|other| &other.tracks) {
            if self.known.insert(track.sid.clone()) {
                self.tracks.push(track.sid.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: Response) -> (Reader, Said) {
        let mut reader = Reader::default();
        let frame = livekit::SignalResponse { message: Some(message) }.encode_to_vec();
        let said = reader.read(&frame).unwrap();
        (reader, said)
    }

    fn participant(sid: &str, track: &str) -> livekit::ParticipantInfo {
        let track = livekit::TrackInfo { sid: track.into(), ..Default::default() };
        livekit::ParticipantInfo { sid: sid.into(), tracks: vec![track], ..Default::default() }
    }

    #[test]
    fn tracks_of_others_are_learnt_once_each() {
        let join = livekit::JoinResponse {
            participant: Some(participant("PA_me", "TR_mine")),
            other_participants: vec![participant("PA_a", "TR_a")],
            ..Default::default()
        };
        let (mut reader, joined) = said(Response::Join(join));
        assert_eq!((joined, std::mem::take(&mut reader.tracks)), (Said::Joined, vec!["TR_a".to_owned()]));
        let participants =
            vec![participant("PA_me", "TR_mine"), participant("PA_a", "TR_a"), participant("PA_b", "TR_b")];
        let update = Response::Update(livekit::ParticipantUpdate { participants });
        reader.read(&livekit::SignalResponse { message: Some(update) }.encode_to_vec()).unwrap();
        assert_eq!(reader.tracks, ["TR_b"]);
    }

    #[test]
    fn what_a_client_has_to_act_on_is_told_in_its_words() {
        let leave =
            livekit::LeaveRequest { reason: livekit::DisconnectReason::DuplicateIdentity.into(), ..Default::default() };
        assert_eq!(said(Response::Leave(leave)).1, Said::Leave("DUPLICATE_IDENTITY".into()));
        let wanted = livekit::MediaSectionsRequirement { num_audios: 2, num_videos: 0 };
        assert_eq!(said(Response::MediaSectionsRequirement(wanted)).1, Said::Sections(2));
        let candidate_init = r#"{"candidate":"candidate:1 1 udp 1 10.0.0.1 7882 typ host","sdpMid":"0"}"#.into();
        let trickle = livekit::TrickleRequest { candidate_init, ..Default::default() };
        let Said::Candidate(line) = said(Response::Trickle(trickle)).1 else { panic!() };
        assert!(line.starts_with("candidate:1"));
        assert!(Reader::default().read(&[0xff; 9]).is_err());
    }

    #[test]
    fn a_token_has_three_parts_and_a_join_no_character_to_escape() {
        let who = Identity { room: "r".into(), name: "n".into() };
        assert_eq!(token("key", "secret", &who).split('.').count(), 3);
        let path = join_path("v=0".into(), true);
        assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=_-%".contains(&byte)), "{path}");
    }
}
