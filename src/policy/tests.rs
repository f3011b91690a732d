//! What a policy decides, row by row of the attacks it stands against.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod floor;
mod matching;
mod modes;
mod reasons;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;

#[derive(Default, Clone)]
struct Spec(PolicySpec);

impl Spec {
    fn new(mode: Mode) -> Self {
        Self(PolicySpec { mode, ..PolicySpec::default() })
    }
    fn allowlist(rules: &str) -> Self {
        Self::new(Mode::Allowlist).allow(rules)
    }
    fn allow(mut self, rules: &str) -> Self {
        self.0.allow.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn private(mut self, rules: &str) -> Self {
        self.0.allow_private.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn deny(mut self, rules: &str) -> Self {
        self.0.deny.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn preset(mut self, name: &str, rules: &str) -> Self {
        self.0.presets.insert(name.to_owned(), Rule::parse_list(rules).unwrap());
        self
    }
    fn policy(self) -> Policy {
        Policy::new(self.0).unwrap()
    }
}

/// `udp://name:port`, `[v6]:port`, ...: a request in the notation of a rule for one port.
fn request(text: &str) -> Request {
    let (protocol, rest) = match text.strip_prefix("udp://") {
        Some(rest) => (Protocol::Udp, rest),
        None => (Protocol::Tcp, text),
    };
    let (host, port) = rest.rsplit_once(':').unwrap();
    let destination = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(host.parse().unwrap()),
    };
    Request { protocol, destination, port: port.parse().unwrap() }
}

fn code(policy: &Policy, text: &str) -> &'static str {
    policy.decide(&request(text)).permit().map_or_else(|reason| reason.code(), |_| "allow")
}

fn permit(policy: &Policy, text: &str) -> Permit {
    policy.decide(&request(text)).permit().unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn refusal(policy: &Policy, text: &str) -> DenyReason {
    policy.decide(&request(text)).permit().expect_err(text)
}

fn admit(permit: &Permit, address: &str) -> &'static str {
    let address: IpAddr = address.parse().unwrap();
    match permit.admit(address) {
        Ok(dialable) => {
            assert_eq!(dialable.socket_addr().ip(), address.to_canonical(), "what was checked is dialled");
            assert_eq!(dialable.socket_addr().port(), permit.port());
            "allow"
        }
        Err(reason) => reason.code(),
    }
}

fn name(policy: &Policy, name: &str) -> &'static str {
    policy.decide_name(&name.parse().unwrap()).map_or_else(|reason| reason.code(), |()| "allow")
}
