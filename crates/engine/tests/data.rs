//! Data channels between the hub and clients, in virtual time.

mod support;

use std::time::Duration;

use greenroom_engine::Event;
use support::{DATA_TRACK, LOSSY, RELIABLE, SEND_BUFFER, World};

fn numbered(number: usize, size: usize) -> Vec<u8> {
    let mut payload = vec![0; size];
    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
    payload
}

fn numbers<T: AsRef<[u8]>>(messages: &[T]) -> Vec<usize> {
    let number = |message: &T| u64::from_be_bytes(message.as_ref()[..8].try_into().unwrap()) as usize;
    messages.iter().map(number).collect()
}

#[test]
fn thousands_of_large_reliable_messages_arrive_in_order_both_ways() {
    let mut world = World::with_send_buffer(64 << 20);
    world.join(1);
    const COUNT: usize = 2000;
    for number in 0..COUNT {
        world.client(1).send(RELIABLE, numbered(number, 15_000));
        world.send(&[1], RELIABLE, numbered(number, 15_000));
    }
    world.until(|world| world.counted(1) == COUNT && world.clients[&1].messages(RELIABLE).len() == COUNT);
    let expected: Vec<usize> = (0..COUNT).collect();
    assert_eq!(numbers(&world.from(1, RELIABLE)), expected);
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), expected);
    assert!(world.clients[&1].messages(RELIABLE).iter().all(|message| message.len() == 15_000));
}

#[test]
fn small_and_large_messages_keep_their_order_and_their_bounds() {
    let mut world = World::with_send_buffer(64 << 20);
    world.join(1);
    let sizes: Vec<usize> = (0..600).map(|number| [8, 100, 1_100, 15_000, 63_999][number % 5]).collect();
    for (number, size) in sizes.iter().enumerate() {
        world.client(1).send(RELIABLE, numbered(number, *size));
        world.send(&[1], RELIABLE, numbered(number, *size));
    }
    world.until(|world| world.clients[&1].messages(RELIABLE).len() == 600 && world.counted(1) == 600);
    let lengths = |messages: &[Vec<u8>]| messages.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), (0..600).collect::<Vec<_>>());
    assert_eq!(lengths(world.clients[&1].messages(RELIABLE)), sizes);
    assert_eq!(numbers(&world.from(1, RELIABLE)), (0..600).collect::<Vec<_>>());
}

#[test]
fn channels_are_told_apart_by_label() {
    let mut world = World::new();
    world.join(1);
    for label in [LOSSY, DATA_TRACK, RELIABLE] {
        world.client(1).send(label, label.into());
        world.send(&[1], label, label.as_bytes().to_vec());
    }
    world.run(Duration::from_secs(1));
    for label in [LOSSY, DATA_TRACK, RELIABLE] {
        assert_eq!(world.from(1, label), [label.as_bytes()]);
        assert_eq!(world.clients[&1].messages(label), [label.as_bytes()]);
    }
}

#[test]
fn reliable_messages_wait_for_the_channel_and_others_do_not() {
    let mut world = World::new();
    world.invite(1);
    for label in [RELIABLE, LOSSY, DATA_TRACK, "unheard of"] {
        world.send(&[1], label, b"early".to_vec());
    }
    world.until(|world| world.opened(1) == 3);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[&1].messages(RELIABLE), [b"early"]);
    assert!(world.clients[&1].messages(LOSSY).is_empty());
    assert_eq!(world.counters.snapshot().lossy_dropped, 3);
}

#[test]
fn one_message_reaches_many_and_unknown_receivers_are_ignored() {
    let mut world = World::new();
    (1..=5).for_each(|transport| world.join(transport));
    world.send(&[1, 3, 99, 5], RELIABLE, b"to odd ones".to_vec());
    world.run(Duration::from_secs(1));
    for transport in 1..=5 {
        let expected: &[&[u8]] = if transport % 2 == 1 { &[b"to odd ones"] } else { &[] };
        assert_eq!(world.clients[&transport].messages(RELIABLE), expected);
    }
    assert_eq!(world.counters.snapshot().messages_out, 3);
}

#[test]
fn a_reliable_receiver_that_falls_behind_is_given_up_and_others_are_not() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    world.client(1).deaf = true;
    let messages = SEND_BUFFER / 10_000 + 20;
    for number in 0..messages {
        world.send(&[1, 2], RELIABLE, numbered(number, 10_000));
        world.pump();
    }
    assert_eq!(world.ended(1).unwrap().0, "overflow");
    world.run(Duration::from_secs(1));
    assert_eq!(numbers(world.clients[&2].messages(RELIABLE)), (0..messages).collect::<Vec<_>>());
    assert_eq!(world.ended(2), None);
}

#[test]
fn a_congested_lossy_receiver_loses_messages_and_lives() {
    let mut world = World::new();
    world.join(1);
    world.client(1).deaf = true;
    for number in 0..1000 {
        world.send(&[1], LOSSY, numbered(number, 10_000));
    }
    assert!(world.counters.snapshot().lossy_dropped > 900);
    world.client(1).deaf = false;
    world.run(Duration::from_secs(10));
    world.send(&[1], LOSSY, numbered(5000, 8));
    world.send(&[1], RELIABLE, numbered(1, 8));
    world.run(Duration::from_secs(10));
    assert_eq!(numbers(world.clients[&1].messages(LOSSY)).last(), Some(&5000));
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), [1]);
    assert_eq!(world.ended(1), None);
}

