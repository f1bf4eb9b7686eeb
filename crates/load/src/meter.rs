//! What was received, and how long it took.

use crate::stamp::Stamp;

/// Durations in microseconds, each counted in a bucket at most 1/32 wide.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Count one duration.
    pub fn record(&mut self, micros: u64) {
        let bucket = bucket(micros);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// Add what another has counted.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The longest duration.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The upper edge of the bucket that holds the given fraction (0 to 1) of all durations. `None`: there are none.
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        let rank = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper(bucket).min(self.max))
    }
}

/// Values below 64 have a bucket each; above, every power of two has 32.
fn bucket(micros: u64) -> usize {
    let shift = (64 - micros.leading_zeros()).saturating_sub(6);
    match shift {
        0 => micros as usize,
        _ => 32 + shift as usize * 32 + ((micros >> shift) - 32) as usize,
    }
}

fn upper(bucket: usize) -> u64 {
    if bucket < 64 {
        return bucket as u64;
    }
    let shift = (bucket - 32) / 32;
    let mantissa = ((bucket - 32) % 32 + 32) as u64;
    ((mantissa + 1) << shift) - 1
}

/// One publisher's packets at one receiver.
#[derive(Debug, Clone, Copy)]
pub struct Reception {
    /// Whose they are.
    pub publisher: u32,
    /// Packets that came.
    pub received: u64,
    /// Of those, how many came after one that was sent later.
    pub late: u64,
    first: u64,
    next: u64,
}

impl Reception {
    /// Packets between the first and the last that did not come.
    pub fn lost(&self) -> u64 {
        (self.next - self.first).saturating_sub(self.received)
    }
}

/// Everything one client received.
#[derive(Debug, Default)]
pub struct Meter {
    /// By publisher.
    pub receptions: Vec<Reception>,
    /// Packets that bear no stamp, such as an agent's voice.
    pub strange: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Time from sender to receiver.
    pub latency: Histogram,
}

impl Meter {
    /// Count a payload that came at `now`, in nanoseconds by [`crate::stamp::clock`].
    pub fn hear(&mut self, payload: &[u8], now: u64) {
        self.bytes += payload.len() as u64;
        let Some(stamp) = Stamp::read(payload) else {
            self.strange += 1;
            return;
        };
        self.latency.record(now.saturating_sub(stamp.sent) / 1000);
        let Stamp { publisher, sequence, .. } = stamp;
        let Some(known) = self.receptions.iter_mut().find(|known| known.publisher == publisher) else {
            let next = sequence + 1;
            self.receptions.push(Reception { publisher, received: 1, late: 0, first: sequence, next });
            return;
        };
        if sequence < known.first {
            // It overtook the beginning of a measurement.
            return;
        }
        known.received += 1;
        if sequence < known.next {
            known.late += 1;
        } else {
            known.next = sequence + 1;
        }
    }

    /// How many publishers were heard.
    pub fn voices(&self) -> usize {
        self.receptions.iter().filter(|known| known.received > 0).count()
    }

    /// Packets with a stamp.
    pub fn received(&self) -> u64 {
        self.receptions.iter().map(|known| known.received).sum()
    }

    /// Begin a measurement: forget what was counted, not who speaks.
    pub fn restart(&mut self) {
        for known in &mut self.receptions {
            *known = Reception { received: 0, late: 0, first: known.next, ..*known };
        }
        self.strange = 0;
        self.bytes = 0;
        self.latency = Histogram::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sequences: &[u64]) -> Meter {
        let mut meter = Meter::default();
        for &sequence in sequences {
            let stamp = Stamp { publisher: 3, sequence, sent: 1_000_000 };
            meter.hear(&stamp.payload(80), 3_500_000);
        }
        meter
    }

    #[test]
    fn gaps_are_losses_and_latecomers_fill_them() {
        let meter = heard(&[10, 11, 14, 13, 17]);
        let known = meter.receptions[0];
        assert_eq!((known.received, known.late, known.lost()), (5, 1, 3));
        assert_eq!((meter.bytes, meter.voices()), (400, 1));
    }

    #[test]
    fn a_new_measurement_counts_from_the_packet_that_is_due() {
        let mut meter = heard(&[10, 11]);
        meter.restart();
        assert_eq!((meter.received(), meter.voices(), meter.latency.count()), (0, 0, 0));
        for sequence in [11, 13] {
            meter.hear(&Stamp { publisher: 3, sequence, sent: 0 }.payload(80), 0);
        }
        let known = meter.receptions[0];
        assert_eq!((known.received, known.lost()), (1, 1));
    }

    #[test]
    fn quantiles_are_at_most_a_32nd_too_long_and_never_too_short() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        let durations: Vec<u64> = (0..2000).map(|step| step * step * 7).collect();
        durations.iter().for_each(|&micros| histogram.record(micros));
        for (fraction, index) in [(0.0, 0), (0.5, 999), (0.99, 1979), (1.0, 1999)] {
            let (exact, told) = (durations[index], histogram.quantile(fraction).unwrap());
            assert!(told >= exact && told <= exact + exact / 32 + 1, "{exact} {told}");
        }
        let mut sum = histogram.clone();
        sum.merge(&histogram);
        assert_eq!((sum.count(), sum.quantile(0.5)), (4000, histogram.quantile(0.5)));
        assert_eq!(sum.max(), 1999 * 1999 * 7);
    }

    #[test]
    fn a_packet_without_a_stamp_is_strange() {
        let mut meter = Meter::default();
        meter.hear(&[0xf8; 40], 0);
        assert_eq!((meter.strange, meter.bytes, meter.voices()), (1, 40, 0));
    }
}
