//! Pins: which name an address stands for, as far as the guest is concerned.
//!
//! The guest never chooses the address that is dialled. A name it may ask for is answered with a **virtual
//! address** out of npxc's own pool, the same one for the whole session; a flow to that address has exactly one
//! name, on every port. In real mode the real addresses are handed out instead, and the pin is address → set of
//! names. Data comes from [`dns`](super::dns), which pins what it answers, and goes to the router, which looks a
//! flow's destination up. Pure: no clock, no sockets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::HostName;

/// Names that can hold a virtual address in one session. A session that resolves more is not using names but
/// encoding data in them; 65 536 names of the longest kind stay below 30 MB, and fit the pool twice.
pub const MAX_NAMES: usize = 65_536;
/// Address-to-name pairs in real mode, for the same reason.
pub const MAX_REAL_PAIRS: usize = 65_536;
/// Names one real address can stand for. A shared front (a CDN) has many, but the list is searched for each
/// flow, and each name was asked for by this one guest.
pub const MAX_NAMES_PER_ADDRESS: usize = 256;

/// Which name stands behind which address, for one session.
#[derive(Debug, Default)]
pub struct Pins {
    /// Index in here gives both virtual addresses of a name.
    names: Vec<HostName>,
    indices: HashMap<HostName, u32>,
    real: HashMap<IpAddr, Vec<HostName>>,
    real_pairs: usize,
}

/// What an address stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned<'a> {
    /// A virtual address: exactly one name.
    Virtual(&'a HostName),
    /// A real address that was handed out for these names (never empty); TLS or HTTP has to say for which.
    Real(&'a [HostName]),
}

/// The table is full; nothing was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no address left to hand out: this session has already resolved {MAX_NAMES} names")]
pub struct Full;

impl Pins {
    /// No pins yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The virtual IPv4 address of a name; the same for the whole session.
    pub fn v4(&mut self, name: &HostName) -> Result<Ipv4Addr, Full> {
        self.index(name).map(v4_of)
    }

    /// The virtual IPv6 address of a name; the same for the whole session.
    pub fn v6(&mut self, name: &HostName) -> Result<Ipv6Addr, Full> {
        self.index(name).map(v6_of)
    }

    /// Notes that `addresses` were handed out for `name`. Addresses of npxc's own networks are left out: they
    /// stay virtual. Returns those that are pinned now; [`Full`] when not one could be.
    pub fn pin_real(&mut self, name: &HostName, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Full> {
        let mut pinned = Vec::with_capacity(addresses.len());
        let mut full = false;
        for &address in addresses {
            if is_ours(address) {
                continue;
            }
            let known = self.real.get(&address).map_or(&[][..], Vec::as_slice);
            if !known.contains(name) {
                if known.len() >= MAX_NAMES_PER_ADDRESS || self.real_pairs >= MAX_REAL_PAIRS {
                    full = true;
                    continue;
                }
                self.real.entry(address).or_default().push(name.clone());
                self.real_pairs += 1;
            }
            pinned.push(address);
        }
        if full && pinned.is_empty() { Err(Full) } else { Ok(pinned) }
    }

    /// What `address` stands for; `None` if it was never handed out.
    pub fn lookup(&self, address: IpAddr) -> Option<Pinned<'_>> {
        if let Some(index) = index_of(address) {
            return self.names.get(index).map(Pinned::Virtual);
        }
        self.real.get(&address).map(|names| Pinned::Real(names))
    }

    /// Names that have a virtual address.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name has a virtual address yet.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn index(&mut self, name: &HostName) -> Result<u32, Full> {
        if let Some(&index) = self.indices.get(name) {
            return Ok(index);
        }
        if self.names.len() >= MAX_NAMES {
            return Err(Full);
        }
        let index = self.names.len() as u32;
        self.names.push(name.clone());
        self.indices.insert(name.clone(), index);
        Ok(index)
    }
}

impl<'a> Pinned<'a> {
    /// Every name the address stands for, at least one.
    pub fn names(self) -> &'a [HostName] {
        match self {
            Self::Virtual(name) => std::slice::from_ref(name),
            Self::Real(names) => names,
        }
    }
}

/// Whether an address lies in the networks that npxc numbers itself (the link and both pools). Nothing outside
/// is reached through them, so they are never a real destination.
pub fn is_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [198, 18 | 19, _, _]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd6e, 0x7078, 0x6300, _, _, _, _, _]),
    }
}

/// First host number of the IPv4 pool, 198.18.1.0; the link has 198.18.0.0/24.
const POOL_V4: u32 = u32::from_be_bytes([198, 18, 1, 0]);
/// Network of the IPv6 pool, `fd6e:7078:6300:1::/64`.
const POOL_V6: u128 = 0xfd6e_7078_6300_0001_0000_0000_0000_0000;
/// Addresses used of each /24: .0 and .255 are left out, some programs take them for network and broadcast.
const PER_BLOCK: u32 = 254;

// The last index must lie inside 198.18.0.0/15.
const _: () = assert!(MAX_NAMES <= 511 * PER_BLOCK as usize);

fn v4_of(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(POOL_V4 + (index / PER_BLOCK) * 256 + index % PER_BLOCK + 1)
}

