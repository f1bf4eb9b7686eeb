//! Data channels between the hub and clients, in virtual time.

mod support;

use std::time::Duration;

use support::{DATA_TRACK, LOSSY, RELIABLE, World};

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
    const COUNT: usize = 3000;
    for number in 0..COUNT {
        world.client(1).send(RELIABLE, numbered(number, 15_000));
        world.send(&[1], RELIABLE, numbered(number, 15_000));
    }
    world.until(|world| world.from(1, RELIABLE).len() == COUNT && world.clients[&1].messages(RELIABLE).len() == COUNT);
    let expected: Vec<usize> = (0..COUNT).collect();
    assert_eq!(numbers(&world.from(1, RELIABLE)), expected);
    assert_eq!(numbers(world.clients[&1].messages(RELIABLE)), expected);
    assert!(world.clients[&1].messages(RELIABLE).iter().all(|message| message.len() == 15_000));
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
