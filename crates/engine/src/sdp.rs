//! What the engine reads from offers and changes in answers, as text.
//!
//! str0m parses and writes the SDP. It has no setter for a stream's msid and answers a section the client
//! wants to receive on as `sendonly`, so the answer is edited here (RFC 8829 section 5.3.1).

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::config::{MAX_OFFER, MAX_SECTIONS};

/// One media section of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Value of `a=mid`.
    pub mid: String,
    /// `audio`, `video` or `application`.
    pub kind: String,
    /// Direction the client offered, `inactive` for a rejected section.
    pub direction: String,
    /// Second token of `a=msid`, empty without one.
    pub cid: String,
}

/// What an answered media section is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the section is answered `inactive`.
    Inactive,
    /// The client's track: the section is answered `recvonly`.
    Receive {
        /// Ask an Opus sender to be silent when the speaker is.
        dtx: bool,
        /// Ask an Opus sender for two channels.
        stereo: bool,
    },
    /// Another's track: the section is answered `sendonly` with `a=msid:<stream> <track>`.
    Send {
        /// First token of the msid.
        stream: String,
        /// Second token of the msid.
        track: String,
    },
}

/// Plans by mid. Media sections that are not in it are answered `inactive`.
pub type Plans = HashMap<String, Plan>;

/// Read the sections of an offer, without the context of earlier ones.
pub fn inspect_offer(offer: &str) -> Result<Vec<Section>, String> {
    inspect(offer, &[])
}

/// Refuse plans that an offer leaves no room for.
pub fn check_plans(sections: &[Section], plans: &Plans) -> Result<(), String> {
    for section in sections.iter().filter(|section| section.kind != "application") {
        let Section { mid, direction, .. } = section;
        let fits = match plans.get(mid) {
            None | Some(Plan::Inactive) => true,
            Some(Plan::Receive { .. }) => matches!(direction.as_str(), "sendonly" | "sendrecv"),
            Some(Plan::Send { stream, track }) => {
                if [stream, track].iter().any(|name| name.is_empty() || name.contains(char::is_whitespace)) {
                    return Err(format!("the msid planned for section {mid} is not two words"));
                }
                matches!(direction.as_str(), "recvonly" | "sendrecv")
            }
        };
        if !fits {
            return Err(format!("section {mid} is {direction}, which leaves no room for its plan"));
        }
    }
    Ok(())
}

/// Read the sections of an offer and refuse what the engine cannot answer.
///
/// `known` are the mids of the sections already negotiated, in order. str0m changes its state before it has
/// checked everything, so whatever it would refuse half-way is refused here, in words for the caller.
pub fn inspect(offer: &str, known: &[String]) -> Result<Vec<Section>, String> {
    if offer.len() > MAX_OFFER {
        return Err(format!("the offer is larger than {MAX_OFFER} bytes"));
    }
    let sections = sections(offer);
    if sections.is_empty() || sections.len() > MAX_SECTIONS {
        return Err(format!("the offer has {} sections, expected 1 to {MAX_SECTIONS}", sections.len()));
    }
    for prefix in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
        if !lines(offer).any(|line| line.starts_with(prefix)) {
            return Err(format!("the offer has no {}", prefix.trim_end_matches(':')));
        }
    }
    if lines(offer).any(|line| line == "a=ice-lite") {
        return Err("the offer comes from another ICE-lite endpoint".into());
    }
    if let Some(line) = lines(offer).find(|line| line.starts_with("m=") && !is_media_line(line)) {
        return Err(format!("'{line}' is not a media line"));
    }
    if let Some(payload_type) = ambiguous_payload_type(offer) {
        return Err(format!("payload type {payload_type} of the offer stands for two things"));
    }
    let mut mids = HashSet::new();
    for (index, section) in sections.iter().enumerate() {
        if section.mid.is_empty() {
            return Err(format!("section {index} of the offer has no a=mid"));
        }
        // str0m replaces other characters and cuts what is longer.
        if section.mid.len() > 16 || section.mid.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            return Err(format!("mid {} is not 1 to 16 letters, digits and underscores", section.mid));
        }
        if !mids.insert(section.mid.as_str()) {
            return Err(format!("two sections of the offer have mid {}", section.mid));
        }
        if let Some(before) = known.iter().position(|mid| *mid == section.mid)
            && before != index
        {
            return Err(format!("section with mid {} moved from place {before} to {index}", section.mid));
        }
    }
    if sections.len() < known.len() {
        return Err(format!("the offer has {} sections, {} were negotiated", sections.len(), known.len()));
    }
    Ok(sections)
}

/// What an audio section is not granted: it would make every receiver of speech report on it twenty times a second
/// (transport-wide feedback), and every packet carry its own time. Video, whose rate can be adapted, keeps both.
const NOT_FOR_AUDIO: [&str; 3] = [
    " http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    " http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    " transport-cc",
];

