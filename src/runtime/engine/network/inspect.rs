//! The answers to `network inspect`, in the shapes that podman 3 (CNI), podman 4 and later (netavark) and docker give
//! them. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// A subnet with the host's address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime::engine) struct Subnet {
    pub(in crate::runtime::engine) net: IpNet,
    pub(in crate::runtime::engine) gateway: IpAddr,
}

impl Subnet {
    /// Another address on it than the host's own: what lies there does not matter, only the way to it.
    pub(in crate::runtime::engine) fn neighbour(&self) -> Option<IpAddr> {
        self.net.hosts().find(|address| *address != self.gateway)
    }
}

/// A network's subnets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::runtime::engine) struct Addresses {
    pub(in crate::runtime::engine) v4: Option<Subnet>,
    pub(in crate::runtime::engine) v6: Option<Subnet>,
}

impl Addresses {
    /// The subnet that carries the link.
    pub(in crate::runtime::engine) fn link(&self) -> Option<Subnet> {
        self.v4.or(self.v6)
    }
}

/// Reads the answer for one network.
pub(super) fn parse(answer: &str) -> Result<Addresses, String> {
    let network = only(answer)?;
    let mut addresses = Addresses::default();
    for (subnet, gateway) in pairs(&network) {
        let net: IpNet = subnet.parse().map_err(|_| format!("its subnet is `{subnet}`"))?;
        // docker has been seen to write the prefix length behind it.
        let written = gateway.split('/').next().unwrap_or_default();
        let gateway: IpAddr = written.parse().map_err(|_| format!("its gateway is `{gateway}`"))?;
        if !net.contains(&gateway) {
            return Err(format!("its gateway {gateway} is not in its subnet {net}"));
        }
        let slot = if net.addr().is_ipv4() { &mut addresses.v4 } else { &mut addresses.v6 };
        slot.get_or_insert(Subnet { net, gateway });
    }
    if addresses == Addresses::default() {
        return Err("it has no gateway".into());
    }
    Ok(addresses)
}

/// Names and labels of the networks of an answer.
pub(in crate::runtime::engine) fn labels(answer: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let networks: Vec<Value> = serde_json::from_str(answer).unwrap_or_default();
    let mut found = Vec::new();
    for network in &networks {
        let name = network.get("name").or_else(|| network.get("Name")).and_then(Value::as_str);
        let places = ["/labels", "/Labels", "/args/podman_labels"];
        let labels = places.iter().find_map(|place| network.pointer(place)?.as_object());
        if let (Some(name), Some(labels)) = (name, labels) {
            let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
            found.push((name.to_owned(), labels.iter().filter_map(text).collect()));
        }
    }
    found
}

fn only(answer: &str) -> Result<Value, String> {
    let all: Vec<Value> =
        serde_json::from_str(answer).map_err(|error| format!("unexpected answer: {error}"))?;
    all.into_iter().next().ok_or_else(|| "an empty answer".into())
}

/// Subnets that have a gateway, as they are written.
fn pairs(network: &Value) -> Vec<(&str, &str)> {
    let list = |place: &str| network.pointer(place).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    // netavark, docker; CNI nests one deeper, per plugin and range set.
    let mut entries: Vec<&Value> = list("/subnets").iter().chain(list("/IPAM/Config")).collect();
    for plugin in list("/plugins") {
        let sets = plugin.pointer("/ipam/ranges").and_then(Value::as_array).into_iter().flatten();
        entries.extend(sets.filter_map(Value::as_array).flatten());
    }
    entries
        .into_iter()
        .filter_map(|entry| Some((either(entry, "subnet", "Subnet")?, either(entry, "gateway", "Gateway")?)))
        .filter(|(_, gateway)| !gateway.is_empty())
        .collect()
}

