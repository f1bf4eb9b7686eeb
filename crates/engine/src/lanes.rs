//! The media sections of one transport: what each sends, and whose stream arrives on which.

use std::collections::HashMap;

use str0m::Rtc;
use str0m::format::PayloadParams;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpHeader, Ssrc};

use crate::config::MAX_STREAMS;
use crate::forward::Lane;
use crate::sdp::{Plan, Plans};

/// A stream that str0m has removed or may yet need again: its section, SSRC and retransmission SSRC.
type Removed = (Mid, Ssrc, Option<Ssrc>);

/// Why a packet has no section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Its stream or codec is not known.
    Unknown,
    /// The client sends more streams than a transport may have.
    TooMany,
}

/// What a transport's sections are used for.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: Vec<Lane>,
    /// What each of `lanes` was planned to send, as it stands in the answer.
    names: Vec<Plan>,
    arriving: HashMap<(Ssrc, Pt), (Mid, PayloadParams)>,
}

impl Lanes {
    /// The lane of a section.
    pub fn find(&mut self, mid: Mid) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.mid == mid)
    }

    /// Before str0m takes an offer: give sections that get another track another SSRC. Undo with
    /// [`Lanes::restore`] if it does not take it.
    pub fn vacate(&self, plans: &Plans, rtc: &mut Rtc) -> Vec<Removed> {
        let changed = |(lane, name): (&Lane, &Plan)| (plans.get(&*lane.mid) != Some(name)).then_some(lane.mid);
        self.lanes.iter().zip(&self.names).filter_map(changed).filter_map(|mid| remove(rtc, mid)).collect()
    }

    /// The offer was not taken.
    pub fn restore(&self, removed: Vec<Removed>, rtc: &mut Rtc) {
        for (mid, ssrc, rtx) in removed {
            if rtc.media(mid).is_some() {
                rtc.direct_api().declare_stream_tx(ssrc, rtx, mid, None);
            }
        }
    }

    /// str0m has taken an offer: keep the streams that are planned.
    ///
    /// It makes one for every section the client could receive on. Each costs time in every poll and sender reports,
    /// so those that are not planned go.
    pub fn settle(&mut self, mids: impl Iterator<Item = Mid>, plans: &Plans, rtc: &mut Rtc, random: impl Fn() -> u64) {
        let mut before: Vec<Lane> = std::mem::take(&mut self.lanes);
        self.names.clear();
        self.arriving.clear();
        for mid in mids {
            let plan = plans.get(&*mid).filter(|plan| matches!(plan, Plan::Send { .. }));
            let Some(plan) = plan else {
                remove(rtc, mid);
                continue;
            };
            let Some(ssrc) = rtc.direct_api().stream_tx_by_mid(mid, None).map(|stream| stream.ssrc()) else { continue };
            let kept = before.iter().position(|lane| lane.mid == mid && lane.ssrc == ssrc);
            self.lanes.push(kept.map_or_else(|| Lane::new(mid, ssrc, random()), |index| before.swap_remove(index)));
            self.names.push(plan.clone());
        }
    }

    /// The section a packet arrived on and its codec, if that is known already.
    pub fn known(&self, header: &RtpHeader) -> Option<(Mid, PayloadParams)> {
        self.arriving.get(&(header.ssrc, header.payload_type)).copied()
    }

    /// Find out the section a packet arrived on and its codec.
    pub fn discover(&mut self, header: &RtpHeader, rtc: &mut Rtc) -> Result<(Mid, PayloadParams), Lost> {
        if self.arriving.len() >= MAX_STREAMS {
            return Err(Lost::TooMany);
        }
        let (ssrc, payload_type) = (header.ssrc, header.payload_type);
        let mid = rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid()).ok_or(Lost::Unknown)?;
        let params = rtc.codec_config().params().iter().find(|params| params.pt() == payload_type);
        let found = (mid, *params.ok_or(Lost::Unknown)?);
        self.arriving.insert((ssrc, payload_type), found);
        Ok(found)
    }
}

fn remove(rtc: &mut Rtc, mid: Mid) -> Option<Removed> {
    let mut api = rtc.direct_api();
    let (ssrc, rtx) = api.stream_tx_by_mid(mid, None).map(|stream| (stream.ssrc(), stream.rtx()))?;
    api.remove_stream_tx(ssrc);
    Some((mid, ssrc, rtx))
}

/// The receiver's payload type for a codec.
pub fn payload_type(rtc: &Rtc, mid: Mid, params: PayloadParams) -> Option<Pt> {
    let own = rtc.codec_config().match_params(params)?.pt();
    rtc.media(mid)?.remote_pts().contains(&own).then_some(own)
}
