//! A peer and the other side of its connection, in one thread and virtual time.

use super::*;

const HERE: &str = "192.0.2.1:1000";
const THERE: &str = "192.0.2.2:2000";
const STEP: Duration = Duration::from_millis(10);
const SECTIONS: Sections = Sections { audio: 2, video: 1 };

/// A peer and what answers it.
struct Pair {
    peer: Peer,
    far: Driver,
    out: Outputs,
    now: Instant,
    news: Vec<News>,
    heard: Vec<Stamp>,
    messages: Vec<Vec<u8>>,
    far_closed: bool,
}

impl Pair {
    /// Connect; the first answer is edited.
    fn connected(edit: impl FnOnce(String) -> String) -> Self {
        let now = Instant::now();
        let (peer, offer) = Peer::new(&Kit::new(), 7, HERE.parse().unwrap(), SECTIONS, now);
        let mut rtc = Rtc::builder().set_ice_lite(true).set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(THERE.parse().unwrap(), "udp").unwrap());
        let (far, out) = (Driver::new(rtc, now), Outputs::default());
        let mut pair =
            Self { peer, far, out, now, news: Vec::new(), heard: Vec::new(), messages: Vec::new(), far_closed: false };
        let answer = edit(pair.accept(&offer));
        pair.peer.answer(now, &answer).unwrap();
        pair.pass(200);
        assert!(pair.news.contains(&News::Connected));
        pair
    }

    fn accept(&mut self, offer: &str) -> String {
        let offer = str0m::change::SdpOffer::from_sdp_string(offer).unwrap();
        let accept = |rtc: &mut Rtc| rtc.sdp_api().accept_offer(offer).unwrap();
        self.far.change(self.now, &mut self.out, accept).unwrap().to_sdp_string()
    }

    /// Let time pass and carry every datagram at once.
    fn pass(&mut self, steps: usize) {
        let (here, there): (SocketAddr, SocketAddr) = (HERE.parse().unwrap(), THERE.parse().unwrap());
        for _ in 0..steps {
            let now = self.now;
            self.peer.advance(now).unwrap();
            self.far.advance(now, &mut self.out).unwrap();
            loop {
                let mut outward = Vec::new();
                self.peer.drain(|_, datagram| outward.push(datagram.to_vec()));
                let inward: Vec<_> = self.out.packets.drain(..).collect();
                if outward.is_empty() && inward.is_empty() {
                    break;
                }
                for datagram in &outward {
                    let datagram = Receive::new(Protocol::Udp, here, there, datagram).unwrap();
                    self.far.receive(now, datagram, &mut self.out).unwrap().unwrap();
                }
                for datagram in inward {
                    self.peer.receive(now, there, &datagram.contents).unwrap();
                }
            }
            self.news.extend(self.peer.news());
            for event in self.out.events.drain(..) {
                match event {
                    Event::RtpPacket(packet) => self.heard.extend(Stamp::read(&packet.payload)),
                    Event::Closed => self.far_closed = true,
                    Event::ChannelData(data) => self.messages.push(data.data),
                    _ => {}
                }
            }
            self.now += STEP;
        }
    }
}

#[test]
fn what_a_peer_says_arrives_with_its_stamps() {
    let mut pair = Pair::connected(|answer| answer);
    assert!(!pair.peer.may_speak());
    let offer = pair.peer.offer(pair.now, 0, Some("TR_mic")).unwrap().unwrap();
    assert!(offer.contains("a=msid:microphone TR_mic"));
    assert_eq!(pair.peer.offer(pair.now, 1, None).unwrap(), None);
    let answer = pair.accept(&offer);
    pair.peer.answer(pair.now, &answer).unwrap();
    assert!(pair.peer.may_speak());
    for _ in 0..5 {
        pair.peer.speak(pair.now, 80, STEP).unwrap();
        pair.pass(1);
    }
    let told: Vec<_> = pair.heard.iter().map(|stamp| (stamp.publisher, stamp.sequence)).collect();
    assert_eq!(told, (0..5).map(|sequence| (7, sequence)).collect::<Vec<_>>());
    assert_eq!(pair.peer.spoken, 5);
}

#[test]
fn messages_pass_once_the_channel_is_open() {
    let mut pair = Pair::connected(|answer| answer);
    assert!(pair.news.contains(&News::Opened("_reliable".into())));
    assert!(pair.peer.send(pair.now, "_reliable", b"good day").unwrap());
    assert!(!pair.peer.send(pair.now, "_unknown", b"good day").unwrap());
    pair.pass(3);
    assert_eq!(pair.messages, [b"good day"]);
}

#[test]
fn a_section_that_was_answered_inactive_is_offered_again() {
    let mut pair = Pair::connected(|answer| answer.replace("a=sendonly", "a=inactive"));
    let offer = pair.peer.offer(pair.now, 1, None).unwrap().unwrap();
    let audio: Vec<&str> = offer.split("m=").filter(|section| section.starts_with("audio")).collect();
    assert_eq!(audio.len(), SECTIONS.audio + 1);
    assert!(audio.iter().all(|section| section.contains("a=recvonly")), "{offer}");
}

#[test]
fn an_offer_comes_even_when_nothing_changed() {
    let mut pair = Pair::connected(|answer| answer);
    assert!(pair.peer.offer(pair.now, 0, None).unwrap().is_some());
}

#[test]
fn a_closed_peer_is_told_to_the_other_side() {
    let mut pair = Pair::connected(|answer| answer);
    pair.peer.close(pair.now);
    pair.pass(2);
    assert!(!pair.peer.is_alive());
    assert!(pair.far_closed);
}
