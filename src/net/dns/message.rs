//! Reads questions off the wire and writes answers onto it (RFC 1035, section 4; EDNS: RFC 6891).
//!
//! Questions are read by hand, because they come from the guest and the part of a message that matters is small:
//! one header, one question, perhaps one OPT. Nothing is followed (a question needs no compression pointers) and
//! nothing is allocated by a length the guest claims. Answers are written by hickory-proto.

use std::fmt::Write as _;

use hickory_proto::op::{Edns, Message, OpCode, Query as WireQuery, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::Transport;

/// Size of a UDP answer for a client that says nothing (RFC 1035, section 4.2.1).
const PLAIN_UDP: u16 = 512;
/// Largest UDP answer for any client: fits one packet on every path (DNS flag day 2020).
const LARGEST_UDP: u16 = 1232;
/// Seconds for which the guest may keep an answer that says no. Short, because a rule may come with the next run.
const NEGATIVE_TTL: u32 = 10;
/// Records behind the question that are looked through for an OPT; a client sends one, or two with a signature.
const MAX_ADDITIONAL: u16 = 8;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const KIND_OPT: u16 = 41;

/// What of a header goes back into the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    id: u16,
    op_code: OpCode,
    recursion_desired: bool,
    checking_disabled: bool,
}

/// One question, as far as it has to be remembered for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) header: Header,
    /// As it came, upper and lower case included: the answer repeats it.
    pub(super) name: Name,
    /// Without the trailing dot; bytes that cannot stand in a host name are escaped (RFC 4343, section 2.1).
    pub(super) text: String,
    pub(super) kind: RecordType,
    edns: Option<Options>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    payload: u16,
    dnssec_ok: bool,
}

/// A message that is not a question we answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not a query, or not even a header: no answer.
    Ignore,
    /// The answer is this code, with the reason for the log.
    Refuse(Header, ResponseCode, &'static str),
}

/// Reads one message.
pub(super) fn parse(message: &[u8]) -> Result<Question, Unfit> {
    let mut reader = Reader { rest: message };
    let head = reader.take(HEADER).ok_or(Unfit::Ignore)?;
    let flags = u16::from_be_bytes([head[2], head[3]]);
    if flags & 0x8000 != 0 {
        return Err(Unfit::Ignore);
    }
    let header = Header {
        id: u16::from_be_bytes([head[0], head[1]]),
        op_code: OpCode::from_u8((flags >> 11 & 0xf) as u8),
        recursion_desired: flags & 0x0100 != 0,
        checking_disabled: flags & 0x0010 != 0,
    };
    let refuse = |code, why| Err(Unfit::Refuse(header, code, why));
    if header.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp, "an operation other than a query");
    }
    let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    if (count(4), count(6), count(8)) != (1, 0, 0) || flags & 0x0200 != 0 {
        return refuse(ResponseCode::FormErr, "a query has one question and nothing else");
    }
    let Some((name, text)) = reader.name() else {
        return refuse(ResponseCode::FormErr, "the name in the question is malformed");
    };
    let (Some(kind), Some(class)) = (reader.u16(), reader.u16()) else {
        return refuse(ResponseCode::FormErr, "the question is cut short");
    };
    let edns = match reader.options(count(10)) {
        Ok(edns) => edns,
        Err(code) => return refuse(code, "the additional section is malformed"),
    };
    if class != CLASS_IN {
        return refuse(ResponseCode::Refused, "a class other than IN");
    }
    Ok(Question { header, name, text, kind: RecordType::from(kind), edns })
}

/// Reads from the front of what is left.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// An uncompressed name, and its text. hickory bounds it to 255 octets.
    fn name(&mut self) -> Option<(Name, String)> {
        let mut labels = Vec::new();
        let mut text = String::new();
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => break,
                1..=63 => {}
                64.. => return None,
            }
            let label = self.take(usize::from(length))?;
            labels.push(label);
            if labels.len() > 127 {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                    b'!'..=b'~' => text.push(char::from(byte)),
                    _ => {
                        let _ = write!(text, "\\{byte:03}");
                    }
                }
            }
        }
        let name = Name::from_labels(labels).ok()?;
        Some((name, text))
    }

    /// Skips a name in a record, pointers unfollowed.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                length @ 1..=63 => self.take(usize::from(length)).map(drop)?,
                64..=191 => return None,
                192.. => return self.take(1).map(drop),
            }
        }
    }

    fn options(&mut self, count: u16) -> Result<Option<Options>, ResponseCode> {
        let mut found = None;
        if count > MAX_ADDITIONAL {
            return Err(ResponseCode::FormErr);
        }
        for _ in 0..count {
            let at_root = self.rest.first() == Some(&0);
            self.skip_name().ok_or(ResponseCode::FormErr)?;
            let fixed = self.take(10).ok_or(ResponseCode::FormErr)?;
            self.take(usize::from(u16::from_be_bytes([fixed[8], fixed[9]]))).ok_or(ResponseCode::FormErr)?;
            if u16::from_be_bytes([fixed[0], fixed[1]]) != KIND_OPT {
                continue;
            }
            if found.is_some() || !at_root {
                return Err(ResponseCode::FormErr);
            }
            if fixed[5] != 0 {
                return Err(ResponseCode::BADVERS);
            }
            found = Some(Options {
                payload: u16::from_be_bytes([fixed[2], fixed[3]]),
                dnssec_ok: fixed[6] & 0x80 != 0,
            });
        }
        Ok(found)
    }
}

/// The answer to a message that is not a question we answer: a header alone.
pub(super) fn refuse(header: Header, code: ResponseCode) -> Option<Vec<u8>> {
    let mut message = response(header, code);
    if code == ResponseCode::BADVERS {
        message.edns = Some(edns(false));
    }
    message.to_vec().ok()
}

/// The answer to a question. Without records it carries an SOA, so that the guest may remember it for a little.
pub(super) fn answer(
    question: &Question,
    transport: Transport,
    code: ResponseCode,
    records: Vec<Record>,
) -> Option<Vec<u8>> {
    let mut message = response(question.header, code);
    message.queries.push(WireQuery::query(question.name.clone(), question.kind));
    message.edns = question.edns.map(|options| edns(options.dnssec_ok));
    let negative = records.is_empty() && matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    message.answers = records;
    if negative {
        message.authorities.push(soa(&question.name));
    }
    let whole = message.to_vec().ok()?;
    // The encoder itself ends a message at 64 KiB, at a whole record, and says so in the header.
    let Transport::Udp = transport else {
        return Some(whole);
    };
    let limit = question.edns.map_or(PLAIN_UDP, |options| options.payload.clamp(PLAIN_UDP, LARGEST_UDP));
    if whole.len() <= usize::from(limit) {
        return Some(whole);
    }
    // The client asks again over TCP.
    message.answers.clear();
    message.metadata.truncation = true;
    message.to_vec().ok()
}

fn response(header: Header, code: ResponseCode) -> Message {
    let mut message = Message::response(header.id, header.op_code);
    message.metadata.recursion_desired = header.recursion_desired;
    message.metadata.checking_disabled = header.checking_disabled;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message
}

fn edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST_UDP).set_dnssec_ok(dnssec_ok);
    edns
}

/// RFC 2308: how long the guest may remember that there is nothing. The zone is the name itself, so that the
/// memory covers nothing else.
fn soa(name: &Name) -> Record {
    let root = Name::root();
    let soa = SOA::new(root.clone(), root, 1, 3600, 600, 86_400, NEGATIVE_TTL);
    Record::from_rdata(name.clone(), NEGATIVE_TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests;
