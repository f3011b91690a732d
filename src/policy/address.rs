//! The private floor: which addresses are not the public internet, and what each is called.
//!
//! Pure tables and functions over [`IpAddr`]. Documentation ranges (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24,
//! `2001:db8::/32`, `3fff::/20`) are *not* in the floor: nobody's service lives there, and examples and tests use them.
//!
//! An IPv4 address hidden in an IPv6 one is judged by the IPv4 address inside (mapped, 6to4, NAT64), or counts as
//! private altogether where the form is obsolete or hides more than one address (IPv4-compatible, Teredo, local-use
//! NAT64).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Addresses at which clouds hand credentials to whoever asks: 169.254.169.254, `fd00:ec2::254`,
    /// 168.63.129.16, 100.100.100.200 and their like. Named first because a leak there costs most.
    Metadata,
    /// 127.0.0.0/8 (RFC 1122, section 3.2.1.3) and `::1` (RFC 4291, section 2.5.3).
    Loopback,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918).
    Private,
    /// 100.64.0.0/10, between a carrier and its customers (RFC 6598).
    Shared,
    /// 169.254.0.0/16 (RFC 3927) and `fe80::/10` (RFC 4291, section 2.5.6).
    LinkLocal,
    /// `fc00::/7` (RFC 4193).
    UniqueLocal,
    /// `fec0::/10`, deprecated (RFC 3879).
    SiteLocal,
    /// 224.0.0.0/4 (RFC 5771) and `ff00::/8` (RFC 4291, section 2.7).
    Multicast,
    /// 0.0.0.0/8 (RFC 1122, section 3.2.1.3) and `::` (RFC 4291, section 2.5.2). Linux dials 0.0.0.0 as loopback.
    Unspecified,
    /// 255.255.255.255 (RFC 919).
    Broadcast,
    /// 198.18.0.0/15 (RFC 2544), out of which npxc hands out its virtual addresses, and `2001:2::/48` (RFC 5180).
    Benchmarking,
    /// 192.0.0.0/24, for protocols (RFC 6890).
    Protocols,
    /// 240.0.0.0/4 (RFC 1112), ORCHID (RFC 4843, RFC 7343), and all IPv6 outside `2000::/3`, the only part that is
    /// global unicast (RFC 4291, section 2.4).
    Reserved,
    /// `::/96`, IPv4-compatible IPv6, deprecated (RFC 4291, section 2.5.5.1).
    Compatible,
    /// `2001::/32`, a tunnel that hides two IPv4 addresses (RFC 4380).
    Teredo,
    /// `64:ff9b:1::/48`, NAT64 for local use, whose embedding is the network's own (RFC 8215).
    LocalNat64,
}

