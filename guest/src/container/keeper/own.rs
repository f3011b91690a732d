//! What the keeper becomes: a user of its own, without a capability, with a list of system calls.

use crate::confine::{self, Identity};
use crate::step::{At, Failure, Step};

/// User and group of the keeper: nobody else's, and inside what rootless engines map (65536 ids).
const OWN_ID: u32 = 64_198;

/// A user of the keeper's own, if the container has one to spare: a rootless engine without subordinate ids has not.
pub(super) fn identity(workload: u32) -> Identity {
    let own = if workload == OWN_ID { OWN_ID - 1 } else { OWN_ID };
    let known = ["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(|map| std::fs::read_to_string(map).is_ok_and(|map| is_mapped(&map, own)));
    if known { Identity { user: own, group: own } } else { Identity { user: 0, group: 0 } }
}

/// Whether an id is in a map of `user_namespaces(7)`: first inside, first outside, how many.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        match (numbers.next(), numbers.nth(1)) {
            (Some(first), Some(count)) => (first..first + count).contains(&u64::from(id)),
            _ => false,
        }
    })
}

/// Gives every privilege up, for good.
pub(super) fn confine(identity: Identity) -> Result<(), Failure> {
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities, "no_new_privs")?;
    confine::capabilities(Some(identity))?;
    confine::tunnel_seccomp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_mapped_when_a_range_holds_it() {
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        assert!(is_mapped(rootless, 0) && is_mapped(rootless, OWN_ID) && is_mapped(rootless, 65_536));
        assert!(!is_mapped(rootless, 65_537));
        assert!(!is_mapped("0 1000 1\n", OWN_ID));
        assert!(is_mapped("0 0 4294967295\n", OWN_ID));
    }
}
