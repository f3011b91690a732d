//! With a proxy: who resolves, what is judged, what the proxy is asked for, and what stays direct.

use super::*;
use crate::net::proxy::{Bypass, Fault, Proxying};

/// A world whose connections go through `proxy`, but for those to `direct`.
fn behind(proxy: &str, direct: &str, spec: PolicySpec) -> World {
    let mut world = World::with(spec);
    world.router.proxy = Some(Proxying {
        proxy: proxy.parse().unwrap(),
        bypass: Bypass::parse(direct),
        origin: "--proxy".to_owned(),
        given: ["given.example".parse().unwrap()].into(),
    });
    world.names.insert("proxy.example", vec!["10.1.1.1".parse().unwrap()]);
    world.names.insert("given.example", vec!["203.0.113.7".parse().unwrap()]);
    world
}

fn allowing(texts: &[&str]) -> PolicySpec {
    PolicySpec { mode: Mode::Allowlist, allow: rules(texts), ..PolicySpec::default() }
}

impl World {
    /// Connects the guest to a name; what became of it.
    fn reach(&mut self, name: &str, port: u16) -> tcp::State {
        let address = self.virtual_address(name);
        let guest = self.connect(&SocketAddr::new(address, port).to_string(), 50_000);
        self.settle();
        self.socket(guest).state()
    }

    /// How the log says that the flows went.
    fn ways(&self) -> Vec<Option<String>> {
        let log = self.log.0.lock().unwrap();
        let via = |event: &Event| match event {
            Event::FlowOpen { via, .. } => Some(via.clone()),
            _ => None,
        };
        log.0.iter().filter_map(via).collect()
    }

    /// The first line of what the proxy was asked.
    fn asked(&self) -> Vec<String> {
        let first = |sent: &Vec<u8>| String::from_utf8_lossy(sent).lines().next().unwrap().to_owned();
        self.tunnels.iter().map(first).collect()
    }
}

#[test]
fn a_name_goes_to_the_proxy_when_what_is_known_of_it_passes_the_floor() {
    let mut world = behind("http://proxy.example:3128", "", allowing(&["example.com:443"]));
    assert_eq!(world.reach("example.com", 443), tcp::State::Established);
    assert_eq!(world.lookups, ["example.com", "proxy.example"]);
    assert_eq!(world.dials[0].1, ["10.1.1.1:3128".parse().unwrap()], "no rule is about the proxy itself");
    assert_eq!(world.asked(), ["CONNECT example.com:443 HTTP/1.1"]);
    assert_eq!(world.ways(), [Some("http://proxy.example:3128 by name".to_owned())]);
}

#[test]
fn one_private_address_is_enough_since_the_proxy_chooses() {
    for (known, allow_private, deny, passes) in [
        (vec!["10.0.0.1"], "", "", false),
        (vec!["203.0.113.9", "10.0.0.1"], "", "", false),
        (vec!["203.0.113.9", "10.0.0.1"], "example.com:443", "", true),
        (vec!["203.0.113.9"], "", "203.0.113.0/24", false),
    ] {
        let spec = PolicySpec {
            allow_private: Rule::parse_list(allow_private).unwrap_or_default(),
            deny: Rule::parse_list(deny).unwrap_or_default(),
            ..allowing(&["example.com:443"])
        };
        let mut world = behind("http://10.1.1.1:3128", "", spec);
        world.names.insert("example.com", known.iter().map(|text| text.parse().unwrap()).collect());
        let expected = if passes { tcp::State::Established } else { tcp::State::Closed };
        assert_eq!(world.reach("example.com", 443), expected, "{known:?} {deny}");
        assert_eq!(world.tunnels.len(), usize::from(passes));
    }
}

#[test]
fn a_name_that_is_unknown_here_goes_to_the_proxy_only_where_a_rule_names_it() {
    let mut world = behind("socks5h://10.1.1.1:1080", "", allowing(&["*.example.org"]));
    assert_eq!(world.reach("api.example.org", 443), tcp::State::Established);
    assert_eq!(world.ways(), [Some("socks5h://10.1.1.1:1080 by name, unknown here".to_owned())]);

    for mode in [Mode::Open, Mode::Observe] {
        let spec = PolicySpec { mode, ..PolicySpec::default() };
        let mut world = behind("http://10.1.1.1:3128", "", spec.clone());
        assert_eq!(world.reach("intranet.example.org", 443), tcp::State::Closed);
        let hint = Some("--allow intranet.example.org:443".to_owned());
        assert_eq!(world.denials(), [("unknown-behind-proxy".to_owned(), hint)]);
        assert!(world.tunnels.is_empty());
        let mut world = behind("http://10.1.1.1:3128", "", spec);
        assert_eq!(world.reach("example.com", 443), tcp::State::Established, "what is known is judged");
    }
}

