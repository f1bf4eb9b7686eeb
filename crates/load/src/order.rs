//! What a run is to do, read from the command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::peer::Sections;
use crate::signal::Identity;
use crate::stamp;

/// How many clients one run may have.
pub const MOST_CLIENTS: usize = 20_000;
/// How long one run may measure, in seconds.
pub const LONGEST: f64 = 3600.0;

/// Which tracks a subscriber receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribe {
    /// Every one, by automatic subscription.
    All,
    /// None.
    None,
    /// The first few it learns of, by request.
    Some(usize),
}

/// A run.
#[derive(Debug, Clone)]
pub struct Order {
    /// The server.
    pub server: SocketAddr,
    /// Its name and port.
    pub host: String,
    /// API key.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// What the names of rooms begin with.
    pub room: String,
    /// How many rooms.
    pub rooms: usize,
    /// Clients that publish, in each room.
    pub publishers: usize,
    /// Whether they receive each other, too.
    pub two_way: bool,
    /// Clients that only receive, in each room.
    pub subscribers: usize,
    /// What these receive.
    pub subscribe: Subscribe,
    /// Packets a second of each publisher.
    pub rate: f64,
    /// Bytes of payload.
    pub size: usize,
    /// Receiving sections of the first offer.
    pub sections: Sections,
    /// How often each subscriber leaves and joins again once it has heard everybody.
    pub cycles: usize,
    /// How many may be joining at once, on each thread.
    pub joining: usize,
    /// Threads.
    pub threads: usize,
    /// How long to let audio flow before the measurement.
    pub warm_up: Duration,
    /// How long to measure.
    pub time: Duration,
    /// How long everybody has for joining and being heard.
    pub patience: Duration,
}

/// One client of a run.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its number in the run.
    pub index: u32,
    /// Who it is.
    pub who: Identity,
    /// Whether it publishes.
    pub speaks: bool,
    /// Which tracks it receives.
    pub subscribe: Subscribe,
    /// How many publishers it will hear.
    pub voices: usize,
    /// When in the period of a packet it speaks, from 0 to 1.
    pub phase: f64,
}

/// What `--help` prints.
pub const HELP: &str = "\
greenroom-load: join a LiveKit-compatible server with many audio clients and measure.

  greenroom-load --url ws://127.0.0.1:7880 --publishers 1 --subscribers 100 [OPTION ...]
  greenroom-load floor --fan 100 --rate 300 [--seconds 5]

The key is read from LIVEKIT_API_KEY and LIVEKIT_API_SECRET. One JSON object per line and event is printed.

  --url URL           the server: ws:// or http:// with its host and port
  --room NAME         what the names of rooms begin with             [load]
  --rooms N           rooms                                          [1]
  --publishers N      clients in each room that publish one track    [1]
  --two-way           publishers receive each other, too
  --subscribers N     clients in each room that only receive         [1]
  --subscribe WHAT    all, none, or how many tracks                  [all]
  --rate N            packets a second of each publisher             [50]
  --size BYTES        payload of a packet                            [80]
  --sections A,V      audio and video sections of the first offer    [3,3]
  --cycles N          times each subscriber leaves and comes back    [0]
  --joining N         clients joining at once, per thread            [8]
  --threads N         threads                                        [1]
  --warm-up SECONDS   audio before the measurement                   [1]
  --seconds SECONDS   the measurement                                [5]
  --patience SECONDS  for everybody to be in and heard               [60]
  --fan N             of `floor`: how many sockets a burst goes to   [100]
";

/// The options after the program's name.
#[derive(Debug)]
pub struct Arguments {
    given: Vec<(String, String)>,
}

impl Arguments {
    /// Take `--name value` pairs.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut given = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("'{word}' is not an option"))?.to_owned();
            let value =
                if name == "two-way" { String::new() } else { words.next().ok_or(format!("{word} needs a value"))? };
            given.push((name, value));
        }
        Ok(Self { given })
    }

    /// Take an option away.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.given.iter().position(|(known, _)| known == name)?;
        Some(self.given.remove(place).1)
    }

    /// Take a number between two bounds away.
    pub fn number(&mut self, name: &str, default: f64, (least, most): (f64, f64)) -> Result<f64, String> {
        let Some(text) = self.take(name) else { return Ok(default) };
        let number: f64 = text.parse().map_err(|_| format!("--{name} takes a number, not '{text}'"))?;
        if !(least..=most).contains(&number) {
            return Err(format!("--{name} takes a number from {least} to {most}, not {text}"));
        }
        Ok(number)
    }

    fn count(&mut self, name: &str, default: usize, least: usize) -> Result<usize, String> {
        Ok(self.number(name, default as f64, (least as f64, MOST_CLIENTS as f64))? as usize)
    }

    fn seconds(&mut self, name: &str, default: f64) -> Result<Duration, String> {
        Ok(Duration::from_secs_f64(self.number(name, default, (0.0, LONGEST))?))
    }

    /// Complain about what nobody took.
    pub fn finish(self) -> Result<(), String> {
        self.given.first().map_or(Ok(()), |(name, _)| Err(format!("there is no option --{name}")))
    }
}

