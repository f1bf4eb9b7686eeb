//! Offers as Chromium writes them, and worse ones. Virtual time.

mod support;

use greenroom_engine::sdp::{Plan, edit_answer, max_message};
use greenroom_engine::{Answer, Command};
use support::World;

const FIRST: &str = include_str!("../../../tests/support/offers/chromium-first.sdp");
const PUBLISH: &str = include_str!("../../../tests/support/offers/chromium-publish.sdp");

fn answer(offers: &[&str]) -> Answer {
    let mut world = World::new();
    world.command(Command::Create { transport: 1, lite: true });
    offers.iter().map(|offer| world.offer(1, offer).unwrap()).last().unwrap()
}

fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections
}

#[test]
fn every_media_section_is_inactive_and_names_no_stream() {
    let answer = answer(&[FIRST, PUBLISH]);
    let sections = sections(&answer.sdp);
    assert_eq!(sections.len(), answer.sections.len());
    for section in sections.iter().filter(|section| !section[0].starts_with("m=application")) {
        assert!(section.contains(&"a=inactive"));
        assert!(!section.iter().any(|line| line.starts_with("a=msid") || line.starts_with("a=ssrc")));
    }
}

#[test]
fn a_track_replaces_str0ms_own_names_in_one_section() {
    let str0ms = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=mid:0\r\na=sendonly\r\n\
        a=msid:s t\r\na=ssrc:1 cname:c\r\na=ssrc:1 msid:s t\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag a\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendonly\r\na=msid:x y\r\na=ssrc:2 msid:x y\r\n";
    let edited = edit_answer(str0ms, ("user", "word"), |mid| match mid {
        "0" => Plan::Send { stream: "PA_a|TR_b".into(), track: "TR_b".into() },
        _ => Plan::Inactive,
    });
    let expected = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:user\r\na=ice-pwd:word\r\na=mid:0\r\n\
        a=sendonly\r\na=msid:PA_a|TR_b TR_b\r\na=ssrc:1 cname:c\r\na=ssrc:1 msid:PA_a|TR_b TR_b\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=inactive\r\n";
    assert_eq!(edited, expected);
}

#[test]
fn the_dependency_descriptor_is_granted_to_video() {
    let uri = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    let offer = FIRST.replace(
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        &format!("a=extmap:6 {uri}"),
    );
    assert!(offer.contains(uri));
    let answer = answer(&[&offer]);
    for section in sections(&answer.sdp) {
        let granted = section.contains(&format!("a=extmap:6 {uri}").as_str());
        assert_eq!(granted, section[0].starts_with("m=video"), "{section:?}");
    }
}

#[test]
fn mids_need_not_start_at_zero() {
    let mut offer = FIRST.to_owned();
    for mid in (0..7).rev() {
        offer = offer.replace(&format!("a=mid:{mid}\r\n"), &format!("a=mid:{}\r\n", mid + 7));
    }
    offer = offer.replace("BUNDLE 0 1 2 3 4 5 6", "BUNDLE 7 8 9 10 11 12 13");
    let answer = answer(&[&offer]);
    let mids: Vec<&str> = answer.sections.iter().map(|section| section.mid.as_str()).collect();
    assert_eq!(mids, ["7", "8", "9", "10", "11", "12", "13"]);
    assert!(answer.sdp.contains("BUNDLE 7 8 9 10 11 12 13"));
}

#[test]
fn a_rejected_section_is_inactive_and_one_that_waits_for_its_bundle_is_not() {
    let offer = FIRST.replacen("m=video 9", "m=video 0", 1);
    assert_eq!(answer(&[&offer]).sections[3].direction, "inactive");
    let offer = offer.replace("a=mid:3\r\n", "a=mid:3\r\na=bundle-only\r\n");
    assert_eq!(answer(&[&offer]).sections[3].direction, "recvonly");
}

#[test]
fn the_clients_largest_message_is_read_from_its_offer() {
    assert_eq!(max_message(FIRST), 262_144);
    assert_eq!(max_message("v=0\r\na=max-message-size:0\r\n"), usize::MAX);
    assert_eq!(max_message("v=0\r\n"), 65_536);
}

#[test]
fn offers_that_cannot_be_answered_say_why() {
    let without = |prefix: &str| -> String {
        FIRST.lines().filter(|line| !line.starts_with(prefix)).map(|line| format!("{line}\r\n")).collect()
    };
    let many = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(600);
    for (offer, reason) in [
        (String::new(), "the offer has 0 sections, expected 1 to 512"),
        (format!("v=0\r\n{many}"), "the offer has 600 sections, expected 1 to 512"),
        (" ".repeat(2 << 20), "the offer is larger than 1048576 bytes"),
        (without("a=ice-ufrag"), "the offer has no a=ice-ufrag"),
        (without("a=fingerprint"), "the offer has no a=fingerprint"),
        (without("a=mid:3"), "section 3 of the offer has no a=mid"),
        (FIRST.replace("a=mid:3\r\n", "a=mid:2\r\n"), "two sections of the offer have mid 2"),
        (FIRST.replacen("m=audio", "a=ice-lite\r\nm=audio", 1), "the offer comes from another ICE-lite endpoint"),
    ] {
        let mut world = World::new();
        world.command(Command::Create { transport: 1, lite: true });
        assert_eq!(world.offer(1, &offer).unwrap_err(), reason);
        world.offer(1, FIRST).unwrap();
    }
}

#[test]
fn sections_that_move_are_refused_and_the_next_offer_is_answered() {
    let mut world = World::new();
    world.command(Command::Create { transport: 1, lite: true });
    world.offer(1, FIRST).unwrap();
    let swapped = FIRST.replace("a=mid:0\r\n", "a=mid:x\r\n").replace("a=mid:1\r\n", "a=mid:0\r\n");
    let swapped = swapped.replace("a=mid:x\r\n", "a=mid:1\r\n");
    assert_eq!(world.offer(1, &swapped).unwrap_err(), "section with mid 1 moved from place 1 to 0");
    world.offer(1, PUBLISH).unwrap();
    assert_eq!(world.offer(1, FIRST).unwrap_err(), "the offer has 7 sections, 9 were negotiated");
}

#[test]
fn mangled_offers_disturb_nobody() {
    let mut world = World::new();
    world.join(1);
    let mut seed = 5u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let lines: Vec<&str> = PUBLISH.lines().collect();
    let (mut answered, mut refused) = (0, 0);
    for transport in 2..1002 {
        let mut mangled: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..=random(6) {
            let at = random(mangled.len());
            match random(4) {
                0 => drop(mangled.remove(at)),
                1 => mangled.insert(at, lines[random(lines.len())].to_owned()),
                2 => {
                    let other = random(mangled.len());
                    mangled.swap(at, other);
                }
                _ => {
                    let mut bytes = mangled[at].clone().into_bytes();
                    let index = random(bytes.len());
                    bytes[index] = b"0129:=/ -axz;,"[random(14)];
                    mangled[at] = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
        }
        world.command(Command::Create { transport, lite: true });
        let first = world.offer(transport, &(mangled.join("\r\n") + "\r\n"));
        if first.is_ok() {
            answered += 1
        } else {
            refused += 1
        }
        let _ = world.offer(transport, PUBLISH);
        world.command(Command::Close(transport));
    }
    assert!(answered > 100 && refused > 100, "{answered} answered, {refused} refused");
    assert_eq!(world.counters.snapshot().faults, 0);
    assert_eq!((world.ended(1), world.counters.snapshot().transports), (None, 1));
}
