//! Where the client may be reached.

use std::collections::HashSet;
use std::time::Instant;

use str0m::{Candidate, Rtc};

use super::{Effects, Step, Transport, poll_failed};
use crate::config::MAX_CANDIDATES;

/// The candidates a client has told, each handed out once.
///
/// Clients repeat all of theirs in every offer, and str0m keeps those that fit none of its own (another protocol or
/// address family) again each time.
#[derive(Debug, Default)]
pub struct Candidates {
    known: HashSet<Candidate>,
    waiting: Vec<Candidate>,
}

impl Candidates {
    /// Take note of a candidate, given as `candidate:…`. What cannot be used, and what is too many, is ignored.
    pub fn tell(&mut self, text: &str) {
        let Ok(candidate) = Candidate::from_sdp_string(text) else { return };
        if self.known.len() < MAX_CANDIDATES && self.known.insert(candidate.clone()) {
            self.waiting.push(candidate);
        }
    }

    /// Those that have not been handed out.
    pub fn take(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.waiting)
    }

    /// After an ICE restart all have to be told anew (RFC 8445 section 2.4).
    pub fn restart(&mut self) {
        self.known = self.waiting.iter().cloned().collect();
    }
}

/// Return an offer without its candidates, and those.
pub fn separate(offer: &str) -> (String, Vec<&str>) {
    let (candidates, rest): (Vec<_>, Vec<_>) =
        offer.split_inclusive('\n').partition(|line| line.starts_with("a=candidate:"));
    (rest.concat(), candidates.into_iter().map(|line| line["a=".len()..].trim_end()).collect())
}

impl Transport {
    /// Use a remote candidate now, or when the offer has come.
    pub fn candidate(&mut self, now: Instant, text: &str, fx: &mut Effects) -> Step {
        // A lite agent sends no checks, so it has no use for candidates (RFC 8445 section 2.5).
        if self.lite {
            return Ok(());
        }
        self.candidates.tell(text);
        if self.answered.is_none() {
            return Ok(());
        }
        self.use_candidates(now)?;
        self.settle(now, fx, Ok(()))
    }

    /// Use those that an offer holds, and those that have waited for it.
    pub(super) fn offered_candidates(&mut self, now: Instant, offered: &[&str]) -> Step {
        if self.lite {
            return Ok(());
        }
        offered.iter().for_each(|text| self.candidates.tell(text));
        self.use_candidates(now)
    }

    fn use_candidates(&mut self, now: Instant) -> Step {
        for candidate in self.candidates.take() {
            let add = |rtc: &mut Rtc| rtc.add_remote_candidate(candidate);
            self.driver.change(now, &mut self.outputs, add).map_err(poll_failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "candidate:1 1 udp 2122260223 192.0.2.1 40000 typ host generation 0";
    const TCP: &str = "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0";

    #[test]
    fn what_is_told_again_is_not_handed_out_again_until_a_restart() {
        let mut candidates = Candidates::default();
        for _ in 0..3 {
            candidates.tell(UDP);
            candidates.tell(TCP);
        }
        assert_eq!(candidates.take().len(), 2);
        candidates.tell(TCP);
        assert!(candidates.take().is_empty());
        candidates.restart();
        candidates.tell(TCP);
        assert_eq!(candidates.take().len(), 1);
    }

    #[test]
    fn there_are_only_so_many_and_only_good_ones() {
        let mut candidates = Candidates::default();
        candidates.tell("candidate:none");
        for port in 1..1000 {
            candidates.tell(&UDP.replace("40000", &port.to_string()));
        }
        assert_eq!(candidates.take().len(), MAX_CANDIDATES);
    }

    #[test]
    fn an_offer_and_its_candidates_come_apart() {
        let offer = format!("v=0\r\nm=audio 9\r\na=mid:0\r\na={UDP}\r\na=end-of-candidates\r\na={TCP}\r\n");
        let (rest, candidates) = separate(&offer);
        assert_eq!(rest, "v=0\r\nm=audio 9\r\na=mid:0\r\na=end-of-candidates\r\n");
        assert_eq!(candidates, [UDP, TCP]);
    }
}
