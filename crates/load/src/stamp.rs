//! What stands in a payload, so that whoever receives it knows whose it is, which one, and when it left.

/// Bytes of a stamp; the smallest payload.
pub const SIZE: usize = 24;
/// Four bytes no Opus packet of a real encoder begins with: code 3 with 63 frames of 60 ms, more than 120 ms.
const MARK: [u8; 4] = [0xfb, 0x3f, 0x47, 0x52];

/// The sender's word on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Who sent it.
    pub publisher: u32,
    /// Which one it is, from 0.
    pub sequence: u64,
    /// When it was sent, by [`clock`].
    pub sent: u64,
}

impl Stamp {
    /// A payload of `size` bytes, at least [`SIZE`], that begins with the stamp.
    pub fn payload(&self, size: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(size.max(SIZE));
        payload.extend_from_slice(&MARK);
        payload.extend_from_slice(&self.publisher.to_be_bytes());
        payload.extend_from_slice(&self.sequence.to_be_bytes());
        payload.extend_from_slice(&self.sent.to_be_bytes());
        payload.resize(size.max(SIZE), 0);
        payload
    }

    /// Read a payload. `None`: it is nobody's stamp.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (mark, rest) = payload.get(..SIZE)?.split_first_chunk::<4>()?;
        let (publisher, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        (*mark == MARK).then(|| Self {
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            sent: u64::from_be_bytes(*sent),
        })
    }
}

/// Nanoseconds by the clock that all processes of a machine share (`CLOCK_MONOTONIC`).
pub fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_written_whatever_the_size_of_the_payload() {
        let stamp = Stamp { publisher: 7, sequence: 1 << 40, sent: clock() };
        for size in [0, SIZE, 80, 1200] {
            let payload = stamp.payload(size);
            assert_eq!(payload.len(), size.max(SIZE));
            assert_eq!(Stamp::read(&payload), Some(stamp));
        }
    }

    #[test]
    fn what_others_send_is_no_stamp() {
        assert_eq!(Stamp::read(&[0xf8; 80]), None);
        assert_eq!(Stamp::read(&Stamp { publisher: 1, sequence: 1, sent: 1 }.payload(80)[..SIZE - 1]), None);
    }
}