impl Order {
    /// Read an order. The key and its secret come from the environment.
    pub fn read(mut given: Arguments, key: String, secret: String) -> Result<Self, String> {
        let url = given.take("url").ok_or("--url is missing: which server?")?;
        let host = host_of(&url)?;
        let mut found = host.to_socket_addrs().map_err(|error| format!("--url {url}: {error}"))?;
        let server = found.next().ok_or_else(|| format!("--url {url} has no address"))?;
        let subscribe = given.take("subscribe").unwrap_or_else(|| "all".into());
        let subscribe = match subscribe.as_str() {
            "all" => Subscribe::All,
            "none" => Subscribe::None,
            many => Subscribe::Some(many.parse().map_err(|_| "--subscribe takes all, none or a number")?),
        };
        let sections = given.take("sections").unwrap_or_else(|| "3,3".into());
        let numbers =
            sections.split_once(',').and_then(|(audio, video)| Some((audio.parse().ok()?, video.parse().ok()?)));
        let (audio, video) = numbers.ok_or("--sections takes two numbers, such as 3,3")?;
        let order = Self {
            server,
            host,
            key,
            secret,
            room: given.take("room").unwrap_or_else(|| "load".into()),
            rooms: given.count("rooms", 1, 1)?,
            publishers: given.count("publishers", 1, 0)?,
            two_way: given.take("two-way").is_some(),
            subscribers: given.count("subscribers", 1, 0)?,
            subscribe,
            rate: given.number("rate", 50.0, (0.1, 10_000.0))?,
            size: given.number("size", 80.0, (stamp::SIZE as f64, 1200.0))? as usize,
            sections: Sections { audio, video },
            cycles: given.count("cycles", 0, 0)?,
            joining: given.count("joining", 8, 1)?,
            threads: given.number("threads", 1.0, (1.0, 64.0))? as usize,
            warm_up: given.seconds("warm-up", 1.0)?,
            time: given.seconds("seconds", 5.0)?,
            patience: given.seconds("patience", 60.0)?,
        };
        given.finish()?;
        let clients = order.clients();
        if clients == 0 || clients > MOST_CLIENTS {
            return Err(format!("that makes {clients} clients; 1 to {MOST_CLIENTS} are possible"));
        }
        Ok(order)
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.rooms.saturating_mul(self.publishers.saturating_add(self.subscribers))
    }

    /// Every client of the run. Publishers come first, so that those who listen find them there.
    pub fn parts(&self) -> Vec<Part> {
        let speakers = self.rooms * self.publishers;
        let parts = (0..self.clients()).map(|index| {
            let speaks = index < speakers;
            let place = if speaks { index } else { index - speakers };
            let in_room = if speaks { self.publishers } else { self.subscribers };
            let subscribe = match speaks {
                false => self.subscribe,
                true if self.two_way => Subscribe::All,
                true => Subscribe::None,
            };
            let others = self.publishers - usize::from(speaks);
            let voices = match subscribe {
                Subscribe::All => others,
                Subscribe::None => 0,
                Subscribe::Some(most) => most.min(others),
            };
            let kind = if speaks { "publisher" } else { "subscriber" };
            Part {
                index: index as u32,
                who: Identity { room: format!("{}-{}", self.room, place / in_room), name: format!("{kind}-{place}") },
                speaks,
                subscribe,
                voices,
                phase: if speaks { index as f64 / speakers as f64 } else { 0.0 },
            }
        });
        parts.collect()
    }
}

/// The host and port of a server's address, the port filled in.
fn host_of(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("--url takes ws:// or http://, not {url}"))?;
    let host = rest.split('/').next().unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { host.to_owned() } else { format!("{host}:80") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &str) -> Result<Order, String> {
        let given = Arguments::read(words.split_whitespace().map(str::to_owned))?;
        Order::read(given, "key".into(), "secret".into())
    }

    #[test]
    fn two_way_rooms_have_pairs_that_hear_each_other() {
        let order = order("--url ws://127.0.0.1:7880 --rooms 2 --publishers 2 --subscribers 0 --two-way").unwrap();
        let parts = order.parts();
        let rooms: Vec<&str> = parts.iter().map(|part| part.who.room.as_str()).collect();
        assert_eq!(rooms, ["load-0", "load-0", "load-1", "load-1"]);
        assert!(parts.iter().all(|part| part.speaks && part.voices == 1));
        assert_eq!(parts.iter().map(|part| part.phase).collect::<Vec<_>>(), [0.0, 0.25, 0.5, 0.75]);
    }

    #[test]
    fn subscribers_hear_what_they_ask_for() {
        for (what, voices) in [("all", 3), ("none", 0), ("2", 2), ("9", 3)] {
            let words = format!("--url http://127.0.0.1 --publishers 3 --subscribers 2 --subscribe {what}");
            let order = order(&words).unwrap();
            assert_eq!(order.server.port(), 80);
            let parts = order.parts();
            assert_eq!(parts[4].who.name, "subscriber-1");
            assert!(parts[..3].iter().all(|part| part.speaks && part.voices == 0));
            assert!(parts[3..].iter().all(|part| !part.speaks && part.voices == voices));
        }
    }

    #[test]
    fn mistakes_are_told() {
        let here = "--url ws://127.0.0.1:1";
        for words in [
            "",
            "--url wss://127.0.0.1",
            "--url",
            "x",
            &format!("{here} --what 1"),
            &format!("{here} --publishers 0 --subscribers 0"),
            &format!("{here} --rooms 1000 --subscribers 100"),
            &format!("{here} --rate x"),
            &format!("{here} --size 3"),
            &format!("{here} --sections 3"),
            &format!("{here} --subscribe few"),
        ] {
            assert!(order(words).is_err(), "{words}");
        }
    }
}