/// Edit an offer before str0m reads it: leave out what it would grant and should not.
pub fn edit_offer(offer: &str) -> String {
    let mut edited = String::with_capacity(offer.len());
    for part in split_sections(offer) {
        let audio = part.starts_with("m=audio");
        let unwanted = |line: &str| line.starts_with("a=") && NOT_FOR_AUDIO.iter().any(|end| line.ends_with(end));
        let layer = granted_layer(part);
        for line in lines(part).filter(|line| !(audio && unwanted(line))) {
            match layer {
                Some(layer) if line.starts_with("a=simulcast:") => edited.extend(["a=simulcast:send ", layer]),
                Some(layer) if attribute(line, "a=rid:").is_some_and(|(name, _)| name != layer) => continue,
                _ => edited.push_str(line),
            }
            edited.push_str("\r\n");
        }
    }
    edited
}

/// LiveKit's names of simulcast layers, the largest first. Clients list them in any order.
const LAYERS: [&str; 6] = ["f", "h", "q", "0", "1", "2"];

/// Of a section's simulcast layers (RFC 8853 section 5.1) the one that is taken in: the largest, and of layers with
/// other names the first. The client then sends no other.
fn granted_layer(section: &str) -> Option<&str> {
    let list = lines(section).find_map(|line| line.strip_prefix("a=simulcast:send "))?.split(' ').next()?;
    // Of alternatives the first; a tilde says that the layer is paused for now.
    let names = || list.split(';').filter_map(|layer| Some(layer.split(',').next()?.trim_start_matches('~')));
    LAYERS.iter().find_map(|wanted| names().find(|name| name == wanted)).or_else(|| names().next())
}

/// Edit str0m's answer.
///
/// `plan` says for a mid what the section carries. Sections that are not sent on lose their msid and ssrc
/// lines. The `ufrag` of candidates goes, because it would be stale after a restart (it only repeats the
/// section's own); `creds` replaces the ICE credentials.
pub fn edit_answer(answer: &str, creds: (&str, &str), mut plan: impl FnMut(&str) -> Plan) -> String {
    let mut edited = String::with_capacity(answer.len());
    for (index, part) in split_sections(answer).enumerate() {
        let mid = lines(part).find_map(|line| line.strip_prefix("a=mid:"));
        let media = index > 0 && !part.starts_with("m=application");
        let plan = mid.filter(|_| media).map(&mut plan);
        for line in lines(part) {
            edit_line(&mut edited, line, creds, plan.as_ref());
        }
    }
    edited
}

fn edit_line(out: &mut String, line: &str, (ufrag, password): (&str, &str), plan: Option<&Plan>) {
    // Writing to a String does not fail.
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(format_args!("{text}\r\n")).unwrap_or_default();
    if line.starts_with("a=candidate:") {
        let end = line.find(" ufrag ").unwrap_or(line.len());
        return put(format_args!("{}", &line[..end]));
    }
    if line.starts_with("a=msid-semantic:") {
        // It would name streams that are not there.
        return put(format_args!("a=msid-semantic: WMS *"));
    }
    if line.starts_with("a=ice-ufrag:") {
        return put(format_args!("a=ice-ufrag:{ufrag}"));
    }
    if line.starts_with("a=ice-pwd:") {
        return put(format_args!("a=ice-pwd:{password}"));
    }
    match plan {
        Some(plan @ (Plan::Inactive | Plan::Receive { .. })) => {
            if is_direction(line) {
                let direction = if *plan == Plan::Inactive { "inactive" } else { "recvonly" };
                put(format_args!("a={direction}"));
            } else if let (Plan::Receive { dtx, stereo }, true) = (plan, is_opus_format(line)) {
                let dtx = if *dtx { ";usedtx=1" } else { "" };
                let stereo = if *stereo { ";stereo=1" } else { "" };
                put(format_args!("{line}{dtx}{stereo}"));
            } else if !(line.starts_with("a=msid:") || line.starts_with("a=ssrc")) {
                put(format_args!("{line}"));
            }
        }
        Some(Plan::Send { stream, track }) => {
            if is_direction(line) {
                put(format_args!("a=sendonly"));
            } else if line.starts_with("a=msid:") {
                put(format_args!("a=msid:{stream} {track}"));
            } else if let Some((head, _)) = line.split_once(" msid:").filter(|_| line.starts_with("a=ssrc:")) {
                put(format_args!("{head} msid:{stream} {track}"));
            } else {
                put(format_args!("{line}"));
            }
        }
        None => put(format_args!("{line}")),
    }
}

/// str0m writes the format of Opus as `minptime=10;useinbandfec=1`.
fn is_opus_format(line: &str) -> bool {
    line.starts_with("a=fmtp:") && line.contains("minptime=")
}