#[test]
fn a_proxy_that_is_sent_addresses_is_sent_those_that_were_checked() {
    let mut world = behind("socks5://10.1.1.1:1080", "", allowing(&["example.com:443", "other.example"]));
    let both = ["2001:db8::9", "10.0.0.1", "203.0.113.9"].map(|text| text.parse().unwrap());
    world.names.insert("example.com", both.to_vec());
    assert_eq!(world.reach("example.com", 443), tcp::State::Established);
    assert_eq!(world.sent_by_address, ["203.0.113.9:443".parse().unwrap()]);
    assert_eq!(world.ways(), [Some("socks5://10.1.1.1:1080 by address".to_owned())]);
    assert_eq!(world.reach("other.example", 443), tcp::State::Closed, "nobody here knows it");
    assert_eq!(world.denials()[0].0, "resolution-failed");
}

#[test]
fn given_and_bare_addresses_are_sent_as_addresses() {
    let mut world = behind("http://10.1.1.1:3128", "", allowing(&["given.example", "192.0.2.7:22"]));
    assert_eq!(world.reach("given.example", 443), tcp::State::Established);
    world.connect("192.0.2.7:22", 50_001);
    world.settle();
    assert_eq!(world.asked(), ["CONNECT 203.0.113.7:443 HTTP/1.1", "CONNECT 192.0.2.7:22 HTTP/1.1"]);
}

#[test]
fn what_goes_past_the_proxy_is_dialled_as_ever() {
    let mut world = behind(
        "http://10.1.1.1:3128",
        "example.com,192.0.2.0/24",
        allowing(&["example.com", "192.0.2.7:22"]),
    );
    assert_eq!(world.reach("example.com", 443), tcp::State::Established);
    world.connect("192.0.2.7:22", 50_001);
    world.settle();
    assert!(world.tunnels.is_empty());
    let dialled: Vec<SocketAddr> = world.dials.iter().flat_map(|(_, addresses)| addresses.clone()).collect();
    assert_eq!(dialled, ["203.0.113.9:443".parse().unwrap(), "192.0.2.7:22".parse().unwrap()]);
    assert_eq!(world.ways(), [None, None]);
}

#[test]
fn udp_goes_past_the_proxy_or_nowhere() {
    for (direct, passes) in [("", false), ("203.0.113.5", true)] {
        let mut world = behind("http://10.1.1.1:3128", direct, allowing(&["udp://203.0.113.5:123"]));
        let datagram = [&[0xc3, 0x50, 0, 123, 0, 12, 0, 0][..], b"what"].concat();
        world.router.receive(world.now, &raw_v4(17, 0, &datagram), true, &mut world.wire);
        world.settle();
        assert_eq!(world.dials.len(), usize::from(passes));
        let codes: Vec<String> = world.denials().into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, if passes { vec![] } else { vec!["not-proxied".to_owned()] });
    }
}

#[test]
fn a_proxy_that_refuses_is_a_refused_connection_with_its_reason() {
    for fault in [Fault::Status(403), Fault::Credentials, Fault::Silent, Fault::Unreachable] {
        let mut world = behind("http://10.1.1.1:3128", "", allowing(&["example.com:443"]));
        world.refusal = Some(fault);
        assert_eq!(world.reach("example.com", 443), tcp::State::Closed);
        assert_eq!(world.closes(), [fault.to_string()]);
        let log = world.log.0.lock().unwrap();
        let hint = log.0.iter().find_map(|event| match event {
            Event::FlowClose { hint, .. } => hint.clone(),
            _ => None,
        });
        assert_eq!(hint.as_deref(), Some(fault.hint()));
    }
    let mut world = behind("http://gone.example:3128", "", allowing(&["example.com:443"]));
    assert_eq!(world.reach("example.com", 443), tcp::State::Closed);
    assert_eq!(world.closes(), [Fault::Unresolved.to_string()]);
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn the_guest_learns_addresses_for_names_that_only_the_proxy_knows() {
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03api\x07example\x03org\0\0\x01\0\x01";
    for (direct, rule, answers, lookups) in [
        ("", "api.example.org", 1, 0),
        ("", "other.example.org", 0, 0),
        // What is reached without the proxy has to be known here.
        ("example.org", "api.example.org", 0, 1),
    ] {
        let mut world = behind("http://10.1.1.1:3128", direct, allowing(&[rule]));
        world.ask(question);
        let answer = world.wire.sent.pop_front().unwrap();
        assert_eq!(answer[20 + 8 + 7], answers, "{direct} {rule}");
        assert_eq!(world.lookups.len(), lookups);
    }
}