impl AddressClass {
    /// The class as a noun phrase: `a loopback address`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "a cloud metadata address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address (RFC 1918)",
            Self::Shared => "a carrier-grade NAT address",
            Self::LinkLocal => "a link-local address",
            Self::UniqueLocal => "a unique local address",
            Self::SiteLocal => "a site-local address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "an unspecified address",
            Self::Broadcast => "the broadcast address",
            Self::Benchmarking => "a benchmarking address",
            Self::Protocols => "an address for protocol assignments",
            Self::Reserved => "a reserved address",
            Self::Compatible => "an IPv4-compatible IPv6 address",
            Self::Teredo => "a Teredo address",
            Self::LocalNat64 => "a local NAT64 address",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The class that keeps `address` off limits, or `None` for a public address.
pub fn classify(address: IpAddr) -> Option<AddressClass> {
    match address.to_canonical() {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Option<AddressClass> {
    V4_BLOCKS.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> Option<AddressClass> {
    if let Some((_, class)) = V6_BLOCKS.iter().find(|(net, _)| net.contains(&address)) {
        return Some(*class);
    }
    if let Some(inner) = embedded_v4(Ipv6Net::from(address)) {
        return classify_v4(inner.addr());
    }
    (!GLOBAL_UNICAST.contains(&address)).then_some(AddressClass::Reserved)
}

/// The IPv4 address that `address` is, or hides in a form that has one meaning (mapped, 6to4, NAT64).
pub fn ipv4_inside(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => embedded_v4(Ipv6Net::from(address)).map(|net| net.addr()),
    }
}

/// Whether naming `net` in a rule names private addresses on purpose: one single address, or a network that lies
/// within one block of the floor. `0.0.0.0/0` does not: it means any *public* address, and so does every network
/// that is wider than the private block it happens to hold.
pub(super) fn names_private(net: &IpNet) -> bool {
    if net.prefix_len() == net.max_prefix_len() {
        return true;
    }
    match net {
        IpNet::V4(net) => v4_names_private(*net),
        IpNet::V6(net) => {
            V6_BLOCKS.iter().any(|(block, _)| block.contains(net))
                || embedded_v4(*net).is_some_and(v4_names_private)
        }
    }
}

fn v4_names_private(net: Ipv4Net) -> bool {
    V4_BLOCKS.iter().any(|(block, _)| block.contains(&net))
}

/// The IPv4 network that an IPv6 network of 6to4 (RFC 3056) or NAT64 (RFC 6052) addresses stands for.
fn embedded_v4(net: Ipv6Net) -> Option<Ipv4Net> {
    let bits = net.addr().to_bits();
    let (bits, length) = if NAT64.contains(&net) {
        (bits as u32, net.prefix_len() - NAT64.prefix_len())
    } else if SIX_TO_FOUR.contains(&net) {
        ((bits >> 80) as u32, (net.prefix_len() - SIX_TO_FOUR.prefix_len()).min(32))
    } else {
        return None;
    };
    Ipv4Net::new(Ipv4Addr::from_bits(bits), length).ok()
}

/// Reads an IPv4 address the way `inet_aton` does: one to four parts, each decimal, octal (leading 0) or
/// hexadecimal (0x), the last one filling what is left.
pub(super) fn legacy_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let (last, heads) = parts.split_last()?;
    if heads.len() > 3 {
        return None;
    }
    let mut bits: u32 = 0;
    for head in heads {
        bits = bits << 8 | u32::from(u8::try_from(legacy_number(head)?).ok()?);
    }
    let last = legacy_number(last)?;
    let width = 8 * (4 - heads.len() as u32);
    if u64::from(last) >> width != 0 {
        return None;
    }
    Some(Ipv4Addr::from_bits((u64::from(bits) << width) as u32 | last))
}

fn legacy_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` takes a sign, which is none of these notations.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// The first block that holds an address gives its class, so single addresses stand before the nets around them.
const V4_BLOCKS: &[(Ipv4Net, AddressClass)] = &[
    // AWS, Azure, GCP, OCI, DigitalOcean, Hetzner; ECS tasks and EKS pods; Azure's wire server; Alibaba; Oracle.
    (v4([169, 254, 169, 254], 32), AddressClass::Metadata),
    (v4([169, 254, 170, 2], 32), AddressClass::Metadata),
    (v4([169, 254, 170, 23], 32), AddressClass::Metadata),
    (v4([168, 63, 129, 16], 32), AddressClass::Metadata),
    (v4([100, 100, 100, 200], 32), AddressClass::Metadata),
    (v4([192, 0, 0, 192], 32), AddressClass::Metadata),
    (v4([255, 255, 255, 255], 32), AddressClass::Broadcast),
    (v4([0, 0, 0, 0], 8), AddressClass::Unspecified),
    (v4([10, 0, 0, 0], 8), AddressClass::Private),
    (v4([100, 64, 0, 0], 10), AddressClass::Shared),
    (v4([127, 0, 0, 0], 8), AddressClass::Loopback),
    (v4([169, 254, 0, 0], 16), AddressClass::LinkLocal),
    (v4([172, 16, 0, 0], 12), AddressClass::Private),
    (v4([192, 0, 0, 0], 24), AddressClass::Protocols),
    (v4([192, 168, 0, 0], 16), AddressClass::Private),
    (v4([198, 18, 0, 0], 15), AddressClass::Benchmarking),
    (v4([224, 0, 0, 0], 4), AddressClass::Multicast),
    (v4([240, 0, 0, 0], 4), AddressClass::Reserved),
];

const V6_BLOCKS: &[(Ipv6Net, AddressClass)] = &[
    // AWS instances, EKS pods, GCP, Scaleway.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), AddressClass::Metadata),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128), AddressClass::Metadata),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), AddressClass::Metadata),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), AddressClass::Metadata),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), AddressClass::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), AddressClass::Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), AddressClass::Compatible),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), AddressClass::LocalNat64),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), AddressClass::Teredo),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), AddressClass::Benchmarking),
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), AddressClass::Reserved),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28), AddressClass::Reserved),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), AddressClass::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), AddressClass::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), AddressClass::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), AddressClass::Multicast),
];

const fn v4(octets: [u8; 4], length: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(segments: [u16; 8], length: u8) -> Ipv6Net {
    let s = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), length)
}

#[cfg(test)]
mod tests;
