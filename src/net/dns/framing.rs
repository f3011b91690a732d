//! DNS over TCP: each message has its length in two octets before it (RFC 1035, section 4.2.2). Sans-IO.

/// Takes a TCP stream apart into messages. Holds one unfinished message at most, so 64 KiB.
#[derive(Debug, Default)]
pub struct TcpFraming {
    /// Length prefix and body, as far as they have come.
    partial: Vec<u8>,
}

const PREFIX: usize = 2;

impl TcpFraming {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next whole message; takes what it uses from the front of `input`. `None` when `input` is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        while self.partial.len() < PREFIX {
            let (&byte, rest) = input.split_first()?;
            self.partial.push(byte);
            *input = rest;
        }
        let length = usize::from(u16::from_be_bytes([self.partial[0], self.partial[1]]));
        let missing = PREFIX + length - self.partial.len();
        let (now, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(now);
        *input = rest;
        if now.len() < missing {
            return None;
        }
        let message = self.partial.split_off(PREFIX);
        self.partial = Vec::new();
        Some(message)
    }

    /// Whether the stream ends between two messages.
    pub fn is_idle(&self) -> bool {
        self.partial.is_empty()
    }

    /// A message with its length before it; `None` beyond 65 535 octets.
    pub fn frame(message: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(message.len()).ok()?;
        let mut framed = Vec::with_capacity(PREFIX + message.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        Some(framed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut framing = TcpFraming::new();
        let mut found = Vec::new();
        for mut input in stream.chunks(piece) {
            while let Some(message) = framing.next(&mut input) {
                found.push(message);
            }
            assert!(input.is_empty());
        }
        assert!(framing.is_idle());
        found
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_cut() {
        let bodies = [b"first".to_vec(), Vec::new(), vec![7; 65_535], b"x".to_vec()];
        let stream: Vec<u8> = bodies.iter().flat_map(|body| TcpFraming::frame(body).unwrap()).collect();
        for piece in [1, 2, 3, 6, 7, 1000, 65_537, stream.len()] {
            assert_eq!(messages(&stream, piece), bodies, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_message_too_long_for_its_prefix_is_not_framed() {
        assert_eq!(TcpFraming::frame(&vec![0; 65_536]), None);
        assert_eq!(TcpFraming::frame(&[1]).unwrap(), [0, 1, 1]);
    }
}