fn either<'a>(entry: &'a Value, one: &str, other: &str) -> Option<&'a str> {
    entry.get(one).or_else(|| entry.get(other))?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NETAVARK: &str = r#"[{"name": "npxc-b", "id": "c26b", "driver": "bridge", "network_interface": "podman2",
        "created": "2026-11-22T21:54:31.811288602Z", "subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"},
        {"subnet": "fd40:7c77:4a7d:bb::/64", "gateway": "fd40:7c77:4a7d:bb::1"}], "ipv6_enabled": true,
        "internal": true, "dns_enabled": true, "labels": {"npxc.session": "x"}, "ipam_options": {"driver": "host-local"}}]"#;
    /// podman 5 adds what is on the network.
    const NETAVARK_5: &str = r#"[{"name": "npxc-a", "id": "d0da", "driver": "bridge", "network_interface": "podman1",
        "created": "2026-01-02T21:54:31Z", "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}],
        "ipv6_enabled": false, "internal": true, "dns_enabled": true, "labels": {"npxc.session": "x"},
        "ipam_options": {"driver": "host-local"}, "containers": {}}]"#;
    const CNI: &str = r#"[{"args": {"podman_labels": {"npxc.session": "x"}}, "cniVersion": "0.4.0", "name": "npxc-a",
        "plugins": [{"bridge": "cni-podman1", "hairpinMode": true, "ipam": {"ranges": [[{"gateway": "10.89.0.1",
        "subnet": "10.89.0.0/24"}]], "type": "host-local"}, "isGateway": false, "type": "bridge"},
        {"capabilities": {"portMappings": true}, "type": "portmap"}, {"type": "tuning"}]}]"#;
    const DOCKER: &str = r#"[{"Name": "npxc-a", "Id": "95a1", "Created": "2026-11-22T21:56:51Z", "Scope": "local",
        "Driver": "bridge", "EnableIPv6": false, "IPAM": {"Driver": "default", "Options": {}, "Config":
        [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}, "Internal": true, "Attachable": false,
        "Containers": {}, "Options": {}, "Labels": {"npxc.session": "x"}}]"#;
    const DOCKER_6: &str = r#"[{"Name": "npxc-a", "IPAM": {"Options": null, "Config": [{"Subnet": "172.18.0.0/16",
        "Gateway": "172.18.0.1", "IPRange": ""}, {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1/64"}]}, "Labels": {}}]"#;

    #[allow(clippy::unnecessary_wraps)] // the shape of the fields
    fn subnet(net: &str, gateway: &str) -> Option<Subnet> {
        Some(Subnet { net: net.parse().unwrap(), gateway: gateway.parse().unwrap() })
    }

    #[test]
    fn every_engine_tells_its_gateway() {
        let both = parse(NETAVARK).unwrap();
        assert_eq!(both.v4, subnet("10.89.1.0/24", "10.89.1.1"));
        assert_eq!(both.v6, subnet("fd40:7c77:4a7d:bb::/64", "fd40:7c77:4a7d:bb::1"));
        assert_eq!(both.link(), both.v4);
        let one = Addresses { v4: subnet("10.89.0.0/24", "10.89.0.1"), v6: None };
        assert_eq!(parse(NETAVARK_5), Ok(one));
        assert_eq!(parse(CNI), Ok(one));
        assert_eq!(parse(DOCKER), Ok(Addresses { v4: subnet("172.17.0.0/16", "172.17.0.1"), v6: None }));
        assert_eq!(parse(DOCKER_6).unwrap().v6, subnet("fd00:1::/64", "fd00:1::1"));
    }

    #[test]
    fn an_answer_without_a_gateway_is_refused() {
        // podman 4.3 for an internal network without its resolver.
        let without = NETAVARK_5.replace(r#", "gateway": "10.89.0.1""#, "");
        assert_eq!(parse(&without), Err("it has no gateway".into()));
        let foreign = NETAVARK_5.replace("10.89.0.1", "192.0.2.1");
        assert!(parse(&foreign).unwrap_err().contains("is not in its subnet"));
        for text in ["", "[]", "{}", "[{}]", "null"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_are_found_in_every_shape() {
        for text in [NETAVARK, NETAVARK_5, CNI, DOCKER] {
            let found = labels(text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].0.starts_with("npxc-") && found[0].1["npxc.session"] == "x");
        }
        assert!(labels("null").is_empty() && labels("[{\"name\": \"a\"}]").is_empty());
    }

    #[test]
    fn a_neighbour_is_another_address_of_the_subnet() {
        let neighbour = |text| parse(text).unwrap().link().unwrap().neighbour();
        assert_eq!(neighbour(NETAVARK_5), Some("10.89.0.2".parse().unwrap()));
        let high = NETAVARK_5.replace("10.89.0.1", "10.89.0.254");
        assert_eq!(neighbour(&high), Some("10.89.0.1".parse().unwrap()));
    }
}
