//! Datagrams from strangers and forgers. Virtual time.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use greenroom_engine::config::{MAX_ADDRESSES, MAX_CHANNELS};
use str0m::ice::{StunMessage, TransId};
use support::{RELIABLE, World};

const STRANGER: &str = "203.0.113.66:6666";

fn stranger(port: u16) -> SocketAddr {
    SocketAddr::new(STRANGER.parse::<SocketAddr>().unwrap().ip(), port)
}

/// A connectivity check with these credentials.
fn check(ufrag: &str, password: &str) -> Vec<u8> {
    check_as("somebody", ufrag, password)
}

fn check_as(own_ufrag: &str, ufrag: &str, password: &str) -> Vec<u8> {
    let username = format!("{ufrag}:{own_ufrag}");
    let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 100, false);
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let mut datagram = vec![0; 512];
    let length = message.to_bytes(Some(password.as_bytes()), &mut datagram, |key, parts| hmac.sha1_hmac(key, parts));
    datagram.truncate(length.unwrap());
    datagram
}

/// Bytes from a small generator, the same in every run.
fn noise(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn still_works(world: &mut World) {
    let before = world.from(1, RELIABLE).len();
    world.client(1).send(RELIABLE, vec![9; 8]);
    world.send(&[1], RELIABLE, vec![9]);
    world.run(Duration::from_secs(3));
    assert_eq!(world.from(1, RELIABLE).len(), before + 1);
    assert!(!world.clients[&1].messages(RELIABLE).is_empty());
    assert_eq!(world.ended(1), None);
    assert_eq!(world.counters.snapshot().faults, 0);
}

#[test]
fn noise_from_strangers_is_counted_and_dropped() {
    let mut world = World::new();
    world.join(1);
    let mut seed = 1;
    for round in 0..10_000u16 {
        let length = noise(&mut seed) as usize % 1500;
        let mut datagram: Vec<u8> = (0..length).map(|_| noise(&mut seed) as u8).collect();
        // Every kind of first byte: STUN, DTLS, RTP and none.
        if let Some(first) = datagram.first_mut() {
            *first = (round % 256) as u8;
        }
        world.hub.receive(world.now, stranger(round % 100 + 1), world.server, &datagram);
    }
    assert_eq!(world.counters.snapshot().packets_unroutable, 10_000);
    assert!(world.hub.effects.packets.is_empty());
    still_works(&mut world);
}

#[test]
fn noise_from_a_known_address_harms_nobody() {
    let mut world = World::new();
    world.join(1);
    let address = world.clients[&1].address;
    let mut seed = 2;
    for round in 0..10_000u16 {
        let length = noise(&mut seed) as usize % 1500;
        let mut datagram: Vec<u8> = (0..length).map(|_| noise(&mut seed) as u8).collect();
        if let Some(first) = datagram.first_mut() {
            *first = (round % 256) as u8;
        }
        // DTLS records that look right up to their length.
        if round % 3 == 0 && length > 13 {
            datagram[..3].copy_from_slice(&[20 + (round % 7) as u8, 0xfe, 0xfd]);
            datagram[11..13].copy_from_slice(&u16::try_from(length - 13).unwrap().to_be_bytes());
        }
        world.hub.receive(world.now, address, world.server, &datagram);
    }
    world.pump();
    still_works(&mut world);
}

#[test]
fn noise_before_the_handshake_does_not_prevent_it() {
    let mut world = World::new();
    world.invite(1);
    let address = world.clients[&1].address;
    let mut seed = 3;
    for round in 0..2_000u16 {
        let mut datagram: Vec<u8> = (0..200).map(|_| noise(&mut seed) as u8).collect();
        datagram[0] = 20 + (round % 44) as u8;
        world.hub.receive(world.now, address, world.server, &datagram);
    }
    world.until(|world| world.opened(1) == 3);
    still_works(&mut world);
}

#[test]
fn truncated_checks_are_dropped() {
    let mut world = World::new();
    world.join(1);
    let whole = check("someone", "password");
    for length in 0..whole.len() {
        world.hub.receive(world.now, stranger(1), world.server, &whole[..length]);
    }
    assert_eq!(world.counters.snapshot().packets_unroutable, whole.len() as u64);
    still_works(&mut world);
}

#[test]
fn a_check_with_the_right_name_and_the_wrong_password_teaches_no_address() {
    let mut world = World::new();
    world.join(1);
    let (ufrag, _) = world.creds(1);
    world.hub.receive(world.now, stranger(1), world.server, &check(&ufrag, "not the password, at all"));
    assert_eq!(world.counters.snapshot().packets_unroutable, 1);
    assert_eq!(world.counters.snapshot().addresses, 1);
    assert!(world.hub.effects.packets.is_empty());
    still_works(&mut world);
}

#[test]
fn one_client_holds_a_bounded_number_of_addresses_and_keeps_the_one_it_uses() {
    let mut world = World::new();
    world.join(1);
    let (ufrag, password) = world.creds(1);
    for port in 1..=500 {
        world.hub.receive(world.now, stranger(port), world.server, &check(&ufrag, &password));
    }
    assert_eq!(world.counters.snapshot().addresses, MAX_ADDRESSES as u64);
    world.pump();
    still_works(&mut world);
    // When they have been silent for long enough, others may take their places.
    world.run(Duration::from_secs(20));
    let unroutable = world.counters.snapshot().packets_unroutable;
    for port in 1001..=1015 {
        world.hub.receive(world.now, stranger(port), world.server, &check(&ufrag, &password));
    }
    assert_eq!(world.counters.snapshot().packets_unroutable, unroutable);
    still_works(&mut world);
}

#[test]
fn an_address_in_use_cannot_be_taken_by_another_client() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    let (ufrag, password) = world.creds(2);
    let victim = world.clients[&1].address;
    world.hub.receive(world.now, victim, world.server, &check(&ufrag, &password));
    world.hub.effects.packets.clear();
    assert_eq!(world.counters.snapshot().addresses, 2);
    still_works(&mut world);
    world.client(2).send(RELIABLE, vec![2; 8]);
    world.run(Duration::from_secs(3));
    assert_eq!(world.from(2, RELIABLE), [[2; 8]]);
}

#[test]
fn an_address_left_by_one_client_can_be_used_by_another() {
    let mut world = World::new();
    world.join(1);
    let address = world.clients[&1].address;
    world.command(greenroom_engine::Command::Close(1));
    world.pump();
    let _ = world.clients.remove(&1);
    world.invite(2);
    let now = world.now;
    world.client(2).move_to(now, address);
    world.until(|world| world.opened(2) == 3);
}

#[test]
fn a_client_that_opens_too_many_channels_is_given_up() {
    let mut world = World::new();
    world.join(1);
    for number in 0..=MAX_CHANNELS {
        let now = world.now;
        world.client(1).open_channel(now, &format!("channel {number}"));
        world.run(Duration::from_millis(50));
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.ended(1), Some(("dtls", "the client opened too many data channels")));
}

#[test]
fn a_packet_for_ice_alone_is_answered_only_to_its_sender() {
    let mut world = World::new();
    world.join(1);
    let (ufrag, password) = world.creds(1);
    let now = world.now;
    let own = world.client(1).ufrag(now);
    world.hub.receive(world.now, stranger(7), world.server, &check_as(&own, &ufrag, &password));
    let answers: Vec<_> = world.hub.effects.packets.drain(..).collect();
    let [answer] = answers.as_slice() else { panic!("expected one answer") };
    assert_eq!(answer.destination, stranger(7));
    assert!(StunMessage::parse(&answer.contents).unwrap().is_successful_binding_response());
}
