//! Bytes that are cheap to make and to check, and that show a loss, a repetition or a shift: pseudo-random ones
//! whose period is a prime, so that no packet, page or buffer size hides a mistake.

use std::sync::OnceLock;

/// The period, bytes.
const PERIOD: usize = 65_537;
/// Most bytes that [`at`] gives at once.
pub const CHUNK: usize = 128 << 10;

/// The bytes that stand at `offset` of the stream, [`CHUNK`] of them.
pub fn at(offset: u64) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        bytes.extend_from_within(..);
        bytes.extend_from_within(..PERIOD);
        bytes
    });
    let start = (offset % PERIOD as u64) as usize;
    &bytes[start..start + CHUNK]
}

/// Whether `received` is what stands at `offset`.
pub fn matches(offset: u64, received: &[u8]) -> bool {
    at(offset).get(..received.len()) == Some(received)
}
