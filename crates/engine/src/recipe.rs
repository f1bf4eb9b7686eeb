//! How every transport of an engine is built.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::config::DtlsCert;
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};
use str0m::{Candidate, IceCreds, Rtc};

use crate::config::SCTP_BUFFER;
use crate::demux::crypto;

/// What the transports of one engine have in common.
#[derive(Debug)]
pub struct Recipe {
    /// Addresses of the host candidates.
    pub candidates: Vec<SocketAddr>,
    /// Largest data-channel message in bytes.
    pub max_message: u32,
    cert: DtlsCert,
    extensions: ExtensionMap,
}

impl Recipe {
    /// Make a certificate and remember the rest.
    ///
    /// # Panics
    ///
    /// When the crypto library cannot make a certificate.
    pub fn new(candidates: Vec<SocketAddr>, max_message: u32) -> Self {
        let cert = crypto().dtls_provider.generate_certificate();
        let cert = cert.expect("aws-lc-rs makes certificates");
        Self { candidates, max_message, cert, extensions: extensions() }
    }

    /// Make ICE credentials of 48 and 192 random bits (RFC 8445 section 5.3 asks for 24 and 128).
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give.
    pub fn creds(&self) -> IceCreds {
        IceCreds { ufrag: random_token(8), pass: random_token(32) }
    }

    /// Build a transport that serves ICE (or checks too, unless `lite`) and waits for an offer.
    pub fn rtc(&self, lite: bool, creds: &IceCreds, now: Instant) -> Rtc {
        let mut rtc = Rtc::builder()
            .set_ice_lite(lite)
            .set_local_ice_credentials(creds.clone())
            .set_dtls_cert(self.cert.clone())
            .set_extension_map(self.extensions.clone())
            .set_rtp_mode(true)
            .set_sctp_max_buffered_amount(SCTP_BUFFER)
            .set_sctp_max_message_size(self.max_message)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .enable_vp9(true)
            .enable_av1(true)
            .build(now);
        for address in &self.candidates {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        rtc
    }
}

/// Random characters of six bits each, all of them ice-chars.
fn random_token(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = vec![0; length];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

/// Every header extension a client may ever need: libwebrtc only offers again what its first offer was granted.
fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for (id, extension) in (1..).zip([
        Extension::AudioLevel,
        Extension::AbsoluteSendTime,
        Extension::TransportSequenceNumber,
        Extension::RtpMid,
        Extension::RtpStreamId,
        Extension::RepairedRtpStreamId,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::with_serializer(DependencyDescriptor::URI, DependencyDescriptorSerializer),
    ]) {
        map.set(id, extension);
    }
    map
}

/// The AV1 dependency descriptor of a packet, as it came.
///
/// Source: AV1 RTP payload format, appendix A. The engine forwards it and does not read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyDescriptor(pub Vec<u8>);

impl DependencyDescriptor {
    /// Name of the extension in SDP.
    pub const URI: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
}

#[derive(Debug)]
struct DependencyDescriptorSerializer;

impl ExtensionSerializer for DependencyDescriptorSerializer {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(descriptor) = values.user_values.get::<DependencyDescriptor>() else { return 0 };
        let Some(room) = buf.get_mut(..descriptor.0.len()) else { return 0 };
        room.copy_from_slice(&descriptor.0);
        descriptor.0.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DependencyDescriptor(buf.to_vec()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get::<DependencyDescriptor>().is_some_and(|descriptor| descriptor.0.len() > 16)
    }
}
