//! What a question gets, as far as its name and type decide it alone. Pure functions; no state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::lookup::Lookup;
use crate::net::pins::Pins;
use crate::policy::{DenyReason, HostName, Policy};

/// Seconds for which the guest may keep an address. It stays the same all session; short all the same, for a guest
/// that outlives the session in a snapshot.
pub(super) const ADDRESS_TTL: u32 = 60;
/// Seconds for which the guest may keep a record that was passed through, at most.
const RECORD_TTL: u32 = 300;

/// What a question gets.
pub(super) enum Outcome {
    Addresses(Vec<IpAddr>),
    Records(Vec<Record>),
    Pointer(HostName),
    Empty,
    NotFound,
    Refused(ResponseCode),
    Failed,
}

/// What has to happen for a question.
pub(super) enum Plan {
    Answer(Outcome, Option<DenyReason>),
    Lookup(Lookup),
}

impl Outcome {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Addresses(addresses) if addresses.is_empty() => "empty",
            Self::Records(records) if records.is_empty() => "empty",
            Self::Addresses(_) | Self::Records(_) | Self::Pointer(_) => "answered",
            Self::Empty => "empty",
            Self::NotFound => "nxdomain",
            Self::Refused(_) => "refused",
            Self::Failed => "servfail",
        }
    }

    /// The code of the answer and its records, all under the name that was asked for.
    pub(super) fn into_records(self, name: &Name) -> (ResponseCode, Vec<Record>) {
        let record = |data| Record::from_rdata(name.clone(), ADDRESS_TTL, data);
        match self {
            Self::Addresses(addresses) => {
                (ResponseCode::NoError, addresses.into_iter().map(address_data).map(record).collect())
            }
            Self::Records(mut records) => {
                for record in &mut records {
                    record.name.clone_from(name);
                    record.dns_class = DNSClass::IN;
                    record.ttl = record.ttl.min(RECORD_TTL);
                }
                (ResponseCode::NoError, records)
            }
            Self::Pointer(target) => {
                let target = Name::from_ascii(format!("{target}.")).ok();
                let records = target.into_iter().map(|target| record(RData::PTR(PTR(target)))).collect();
                (ResponseCode::NoError, records)
            }
            Self::Empty => (ResponseCode::NoError, Vec::new()),
            Self::NotFound => (ResponseCode::NXDomain, Vec::new()),
            Self::Refused(code) => (code, Vec::new()),
            Self::Failed => (ResponseCode::ServFail, Vec::new()),
        }
    }
}

/// The policy's word on a name; for records that live below a name (RFC 8552), on that name.
pub(super) fn decide(policy: &Policy, name: &HostName, kind: RecordType) -> Result<(), DenyReason> {
    let refusal = match policy.decide_name(name) {
        Ok(()) => return Ok(()),
        Err(refusal) => refusal,
    };
    if !matches!(kind, RecordType::SRV | RecordType::TXT) {
        return Err(refusal);
    }
    let mut base = name.as_str();
    for _ in 0..2 {
        match base.split_once('.') {
            Some((label, rest)) if label.starts_with('_') => base = rest,
            _ => break,
        }
    }
    match HostName::from_ascii(base) {
        Ok(base) if base != *name => policy.decide_name(&base),
        _ => Err(refusal),
    }
}

/// RFC 6761, section 6.3.
pub(super) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The guest's own loopback.
pub(super) fn loopback(kind: RecordType) -> Outcome {
    match kind {
        RecordType::A => Outcome::Addresses(vec![Ipv4Addr::LOCALHOST.into()]),
        RecordType::AAAA => Outcome::Addresses(vec![Ipv6Addr::LOCALHOST.into()]),
        _ => Outcome::Empty,
    }
}

/// The whole address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
pub(super) fn reverse(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// The name behind an address, if it was handed out.
pub(super) fn pointer(address: IpAddr, pins: &Pins) -> Plan {
    let name = match pins.lookup(address) {
        Some(pinned) => pinned.names().first().cloned(),
        None if address.is_loopback() => HostName::from_ascii("localhost").ok(),
        None => None,
    };
    if let Some(name) = name {
        return Plan::Answer(Outcome::Pointer(name), None);
    }
    Plan::Answer(Outcome::NotFound, Some(DenyReason::NotHandedOut { address }))
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}
