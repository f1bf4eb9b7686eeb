//! The life of a transport: negotiation, silence, goodbyes, defects. Virtual time.

mod support;

use std::time::Duration;

use greenroom_engine::{Command, Event};
use str0m::Candidate;
use support::{Client, LOSSY, RELIABLE, World};

fn lines<'a>(sdp: &'a str, prefix: &str) -> Vec<&'a str> {
    sdp.lines().filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn a_client_with_seven_sections_connects_and_its_channels_open() {
    let mut world = World::new();
    world.join(1);
    let connected = world.events.iter().filter(|event| matches!(event, Event::Connected(1))).count();
    assert_eq!((connected, world.opened(1)), (1, 3));
    assert!(matches!(world.events[0], Event::Connected(1)));
    assert_eq!(world.counters.snapshot().transports, 1);
}

#[test]
fn many_clients_share_one_address_and_are_not_confused() {
    let mut world = World::new();
    for transport in 1..=8 {
        world.join(transport);
    }
    let everyone: Vec<u64> = (1..=8).collect();
    for transport in &everyone {
        world.client(*transport).send(RELIABLE, vec![*transport as u8; 8]);
        world.send(&[*transport], RELIABLE, vec![*transport as u8]);
    }
    world.send(&everyone, RELIABLE, vec![0]);
    world.run(Duration::from_secs(1));
    for transport in &everyone {
        assert_eq!(world.from(*transport, RELIABLE), [[*transport as u8; 8]]);
        assert_eq!(world.clients[transport].messages(RELIABLE), [vec![*transport as u8], vec![0]]);
    }
}

#[test]
fn a_silent_client_is_given_up_after_fifteen_seconds_and_an_idle_one_is_not() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    world.run(Duration::from_secs(60));
    assert_eq!(world.ended(1), None);
    world.client(1).silent = true;
    world.run(Duration::from_secs(11));
    assert_eq!(world.ended(1), None);
    world.run(Duration::from_secs(6));
    assert_eq!(world.ended(1).unwrap().0, "ice_timeout");
    assert_eq!(world.ended(2), None);
    assert_eq!(world.counters.snapshot().transports, 1);
}

#[test]
fn a_client_that_never_comes_is_given_up() {
    let mut world = World::new();
    world.invite(1);
    world.client(1).silent = true;
    world.run(Duration::from_secs(29));
    assert_eq!(world.ended(1), None);
    world.run(Duration::from_secs(2));
    assert_eq!(world.ended(1), Some(("ice_timeout", "the client never came")));
}

#[test]
fn a_transport_without_an_offer_waits_for_its_owner() {
    let mut world = World::new();
    world.command(Command::Create { transport: 1, lite: true });
    world.run(Duration::from_secs(3600));
    assert_eq!(world.ended(1), None);
    assert_eq!(world.hub.deadline(), None);
}

#[test]
fn a_client_that_says_goodbye_is_noticed_at_once() {
    let mut world = World::new();
    world.join(1);
    let now = world.now;
    let client = world.client(1);
    client.close(now);
    world.pump();
    assert_eq!(world.ended(1).unwrap().0, "dtls");
    assert_eq!(world.counters.snapshot().addresses, 0);
}

#[test]
fn closing_flushes_and_the_client_notices_at_once() {
    let mut world = World::new();
    world.join(1);
    world.send(&[1], RELIABLE, b"last words".to_vec());
    world.command(Command::Close(1));
    world.pump();
    assert_eq!(world.clients[&1].messages(RELIABLE), [b"last words"]);
    assert!(world.clients[&1].closed);
    assert_eq!(world.ended(1), None);
    assert_eq!(world.counters.snapshot().transports, 0);
}

#[test]
fn a_panic_costs_one_transport() {
    let mut world = World::new();
    (1..=3).for_each(|transport| world.join(transport));
    world.command(Command::Break(2));
    world.pump();
    let (reason, detail) = world.ended(2).unwrap();
    assert_eq!(reason, "fault");
    assert!(detail.contains("broken on purpose"), "{detail}");
    world.send(&[1, 2, 3], RELIABLE, b"still here".to_vec());
    world.run(Duration::from_secs(20));
    for transport in [1, 3] {
        assert_eq!(world.clients[&transport].messages(RELIABLE), [b"still here"]);
        assert_eq!(world.ended(transport), None);
    }
    assert_eq!((world.counters.snapshot().faults, world.counters.snapshot().transports), (1, 2));
}

#[test]
fn an_offer_for_nobody_is_refused() {
    let mut world = World::new();
    let (offer, _) = Client::new(world.now, "198.51.100.9:1".parse().unwrap()).offer(world.now);
    assert_eq!(world.offer(7, &offer).unwrap_err(), "there is no transport 7");
}