fn v6_of(index: u32) -> Ipv6Addr {
    Ipv6Addr::from(POOL_V6 + u128::from(index) + 1)
}

fn index_of(address: IpAddr) -> Option<usize> {
    let index = match address {
        IpAddr::V4(v4) => {
            let offset = u32::from(v4).checked_sub(POOL_V4)?;
            let host = (offset % 256).checked_sub(1).filter(|host| *host < PER_BLOCK)?;
            (offset / 256) * PER_BLOCK + host
        }
        IpAddr::V6(v6) => {
            let offset = u128::from(v6).checked_sub(POOL_V6)?.checked_sub(1)?;
            u32::try_from(offset).ok()?
        }
    };
    usize::try_from(index).ok().filter(|index| *index < MAX_NAMES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::from_ascii(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_addresses_and_they_lead_back() {
        let mut pins = Pins::new();
        let first = pins.v4(&name("a.example.com")).unwrap();
        let second = pins.v4(&name("b.example.com")).unwrap();
        assert_eq!(first, Ipv4Addr::new(198, 18, 1, 1));
        assert_eq!(second, Ipv4Addr::new(198, 18, 1, 2));
        assert_eq!(pins.v4(&name("A.example.com")).unwrap(), first);
        let six = pins.v6(&name("b.example.com")).unwrap();
        assert_eq!(six, "fd6e:7078:6300:1::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(pins.lookup(second.into()), Some(Pinned::Virtual(&name("b.example.com"))));
        assert_eq!(pins.lookup(six.into()), Some(Pinned::Virtual(&name("b.example.com"))));
        assert_eq!(pins.lookup(Ipv4Addr::new(198, 18, 1, 3).into()), None);
    }

    #[test]
    fn addresses_nobody_was_given_lead_nowhere() {
        let mut pins = Pins::new();
        pins.v4(&name("a.example.com")).unwrap();
        for address in [
            "198.18.1.0",
            "198.18.1.255",
            "198.18.0.1",
            "198.18.0.255",
            "0.0.0.0",
            "255.255.255.255",
            "fd6e:7078:6300:1::",
            "fd6e:7078:6300:1::2",
            "fd6e:7078:6300:1:1::1",
            "fd6e:7078:6300::1",
            "::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "::ffff:198.18.1.1",
        ] {
            assert_eq!(pins.lookup(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn every_index_has_its_own_address_inside_the_pool() {
        let last = Ipv4Addr::new(198, 19, 255, 254);
        let mut previous = Ipv4Addr::new(198, 18, 0, 255);
        for index in 0..MAX_NAMES as u32 {
            let address = v4_of(index);
            assert!(address > previous && address <= last);
            assert!(!matches!(address.octets()[3], 0 | 255));
            assert_eq!(index_of(address.into()), Some(index as usize));
            assert_eq!(index_of(v6_of(index).into()), Some(index as usize));
            previous = address;
        }
        assert_eq!(index_of(v6_of(MAX_NAMES as u32).into()), None);
    }

    #[test]
    fn a_full_table_refuses_new_names_and_keeps_the_old() {
        let mut pins = Pins::new();
        for index in 0..MAX_NAMES {
            pins.v4(&name(&format!("n{index}.example.com"))).unwrap();
        }
        assert_eq!(pins.v4(&name("one-more.example.com")), Err(Full));
        assert_eq!(pins.v4(&name("n0.example.com")), Ok(Ipv4Addr::new(198, 18, 1, 1)));
    }

    #[test]
    fn a_real_address_gives_all_its_names() {
        let mut pins = Pins::new();
        let shared: IpAddr = "203.0.113.7".parse().unwrap();
        let own: IpAddr = "2001:db8::7".parse().unwrap();
        pins.pin_real(&name("a.example.com"), &[shared, own]).unwrap();
        pins.pin_real(&name("b.example.com"), &[shared]).unwrap();
        pins.pin_real(&name("a.example.com"), &[shared]).unwrap();
        assert_eq!(pins.lookup(shared).unwrap().names(), [name("a.example.com"), name("b.example.com")]);
        assert_eq!(pins.lookup(own).unwrap().names(), [name("a.example.com")]);
        assert_eq!(pins.lookup("203.0.113.8".parse().unwrap()), None);
    }

    #[test]
    fn a_real_address_inside_our_own_networks_is_never_pinned() {
        let mut pins = Pins::new();
        let ours: IpAddr = "198.18.1.1".parse().unwrap();
        assert_eq!(pins.pin_real(&name("a.example.com"), &[ours]), Ok(vec![]));
        assert_eq!(pins.lookup(ours), None);
    }

    #[test]
    fn names_of_one_real_address_are_bounded() {
        let mut pins = Pins::new();
        let shared: IpAddr = "203.0.113.7".parse().unwrap();
        for index in 0..MAX_NAMES_PER_ADDRESS {
            pins.pin_real(&name(&format!("n{index}.example.com")), &[shared]).unwrap();
        }
        assert_eq!(pins.pin_real(&name("more.example.com"), &[shared]), Err(Full));
        assert_eq!(pins.lookup(shared).unwrap().names().len(), MAX_NAMES_PER_ADDRESS);
    }
}
