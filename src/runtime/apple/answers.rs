//! What `container` answers, in the shapes before and after 1.0. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// The state of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// It runs.
    pub running: bool,
    /// Major and minor version of the program.
    pub version: (u32, u32),
    /// Whether a kernel is installed, where the answer says so.
    pub kernel: Option<bool>,
}

impl Status {
    /// Reads the answers to `system status --format json` and `--version`.
    pub(super) fn parse(status: &str, success: bool, version: &str) -> Option<Self> {
        let version = version.split_whitespace().find_map(|word| {
            let mut parts = word.trim_start_matches('v').split('.').map(str::parse::<u32>);
            match (parts.next(), parts.next()) {
                (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
                _ => None,
            }
        })?;
        // One that is not running may not answer in JSON at all.
        let answer: Value = serde_json::from_str(status).unwrap_or_default();
        let said = answer.get("status").and_then(Value::as_str);
        let running = success && said.is_none_or(|status| status.eq_ignore_ascii_case("running"));
        let kernel = ["kernelInstalled", "kernel"].iter().find_map(|key| match answer.get(*key)? {
            Value::Bool(installed) => Some(*installed),
            Value::String(path) => Some(!path.is_empty()),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        });
        Some(Self { running, version, kernel })
    }
}

/// Reads the answer to `network inspect` for one network: the host's address on it.
pub(super) fn gateway(answer: &str) -> Result<IpAddr, String> {
    let all: Vec<Value> =
        serde_json::from_str(answer).map_err(|error| format!("unexpected answer: {error}"))?;
    let network = all.first().ok_or("an empty answer")?;
    let text = |keys: [&str; 2]| {
        let status = network.get("status")?;
        keys.iter().find_map(|key| status.get(*key)?.as_str())
    };
    // 1.0 gave each family a name of its own.
    let subnet = text(["ipv4Subnet", "address"]).ok_or("it has no subnet")?;
    let gateway = text(["ipv4Gateway", "gateway"]).ok_or("it has no gateway")?;
    let net: IpNet = subnet.parse().map_err(|_| format!("its subnet is `{subnet}`"))?;
    let gateway: IpAddr = gateway.parse().map_err(|_| format!("its gateway is `{gateway}`"))?;
    if !net.contains(&gateway) {
        return Err(format!("its gateway {gateway} is not in its subnet {net}"));
    }
    Ok(gateway)
}

/// The ids in an answer to `list --all --format json`.
pub(super) fn containers(answer: &str) -> Result<Vec<String>, String> {
    let all: Vec<Value> =
        serde_json::from_str(answer).map_err(|error| format!("unexpected answer: {error}"))?;
    let id = |container: &Value| {
        let places = ["/configuration/id", "/id"];
        places.iter().find_map(|place| container.pointer(place)?.as_str()).map(Into::into)
    };
    Ok(all.iter().filter_map(id).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn networks_are_read_in_both_shapes() {
        let new = r#"[{"id": "npxc-1", "configuration": {"mode": "hostOnly"}, "status": {"ipv4Subnet": "192.168.65.0/24",
            "ipv4Gateway": "192.168.65.1", "ipv6Subnet": "fd65::/64"}}]"#;
        let old = r#"[{"id": "npxc-1", "state": "running", "config": {"mode": "nat"}, "status":
            {"address": "192.168.65.0/24", "gateway": "192.168.65.1"}}]"#;
        let host = "192.168.65.1".parse::<IpAddr>().unwrap();
        assert_eq!((gateway(new), gateway(old)), (Ok(host), Ok(host)));
        assert!(gateway("[]").is_err() && gateway("{}").is_err());
        assert!(gateway(r#"[{"id": "a", "status": {}}]"#).is_err());
        assert!(gateway(&old.replace("65.1\"", "66.1\"")).is_err());
    }

    #[test]
    fn a_service_runs_when_it_says_so() {
        let version = "container CLI version 1.2.1 (build: release, commit: abcdef0)";
        let status =
            Status::parse(r#"{"status": "running", "kernelInstalled": true}"#, true, version).unwrap();
        assert_eq!(status, Status { running: true, version: (1, 2), kernel: Some(true) });
        let stopped = Status::parse(r#"{"status": "not running"}"#, false, version).unwrap();
        assert_eq!((stopped.running, stopped.kernel), (false, None));
        assert!(!Status::parse("apiserver is not running", false, version).unwrap().running);
        assert_eq!(Status::parse("{}", true, "something else"), None);
    }

    #[test]
    fn containers_are_listed_in_both_shapes() {
        let answer = r#"[{"configuration": {"id": "npxc-1"}, "status": "running"}, {"id": "npxc-2"}, {}]"#;
        assert_eq!(containers(answer).unwrap(), ["npxc-1", "npxc-2"]);
        assert!(containers("no").is_err());
    }
}