#[test]
fn a_refused_first_offer_leaves_the_transport_usable() {
    let mut world = World::new();
    let mut client = Client::new(world.now, "198.51.100.1:10001".parse().unwrap());
    let (offer, pending) = client.offer(world.now);
    world.command(Command::Create { transport: 1, lite: true });
    // Fine at first sight; str0m finds out when it has already taken the ICE credentials.
    let bad = offer.replace("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=text 9 UDP/TLS/RTP/SAVPF 98");
    assert!(world.offer(1, &bad).is_err());
    let answer = world.offer(1, &offer).unwrap();
    client.answer(world.now, pending, &answer.sdp);
    world.clients.insert(1, client);
    world.until(|world| world.opened(1) == 3);
}

#[test]
fn a_re_offer_without_change_is_answered_and_data_keeps_flowing() {
    let mut world = World::new();
    world.join(1);
    for round in 0..3u8 {
        let now = world.now;
        let (offer, pending) = world.client(1).re_offer(now, |_| {});
        let answer = world.offer(1, &offer).unwrap();
        assert_eq!(answer.sections.len(), 7);
        world.client(1).answer(now, pending, &answer.sdp);
        world.client(1).send(RELIABLE, vec![round; 8]);
        world.run(Duration::from_secs(1));
        assert_eq!(world.from(1, RELIABLE).len(), usize::from(round) + 1);
    }
}

#[test]
fn an_ice_restart_keeps_the_channels_and_takes_fresh_secrets() {
    let mut world = World::new();
    world.join(1);
    let now = world.now;
    let (offer, pending) = world.client(1).re_offer(now, |api| drop(api.ice_restart(true)));
    let answer = world.offer(1, &offer).unwrap();
    let passwords = lines(&answer.sdp, "a=ice-pwd:");
    assert!(passwords.iter().all(|line| line.len() == "a=ice-pwd:".len() + 32), "{passwords:?}");
    world.client(1).answer(now, pending, &answer.sdp);
    world.client(1).send(RELIABLE, vec![1; 8]);
    world.send(&[1], RELIABLE, vec![2]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.from(1, RELIABLE), [[1; 8]]);
    assert_eq!(world.clients[&1].messages(RELIABLE), [[2]]);
    assert_eq!((world.ended(1), world.opened(1)), (None, 3));
}

#[test]
fn a_full_ice_transport_uses_candidates_that_came_before_the_offer() {
    let mut world = World::new();
    let address = "198.51.100.1:10001".parse().unwrap();
    let mut client = Client::new(world.now, address);
    let (offer, pending) = client.offer(world.now);
    let without: String =
        offer.lines().filter(|line| !line.starts_with("a=candidate")).map(|line| format!("{line}\r\n")).collect();
    world.command(Command::Create { transport: 1, lite: false });
    let candidate = Candidate::host(address, "udp").unwrap().to_sdp_string();
    world.command(Command::Candidate { transport: 1, candidate });
    world.command(Command::Candidate { transport: 1, candidate: "candidate:nonsense".into() });
    let answer = world.offer(1, &without).unwrap();
    assert!(!answer.sdp.contains("a=ice-lite"));
    client.answer(world.now, pending, &answer.sdp);
    world.clients.insert(1, client);
    world.until(|world| world.opened(1) == 3);
    world.run(Duration::from_secs(60));
    assert_eq!(world.ended(1), None);
}

#[test]
fn a_client_may_move_to_another_address() {
    let mut world = World::new();
    world.join(1);
    let now = world.now;
    let moved = "198.51.100.77:4242".parse().unwrap();
    world.client(1).move_to(now, moved);
    world.run(Duration::from_secs(5));
    world.client(1).send(RELIABLE, vec![1; 8]);
    world.send(&[1], LOSSY, vec![2]);
    world.run(Duration::from_secs(30));
    assert_eq!(world.from(1, RELIABLE), [[1; 8]]);
    assert_eq!(world.clients[&1].messages(LOSSY), [[2]]);
    assert_eq!(world.ended(1), None);
}

#[test]
fn a_client_with_another_certificate_than_it_announced_is_refused() {
    let mut world = World::new();
    let address = "198.51.100.1:10001".parse().unwrap();
    let mut client = Client::new(world.now, address);
    let (offer, pending) = client.offer(world.now);
    let announced = lines(&offer, "a=fingerprint:")[0].to_owned();
    let another = format!("{}:00:00", &announced[..announced.len() - 6]);
    world.command(Command::Create { transport: 1, lite: true });
    let answer = world.offer(1, &offer.replace(&announced, &another)).unwrap();
    client.answer(world.now, pending, &answer.sdp);
    world.clients.insert(1, client);
    world.until(|world| world.ended(1).is_some());
    assert_eq!(world.ended(1).unwrap().0, "dtls");
    assert!(!world.events.iter().any(|event| matches!(event, Event::Connected(_))));
}
