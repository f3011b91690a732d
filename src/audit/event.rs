//! What can stand in an audit log. Pure: no clock, no I/O; the writer adds `v`, `seq`, `time`, `session` and
//! the hash of the line before.
//!
//! Data comes from every room that decides something and goes to `audit::writer`. Values that the guest chose
//! (names, paths) are escaped by JSON, so that they cannot forge a line.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of what the package wrote to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collected {
    /// It is a file where none was.
    New,
    /// It takes the host's file's place.
    Changed,
    /// It is kept beside the file that it was meant for, which had changed meanwhile, or with npxc.
    Kept,
}

/// One line of the audit log, tagged by `event` (`flow.open`, `flow.deny`, ...).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event")]
pub enum Event {
    /// The first line: what runs, and under which policy.
    #[serde(rename = "session.start")]
    SessionStart {
        /// The version of npxc that wrote the log.
        npxc: String,
        /// `run`, `fetch` or `build`.
        purpose: String,
        /// The package spec as resolved, for example `some-mcp-server@1.2.3`.
        package: String,
        /// The package's version, once known.
        version: Option<String>,
        /// The package's Subresource Integrity string, where the registry gave one.
        integrity: Option<String>,
        /// The packages of its tree that ran scripts when they were installed, `name@version`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scripts: Vec<String>,
        /// `native`.
        runtime: String,
        /// `tun`.
        link: String,
        /// `none`, `allowlist`, `observe` or `open`.
        network: String,
        /// The allow rules in their canonical form, presets expanded.
        allow: Vec<String>,
        /// The allow rules that may also reach private addresses.
        allow_private: Vec<String>,
        /// The deny rules.
        deny: Vec<String>,
        /// Host paths that are mounted, as `HOST:GUEST:ro|rw`.
        mounts: Vec<String>,
        /// Names of environment variables handed in; never their values.
        env: Vec<String>,
    },
    /// A question the guest asked its resolver.
    #[serde(rename = "dns")]
    Dns {
        /// The name asked for, as far as it could be read.
        name: String,
        /// The record type, `A`, `AAAA`, `TXT`, ...
        #[serde(rename = "type")]
        kind: String,
        /// `answered`, `empty`, `nxdomain`, `servfail`, `refused` or `formerr`.
        answer: String,
        /// Addresses handed out to the guest.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<IpAddr>,
        /// Why the name was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The options that would have allowed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// The tools whose calls were under way, the latest eight: whatever happened may have come of one of them, or not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<String>,
    },
    /// A flow was allowed. Its upstream connection stands, unless the `flow.close` that follows at once says how
    /// dialling it failed.
    #[serde(rename = "flow.open")]
    FlowOpen {
        /// Number of the flow in this session.
        flow: u64,
        /// `tcp` or `udp`.
        protocol: String,
        /// The rule that allowed it.
        rule: String,
        /// The name the guest asked for, if the flow goes to a name.
        name: Option<String>,
        /// The guest's end.
        #[schemars(with = "String")]
        source: SocketAddr,
        /// The address the guest sent to.
        #[schemars(with = "String")]
        guest_destination: SocketAddr,
        /// The address npxc dialled (the first one it tried, if none answered); the proxy's, where `via` names one.
        #[schemars(with = "String")]
        dialled: SocketAddr,
        /// The proxy that was asked for the connection, and how: `http://proxy.example:3128 by name` (which it resolves;
        /// the addresses that this machine knows passed the private floor), `by name, unknown here` (nobody judged its
        /// addresses), or `by address` (which did).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<String>,
        /// In observe mode: why the flow would have been denied.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        observed: Option<String>,
        /// In observe mode: the options that would have allowed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// The tools whose calls were under way, at most eight: whatever happened may have come of one of them, or not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<String>,
    },
    /// A flow was refused.
    #[serde(rename = "flow.deny")]
    FlowDeny {
        /// `tcp`, `udp`, `icmp` or the IP protocol's number.
        protocol: String,
        /// The name the destination stands for, if it stands for one.
        name: Option<String>,
        /// The guest's end.
        #[schemars(with = "String")]
        source: SocketAddr,
        /// The address the guest sent to.
        #[schemars(with = "String")]
        guest_destination: SocketAddr,
        /// The name that the guest's first bytes claimed (TLS SNI, HTTP Host).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sniffed: Option<String>,
        /// Stable identifier of the reason, for programs.
        code: String,
        /// The reason as a sentence, for people.
        reason: String,
        /// The options that would have allowed it, where some exist.
        hint: Option<String>,
        /// The tools whose calls were under way, at most eight: whatever happened may have come of one of them, or not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<String>,
    },
    /// Denials that were not written one by one because there were too many; none is lost.
    #[serde(rename = "flow.deny.summary")]
    FlowDenySummary {
        /// How many denials this line stands for.
        count: u64,
        /// `tcp`, `udp`, `icmp`, `dns` or the IP protocol's number.
        protocol: String,
        /// Stable identifier of the reason they share.
        code: String,
        /// One destination out of them.
        example: String,
    },
    /// A flow ended.
    #[serde(rename = "flow.close")]
    FlowClose {
        /// Number of the flow in this session.
        flow: u64,
        /// Payload bytes from the guest.
        bytes_up: u64,
        /// Payload bytes to the guest.
        bytes_down: u64,
        /// Lifetime in milliseconds.
        duration_ms: u64,
        /// What the first bytes were: `tls`, `http` or `other`.
        detected: String,
        /// The name that the first bytes claimed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sniffed: Option<String>,
        /// `finished`, `reset by guest`, `reset by peer`, `refused`, `idle`, `no longer allowed`, `session ended` or
        /// `internal error`; for a flow whose upstream could not be dialled `refused by peer`, `network unreachable`,
        /// `host unreachable`, `timed out` or `npxc is out of sockets`; where a proxy did not, `refused by the proxy: 403
        /// Forbidden` and the like.
        how: String,
        /// What the user can do about a proxy that did not connect it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The user changed the policy of the running session: it holds from here on, for flows that are open, too.
    #[serde(rename = "policy.change")]
    PolicyChange {
        /// What was changed: `allow RULE`, `allow-private RULE` or `deny RULE`.
        change: String,
        /// The allow rules from here on, as in `session.start`.
        allow: Vec<String>,
        /// The allow rules that may also reach private addresses.
        allow_private: Vec<String>,
        /// The deny rules.
        deny: Vec<String>,
    },
    /// A file that the client named was copied for the guest.
    #[serde(rename = "file.publish")]
    FilePublish {
        /// The host's path, as the client named it; in paths of files a byte that is not UTF-8 is `\xNN`, and a
        /// backslash is two.
        path: String,
        /// The guest's path of the copy.
        guest: String,
        /// Its size.
        bytes: u64,
    },
    /// What the package wrote to a copy is about to be written to the host's file.
    #[serde(rename = "file.collect")]
    FileCollect {
        /// The host's path that is written; that of a directory ends with a slash.
        path: String,
        /// The guest's path of the copy.
        guest: String,
        /// Its size.
        bytes: u64,
        /// What becomes of it.
        how: Collected,
    },
    /// Part of a directory that the client named was left out.
    #[serde(rename = "file.leave")]
    FileLeave {
        /// The host's path.
        path: String,
        /// Why.
        reason: String,
    },
    /// What was named is not shared, or what the package made of it is not written.
    #[serde(rename = "file.refuse")]
    FileRefuse {
        /// The path as it was written.
        path: String,
        /// Stable identifier of the reason, for programs.
        code: String,
        /// The reason, for people: it goes on behind the path.
        reason: String,
    },
    /// A bound was reached.
    #[serde(rename = "limit")]
    Limit {
        /// Which bound.
        what: String,
        /// What was hit, in words.
        detail: String,
        /// How often since the last such line.
        count: u64,
    },
    /// The last line of a log that was closed in order.
    #[serde(rename = "session.end")]
    SessionEnd {
        /// Exit status of the package, where it ended by itself.
        status: Option<i32>,
        /// Signal that ended the package, where one did.
        signal: Option<i32>,
        /// Why the session ended: `package exited`, `client closed stdin`, `interrupted`, ...
        how: String,
        /// Denials in the whole session.
        denied: u64,
        /// Flows allowed in the whole session.
        allowed: u64,
    },
    /// The last line of a file that has no room for more: the log goes on in another.
    #[serde(rename = "log.rotate")]
    LogRotate {
        /// The name of the file that it goes on in, beside this one.
        next: String,
    },
}

/// What was denied, of an event that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial<'a> {
    /// `tcp`, `udp`, `dns`, ...
    pub protocol: &'a str,
    /// Identifier of the reason; of a question, how it was answered.
    pub code: &'a str,
    /// As people say it: `NAME:PORT`, `ADDRESS:PORT`, or the name that was asked for.
    pub destination: String,
    /// The reason, as a sentence.
    pub reason: &'a str,
    /// The options that would have allowed it, where some exist.
    pub hint: Option<&'a str>,
    /// Tools whose calls were under way.
    pub calls: &'a [String],
}

