//! Reads the server name out of a TLS `ClientHello` (RFC 8446, section 4.1.2; RFC 6066, section 3), in whatever
//! pieces it comes, and follows the flow until a second one is out of the question.
//!
//! Input is the guest's byte stream from its first byte; output is where the hello ends and which name it
//! carries. What a server could read in another way than this module is refused, not guessed: a hello never
//! gets past because of an odd wrapping. A hello without a server name is fine (the pin decides), and so is an
//! SSLv2-format hello (RFC 5246, appendix E.2): it cannot carry a name, and does not look like TLS here.
//!
//! After the hello the guest's records pass by their headers alone, until the server has answered. If that
//! answer is a `HelloRetryRequest`, the second `ClientHello` is judged like the first: servers pick the
//! certificate, and often the virtual host, by the last one.

/// Bytes of one `ClientHello` message. Post-quantum key shares make 2 KiB, session tickets and ECH a few more;
/// nothing honest comes near.
pub(super) const MAX_HELLO: usize = 32 * 1024;
/// Bytes of records a hello may be spread over: leaves room for a header per 5 bytes, not per byte.
const MAX_SPREAD: usize = 64 * 1024;
/// Largest plaintext record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;

const RECORD_HEADER: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const HEARTBEAT: u8 = 24;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// What the first bytes of a flow look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// Too few bytes to say.
    Unclear,
    /// A handshake record: TLS until proven malformed.
    Tls,
    /// A record that may not come before a `ClientHello` (an alert, a `ChangeCipherSpec`, a heartbeat), with which a
    /// hello could be slipped past servers that skip them.
    OutOfPlace,
    /// Not TLS.
    Other,
}

/// Classifies the first bytes. Decides as soon as one byte rules TLS out.
///
/// Alerts and the like are told apart from binary protocols by their length: a lone one is shorter than 256
/// bytes, and where a server could skip it, always is.
pub(super) fn looks(bytes: &[u8]) -> Looks {
    let Some(&kind) = bytes.first() else {
        return Looks::Unclear;
    };
    if !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&kind) {
        return Looks::Other;
    }
    let Some(&major) = bytes.get(1) else {
        return Looks::Unclear;
    };
    if major != 3 {
        return Looks::Other;
    }
    if kind == HANDSHAKE {
        return Looks::Tls;
    }
    match (bytes.get(2), bytes.get(3)) {
        (Some(5..), _) | (_, Some(1..)) => Looks::Other,
        (Some(_), Some(0)) => Looks::OutOfPlace,
        _ => Looks::Unclear,
    }
}

/// Reassembles one `ClientHello`.
#[derive(Debug, Default)]
pub(super) struct HelloReader {
    /// Bytes of the stream whose records are already in `message`.
    scanned: usize,
    message: Vec<u8>,
}

/// What [`HelloReader::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    NeedMore,
    /// The hello's last record ends after `length` bytes.
    Complete {
        length: usize,
        server_name: Option<Vec<u8>>,
    },
    Malformed(&'static str),
}

impl HelloReader {
    /// `bytes` starts where the hello's first record starts and only grows from call to call.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Hello {
        loop {
            let rest = bytes.get(self.scanned..).unwrap_or_default();
            let Some((header, body)) = rest.split_at_checked(RECORD_HEADER) else {
                return Hello::NeedMore;
            };
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != HANDSHAKE || header[1] != 3 {
                return Hello::Malformed("another record stands inside the ClientHello");
            }
            if length == 0 || length > MAX_RECORD {
                return Hello::Malformed("a handshake record of a forbidden length");
            }
            let end = self.scanned + RECORD_HEADER + length;
            if end > MAX_SPREAD {
                return Hello::Malformed("the ClientHello is spread over too many bytes");
            }
            let Some(fragment) = body.get(..length) else {
                return Hello::NeedMore;
            };
            self.message.extend_from_slice(fragment);
            self.scanned = end;
            match whole(&self.message) {
                Err(why) => return Hello::Malformed(why),
                Ok(None) => {}
                Ok(Some(hello)) => {
                    return match server_name(hello) {
                        Ok(name) => Hello::Complete { length: end, server_name: name.map(<[u8]>::to_vec) },
                        Err(why) => Hello::Malformed(why),
                    };
                }
            }
        }
    }
}

/// The body of the `ClientHello` once it is whole.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let Some(&kind) = message.first() else {
        return Ok(None);
    };
    if kind != CLIENT_HELLO {
        return Err("the first handshake message is not a ClientHello");
    }
    let Some((header, body)) = message.split_at_checked(4) else {
        return Ok(None);
    };
    let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if length > MAX_HELLO {
        return Err("the ClientHello is too large");
    }
    match body.len() {
        have if have < length => Ok(None),
        have if have == length => Ok(Some(body)),
        _ => Err("more handshake messages follow in the ClientHello's record"),
    }
}

