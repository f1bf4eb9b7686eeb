//! How loud a track is.

use std::time::Duration;

/// How often levels are told.
pub const WINDOW: Duration = Duration::from_millis(400);
/// Level in dBov above which a packet counts as somebody speaking.
pub const ACTIVE: i8 = -35;

/// Levels of one track in the current window.
#[derive(Debug, Default)]
pub struct Level {
    all: Sum,
    active: Sum,
}

#[derive(Debug, Default)]
struct Sum {
    /// Milliseconds.
    time: f32,
    /// Level in dBov times milliseconds.
    level: f32,
}

impl Sum {
    fn add(&mut self, level: i8, time: f32) {
        self.time += time;
        self.level += f32::from(level) * time;
    }
}

impl Level {
    /// Count a packet in: its level in dBov (RFC 6464; silence if it does not say), and its duration.
    pub fn add(&mut self, level: Option<i8>, duration: Duration) {
        let level = level.unwrap_or(-127);
        let time = duration.as_secs_f32() * 1000.0;
        self.all.add(level, time);
        if level > ACTIVE {
            self.active.add(level, time);
        }
    }

    /// Close the window: the mean level of what was active (of everything if nothing was), and the share of the
    /// window that was. None: there was nothing.
    pub fn take(&mut self) -> Option<(f32, f32)> {
        let Self { all, active } = std::mem::take(self);
        let heard = if active.time > 0.0 { &active } else { &all };
        let share = active.time / (WINDOW.as_secs_f32() * 1000.0);
        (heard.time > 0.0).then(|| (heard.level / heard.time, share.min(1.0)))
    }
}

/// The duration of an Opus packet (RFC 6716 section 3.1), 20 ms for what cannot be one.
///
/// It only takes the first two bytes, the first of which end-to-end encryption leaves readable.
pub fn opus_duration(payload: &[u8]) -> Duration {
    const USUAL: Duration = Duration::from_millis(20);
    let Some(&toc) = payload.first() else { return USUAL };
    let frame = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(payload.get(1).map_or(1, |count| count & 0x3f)),
    };
    match Duration::from_micros(frame * frames) {
        duration if duration.is_zero() || duration > Duration::from_millis(120) => USUAL,
        duration => duration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn the_mean_is_of_what_is_active_and_the_share_of_the_window() {
        let mut level = Level::default();
        (0..5).for_each(|_| level.add(Some(-20), FRAME));
        (0..5).for_each(|_| level.add(Some(-30), FRAME));
        (0..10).for_each(|_| level.add(Some(-90), FRAME));
        assert_eq!(level.take(), Some((-25.0, 0.5)));
        assert_eq!(level.take(), None);
    }

    #[test]
    fn silence_has_a_level_and_no_share() {
        let mut level = Level::default();
        level.add(Some(-35), FRAME);
        level.add(None, FRAME);
        assert_eq!(level.take(), Some((-81.0, 0.0)));
    }

    #[test]
    fn more_than_a_window_is_a_whole_one() {
        let mut level = Level::default();
        (0..30).for_each(|_| level.add(Some(0), FRAME));
        assert_eq!(level.take(), Some((0.0, 1.0)));
    }

    #[test]
    fn opus_says_how_long_it_is() {
        let millis = |payload: &[u8]| opus_duration(payload).as_micros() as f64 / 1000.0;
        // Wideband SILK 20 ms; hybrid 20 ms; fullband CELT 20 ms, 2.5 ms.
        assert_eq!((millis(&[0x48]), millis(&[0x78]), millis(&[0xf8]), millis(&[0xe0])), (20.0, 20.0, 20.0, 2.5));
        // Two frames; three frames; SILK 60 ms.
        assert_eq!((millis(&[0xf9, 0]), millis(&[0xfb, 3]), millis(&[0x58])), (40.0, 60.0, 60.0));
        // Not Opus.
        assert_eq!((millis(&[]), millis(&[0xfb, 0]), millis(&[0x5b, 0x3f])), (20.0, 20.0, 20.0));
    }
}