/// The largest message the other side takes (RFC 8841 section 6.1: 64 kB unless it says otherwise, 0 is any).
pub fn max_message(sdp: &str) -> usize {
    match lines(sdp).find_map(|line| line.strip_prefix("a=max-message-size:")?.trim().parse().ok()) {
        None => 65_536,
        Some(0) => usize::MAX,
        Some(bytes) => bytes,
    }
}

fn sections(sdp: &str) -> Vec<Section> {
    split_sections(sdp).skip(1).map(section).collect()
}

fn section(text: &str) -> Section {
    let kind = text.strip_prefix("m=").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let value = |prefix: &str| lines(text).find_map(|line| line.strip_prefix(prefix)).unwrap_or_default().trim();
    // RFC 8866 section 6.7: without an attribute a media section is sendrecv.
    let direction = lines(text).find(|line| is_direction(line)).map_or("sendrecv", |line| &line[2..]);
    // RFC 8843 section 7.2: port 0 rejects a section, unless it only waits for its bundle.
    let rejected = text.split(' ').nth(1) == Some("0") && !lines(text).any(|line| line == "a=bundle-only");
    let direction = if rejected { "inactive" } else { direction };
    Section {
        mid: value("a=mid:").to_owned(),
        kind: kind.to_owned(),
        direction: direction.to_owned(),
        cid: value("a=msid:").split_whitespace().nth(1).unwrap_or_default().to_owned(),
    }
}

/// The session part, then each section from its `m=` line on.
fn split_sections(sdp: &str) -> impl Iterator<Item = &str> {
    let starts = sdp.match_indices("m=").map(|(at, _)| at).filter(|&at| at == 0 || sdp.as_bytes()[at - 1] == b'\n');
    let mut ends: Vec<usize> = starts.collect();
    ends.push(sdp.len());
    ends.into_iter().scan(0, |start, end| {
        let part = &sdp[*start..end];
        *start = end;
        Some(part)
    })
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty())
}

/// A payload type with two meanings. In one bundle it may only have one (RFC 8843 section 9.1), and every
/// codec has one retransmission type of its own. str0m panics on some that do not.
fn ambiguous_payload_type(offer: &str) -> Option<&str> {
    let mut meanings: HashMap<&str, Meaning<'_>> = HashMap::new();
    for section in split_sections(offer).skip(1) {
        let mut here: HashMap<&str, Meaning<'_>> = HashMap::new();
        for line in lines(section) {
            if let Some((payload_type, codec)) = attribute(line, "a=rtpmap:") {
                let meaning = here.entry(payload_type).or_default();
                if !std::mem::take(&mut meaning.codec).is_empty() {
                    return Some(payload_type);
                }
                meaning.codec = codec.to_ascii_lowercase();
            } else if let Some((payload_type, parameters)) = attribute(line, "a=fmtp:") {
                here.entry(payload_type).or_default().format = identifying(parameters);
            }
        }
        for (payload_type, meaning) in here {
            if meanings.get(payload_type).is_some_and(|before| *before != meaning) {
                return Some(payload_type);
            }
            meanings.insert(payload_type, meaning);
        }
    }
    let mut primaries = HashSet::new();
    let is_rtx = |meaning: &Meaning<'_>| meaning.codec.starts_with("rtx/");
    let mut rtx = meanings.iter().filter_map(|(rtx, meaning)| Some((rtx, meaning, meaning.primary()?)));
    rtx.find(|(_, meaning, primary)| {
        !is_rtx(meaning) || meanings.get(primary).is_none_or(is_rtx) || !primaries.insert(*primary)
    })
    .map(|(rtx, _, _)| *rtx)
}

/// What one section says of a payload type.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning<'a> {
    codec: String,
    format: Vec<&'a str>,
}

impl<'a> Meaning<'a> {
    /// The payload type that this one retransmits (RFC 4588 section 8.6).
    fn primary(&self) -> Option<&'a str> {
        self.format.iter().find_map(|parameter| parameter.strip_prefix("apt="))
    }
}

/// The parameters that make a format another codec. Others, such as Opus's stereo, may differ by section.
fn identifying(parameters: &str) -> Vec<&str> {
    let telling = ["apt=", "packetization-mode=", "profile-level-id=", "profile-id=", "profile="];
    let parameters = parameters.split(';').map(str::trim);
    parameters.filter(|parameter| telling.iter().any(|name| parameter.starts_with(name))).collect()
}

/// The payload type of an attribute and what follows it.
fn attribute<'a>(line: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(prefix)?.split_once(' ')
}

/// RFC 8866 section 5.14: `m=<kind> <port> <protocol> <format> ...`
fn is_media_line(line: &str) -> bool {
    let fields: Vec<&str> = line[2..].split(' ').collect();
    fields.len() >= 4 && fields[1].parse::<u16>().is_ok()
}

fn is_direction(line: &str) -> bool {
    matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive")
}