/// The one host name in the `server_name` extension.
fn server_name(hello: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    const CUT: &str = "the ClientHello ends too early or has a wrong length inside";
    let mut hello = Cursor(hello);
    let version = hello.take(2).ok_or(CUT)?;
    hello.take(32).ok_or(CUT)?;
    let session = hello.vector8().ok_or(CUT)?;
    let ciphers = hello.vector16().ok_or(CUT)?;
    let compression = hello.vector8().ok_or(CUT)?;
    if version[0] != 3
        || session.len() > 32
        || ciphers.is_empty()
        || ciphers.len() % 2 != 0
        || compression.is_empty()
    {
        return Err("a field of the ClientHello has a forbidden value");
    }
    if hello.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Cursor(hello.vector16().ok_or(CUT)?);
    if !hello.0.is_empty() {
        return Err("bytes follow the ClientHello's extensions");
    }
    let mut seen = Vec::new();
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(CUT)?;
        let data = extensions.vector16().ok_or(CUT)?;
        seen.push(kind);
        if kind == 0 {
            found = Some(host_name(data).ok_or("the server name extension is malformed")?);
        }
    }
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("an extension stands in the ClientHello twice");
    }
    Ok(found)
}

/// `ServerNameList` with exactly one entry, of type `host_name`.
fn host_name(data: &[u8]) -> Option<&[u8]> {
    let mut data = Cursor(data);
    let mut list = Cursor(data.vector16()?);
    let kind = list.take(1)?;
    let name = list.vector16()?;
    (data.0.is_empty() && list.0.is_empty() && kind == [0] && !name.is_empty()).then_some(name)
}

/// Reads length-prefixed fields from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// The guest's records after its first hello, until the server's answer says that no second one can follow.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// Bytes left of a record whose header has been looked at.
    skip: usize,
    /// A later `ClientHello` that is being reassembled.
    again: Option<HelloReader>,
}

/// What [`Follow::step`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// So many bytes may pass; more has to be seen of what comes after (0: nothing yet).
    Pass(usize),
    /// A further `ClientHello`, complete after `length` bytes, all of which are still held back.
    Hello { length: usize, server_name: Option<Vec<u8>> },
    /// No TLS record: only a server that has already given up could be listening.
    Malformed(&'static str),
}

impl Follow {
    /// `bytes` starts at the first byte that was not passed yet.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        loop {
            let step = self.skip.min(bytes.len() - at);
            at += step;
            self.skip -= step;
            let rest = &bytes[at..];
            if rest.len() <= RECORD_HEADER {
                return match rest {
                    [kind, ..] if !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(kind) && at == 0 => {
                        Followed::Malformed("what follows the ClientHello is no TLS record")
                    }
                    _ => Followed::Pass(at),
                };
            }
            if !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&rest[0]) || rest[1] != 3 {
                return if at > 0 {
                    Followed::Pass(at)
                } else {
                    Followed::Malformed("what follows the ClientHello is no TLS record")
                };
            }
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            // An empty handshake record could hide where the next message starts.
            let hello = rest[0] == HANDSHAKE && (rest[RECORD_HEADER] == CLIENT_HELLO || length == 0);
            if !hello {
                self.skip = RECORD_HEADER + length;
                continue;
            }
            if at > 0 {
                return Followed::Pass(at);
            }
            return match self.again.get_or_insert_default().read(rest) {
                Hello::NeedMore => Followed::Pass(0),
                Hello::Complete { length, server_name } => {
                    self.again = None;
                    Followed::Hello { length, server_name }
                }
                Hello::Malformed(why) => Followed::Malformed(why),
            };
        }
    }
}

/// Reads the server's answer as far as needed to tell a `HelloRetryRequest` from anything else.
#[derive(Debug, Default)]
pub(super) struct ServerAnswer {
    /// Header of the current record, as far as it has come.
    header: Vec<u8>,
    /// Bytes left of the current record.
    left: usize,
    message: Vec<u8>,
}

/// Handshake header, version and random: the random tells (RFC 8446, section 4.1.3).
const ANSWER: usize = 4 + 2 + 32;
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerAnswer {
    /// Takes the server's next bytes. `Some(true)`: it asks for a second hello. `Some(false)`: it does not.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<bool> {
        while let Some((&first, tail)) = bytes.split_first() {
            if self.left == 0 {
                self.header.push(first);
                bytes = tail;
                if self.header.len() < RECORD_HEADER {
                    continue;
                }
                if self.header[0] != HANDSHAKE {
                    return Some(false);
                }
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                self.header.clear();
                continue;
            }
            let take = self.left.min(bytes.len()).min(ANSWER - self.message.len());
            self.message.extend_from_slice(&bytes[..take]);
            self.left -= take;
            bytes = &bytes[take..];
            if self.message.len() == ANSWER {
                return Some(self.message[0] == SERVER_HELLO && self.message[ANSWER - 32..] == RETRY_RANDOM);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