impl Event {
    /// Names the tools whose calls are under way, where that is worth a word.
    pub fn during(&mut self, tools: Vec<String>) {
        if let Self::Dns { calls, .. } | Self::FlowOpen { calls, .. } | Self::FlowDeny { calls, .. } = self {
            *calls = tools;
        }
    }

    /// The denial in it, if it is one.
    pub fn denial(&self) -> Option<Denial<'_>> {
        match self {
            Self::FlowDeny { protocol, code, name, guest_destination, reason, hint, calls, .. } => {
                Some(Denial {
                    protocol,
                    code,
                    destination: destination(name.as_deref(), *guest_destination),
                    reason,
                    hint: hint.as_deref(),
                    calls,
                })
            }
            Self::Dns { name, answer, reason: Some(reason), hint, calls, .. } => Some(Denial {
                protocol: "dns",
                code: answer,
                destination: name.clone(),
                reason,
                hint: hint.as_deref(),
                calls,
            }),
            Self::Dns { reason: None, .. }
            | Self::SessionStart { .. }
            | Self::FlowOpen { .. }
            | Self::FlowDenySummary { .. }
            | Self::FlowClose { .. }
            | Self::PolicyChange { .. }
            | Self::FilePublish { .. }
            | Self::FileCollect { .. }
            | Self::FileLeave { .. }
            | Self::FileRefuse { .. }
            | Self::Limit { .. }
            | Self::SessionEnd { .. }
            | Self::LogRotate { .. } => None,
        }
    }
}

/// Where a flow goes, as people say it: by the name that the guest's address stands for, if it stands for one.
pub fn destination(name: Option<&str>, address: SocketAddr) -> String {
    name.map_or_else(|| address.to_string(), |name| format!("{name}:{}", address.port()))
}
