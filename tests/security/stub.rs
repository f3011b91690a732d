//! A name server of the test's own, as dishonest as a test wants it.

use super::harness::Datagrams;

/// A record of an answer.
#[derive(Debug, Clone)]
pub(super) struct Record {
    owner: Option<String>,
    kind: u16,
    data: Vec<u8>,
}

impl Record {
    pub(super) const A_TYPE: u16 = 1;

    pub(super) fn address(text: &str) -> Self {
        match text.parse().unwrap() {
            std::net::IpAddr::V4(v4) => Self { owner: None, kind: 1, data: v4.octets().to_vec() },
            std::net::IpAddr::V6(v6) => Self { owner: None, kind: 28, data: v6.octets().to_vec() },
        }
    }

    pub(super) fn alias(to: &str) -> Self {
        Self { owner: None, kind: 5, data: encode(to) }
    }

    pub(super) fn text(text: &str) -> Self {
        Self { owner: None, kind: 16, data: [&[text.len() as u8], text.as_bytes()].concat() }
    }

    pub(super) fn of(mut self, owner: &str) -> Self {
        self.owner = Some(owner.to_owned());
        self
    }
}

/// A name in the form of RFC 1035, section 3.1.
pub(super) fn encode(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect()
}

/// Starts it at port 53; `answer` gets the name (lower case) and the type. No records: the name does not exist.
pub(super) fn start(mut answer: impl FnMut(&str, u16) -> Vec<Record> + Send + 'static) -> Datagrams {
    Datagrams::at(53, move |query| {
        let (name, end) = decode(query)?;
        let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
        let records = answer(&name.to_ascii_lowercase(), kind);
        let code = if records.is_empty() { 3 } else { 0 };
        let mut reply = query.get(..2)?.to_vec();
        reply.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        reply.extend(query.get(12..end + 4)?);
        for record in records {
            reply.extend(record.owner.as_deref().map_or_else(|| vec![0xc0, 12], encode));
            reply.extend(record.kind.to_be_bytes());
            // Class IN, no time to live.
            reply.extend([0, 1, 0, 0, 0, 0]);
            reply.extend((record.data.len() as u16).to_be_bytes());
            reply.extend(record.data);
        }
        Some(reply)
    })
}

/// The question's name and where it ends.
fn decode(message: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if !name.is_empty() {
            name.push('.');
        }
        name += &String::from_utf8_lossy(message.get(at..at + length)?);
        at += length;
    }
}