#[test]
fn a_receiver_that_was_deaf_for_a_while_gets_everything() {
    let mut world = World::new();
    world.join(1);
    world.client(1).deaf = true;
    for number in 0..20 {
        world.send(&[1], RELIABLE, numbered(number, 10_000));
    }
    world.run(Duration::from_secs(8));
    world.client(1).deaf = false;
    world.run(Duration::from_secs(30));
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_message_larger_than_the_client_takes_is_refused_alone() {
    let mut world = World::with_send_buffer(8 << 20);
    world.join(1);
    world.send(&[1], RELIABLE, vec![0; 600_000]);
    world.send(&[1], RELIABLE, numbered(1, 200_000));
    world.run(Duration::from_secs(1));
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), [1]);
    assert_eq!(world.counters.snapshot().messages_refused, 1);
}

#[test]
fn while_python_is_behind_the_sender_waits_and_nothing_is_lost() {
    const COUNT: usize = 1000;
    let mut world = World::new();
    world.join(1);
    world.join(2);
    world.attentive = false;
    for number in 0..COUNT {
        world.client(1).send(RELIABLE, numbered(number, 15_000));
    }
    world.run(Duration::from_secs(5));
    let stats = world.counters.snapshot();
    // The backlog's bound and what was in flight when it was reached, of 15 MB.
    assert!((250..450).contains(&stats.messages_in), "{stats:?}");
    assert_eq!(stats.packets_overheld, 0);
    world.client(2).send(RELIABLE, numbered(7, 8));
    world.run(Duration::from_secs(5));
    assert_eq!(world.counters.snapshot().messages_in, stats.messages_in + 1);
    world.attentive = true;
    world.until(|world| world.counted(1) == COUNT);
    assert_eq!(numbers(&world.from(1, RELIABLE)), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(numbers(&world.from(2, RELIABLE)), [7]);
    assert_eq!(world.counters.snapshot().packets_held, 0);
}

#[test]
fn a_closed_channel_is_told_and_the_transport_lives_on() {
    let mut world = World::new();
    world.join(1);
    let now = world.now;
    world.client(1).close_channel(now, LOSSY);
    world.run(Duration::from_secs(2));
    let closed = |event: &Event| matches!(event, Event::ChannelClosed { transport: 1, label } if &**label == LOSSY);
    assert_eq!(world.events.iter().filter(|event| closed(event)).count(), 1);
    world.send(&[1], LOSSY, b"nobody".to_vec());
    world.send(&[1], RELIABLE, b"somebody".to_vec());
    world.run(Duration::from_secs(2));
    assert_eq!(world.clients[&1].messages(RELIABLE), [b"somebody"]);
    assert_eq!(world.ended(1), None);
}

#[test]
fn a_channel_of_the_clients_own_is_carried_by_its_label() {
    let mut world = World::new();
    world.join(1);
    let now = world.now;
    world.client(1).open_channel(now, "mine");
    world.until(|world| world.opened(1) == 4 && world.clients[&1].has_open("mine"));
    world.client(1).send("mine", b"ping".to_vec());
    world.send(&[1], "mine", b"pong".to_vec());
    world.run(Duration::from_secs(1));
    assert_eq!(world.from(1, "mine"), [b"ping"]);
    assert_eq!(world.clients[&1].messages("mine"), [b"pong"]);
}

#[test]
fn a_second_channel_of_the_same_label_takes_over_and_both_are_heard() {
    let mut world = World::new();
    world.join(1);
    world.client(1).send(RELIABLE, b"first".to_vec());
    let now = world.now;
    world.client(1).open_channel(now, RELIABLE);
    world.until(|world| world.opened(1) == 4 && world.counted(1) == 1);
    world.client(1).send(RELIABLE, b"second".to_vec());
    world.send(&[1], RELIABLE, b"back".to_vec());
    world.run(Duration::from_secs(1));
    assert_eq!(world.from(1, RELIABLE), [b"first".as_slice(), b"second"]);
    assert_eq!(world.clients[&1].messages(RELIABLE), [b"back"]);
}

#[test]
fn on_a_lossy_network_reliable_messages_still_arrive_in_order() {
    let mut world = World::with_send_buffer(64 << 20);
    world.loss = 5;
    world.join(1);
    for number in 0..200 {
        world.client(1).send(RELIABLE, numbered(number, 15_000));
        world.send(&[1], RELIABLE, numbered(number, 15_000));
        world.send(&[1], LOSSY, numbered(number, 1_000));
    }
    world.run(Duration::from_secs(600));
    assert_eq!(numbers(&world.from(1, RELIABLE)), (0..200).collect::<Vec<_>>());
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), (0..200).collect::<Vec<_>>());
    let arrived = numbers(world.clients[&1].messages(LOSSY));
    assert!((1..=200).contains(&arrived.len()) && arrived.iter().all(|number| *number < 200), "{arrived:?}");
    assert_eq!(world.ended(1), None);
}
