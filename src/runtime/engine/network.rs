//! The network of one session: made `--internal`, with one container on it, and removed with it. Its gateway address
//! is where npxc's end of the WireGuard link is bound.

mod inspect;

use std::time::Duration;

use self::inspect::parse;
pub(super) use self::inspect::{Addresses, Subnet, labels};
use super::arguments;
use super::owner::Owner;
use super::{Kind, patience};
use crate::runtime::RuntimeError;
use crate::runtime::command::Client;

/// How often deleting is tried: the container's end of it may still be going.
const TRIES: u32 = 5;
/// Between two tries, the first time; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(100);

/// A session's network; dropping it deletes it.
#[derive(Debug)]
pub(super) struct Network {
    client: Client,
    pub(super) name: String,
    pub(super) addresses: Addresses,
}

impl Network {
    /// Makes it. `mtu` is that of its bridge, where it shall not be the engine's usual one.
    pub(super) fn create(
        kind: Kind,
        client: &Client,
        id: &str,
        owner: Owner,
        mtu: Option<u16>,
    ) -> Result<Self, RuntimeError> {
        let name = arguments::name(id);
        client.run(&create_arguments(kind, &name, id, owner, mtu), patience::NETWORK)?;
        let mut network = Self { client: client.clone(), name, addresses: Addresses::default() };
        let inspect = ["network", "inspect", &network.name];
        let answer = client.run(&inspect, patience::NETWORK)?;
        network.addresses = parse(&answer).map_err(|why| client.failed(&inspect, why))?;
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.client, &self.name);
    }
}

/// Deletes a network that only npxc's containers were on. Whether it is gone.
pub(super) fn remove(client: &Client, name: &str) -> bool {
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        // Without `-f`: that would take a container with it that is somebody else's.
        match client.ask(&["network", "rm", name], patience::NETWORK) {
            Ok(output) if output.success || is_missing(&output.stderr) => return true,
            Ok(_) => {}
            // An engine that does not answer now will not in a second.
            Err(_) => return false,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    false
}

fn is_missing(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("not found") || said.contains("no such network")
}

fn create_arguments(kind: Kind, name: &str, id: &str, owner: Owner, mtu: Option<u16>) -> Vec<String> {
    let mut words: Vec<String> = ["network", "create", "--internal"].map(Into::into).to_vec();
    for label in arguments::labels(id, owner) {
        words.extend(["--label".into(), label]);
    }
    if let Some(mtu) = mtu {
        let key = match kind {
            Kind::Podman => "mtu",
            Kind::Docker => "com.docker.network.driver.mtu",
        };
        words.extend(["--opt".into(), format!("{key}={mtu}")]);
    }
    words.push(name.to_owned());
    words
}

#[cfg(test)]
mod tests {
    use super::super::owner::Realm;
    use super::*;

    #[test]
    fn a_network_is_internal_and_labelled() {
        let owner = Owner { pid: 7, start: 99, realm: Realm { uid: 1000, namespace: 5 } };
        let words = |kind, mtu| create_arguments(kind, "npxc-42", "42", owner, mtu).join(" ");
        assert_eq!(
            words(Kind::Podman, None),
            "network create --internal --label npxc.session=42 --label npxc.pid=7 --label npxc.start=99 --label \
             npxc.realm=1000.5 npxc-42"
        );
        assert!(words(Kind::Podman, Some(9000)).ends_with("--opt mtu=9000 npxc-42"));
        assert!(
            words(Kind::Docker, Some(9000)).ends_with("--opt com.docker.network.driver.mtu=9000 npxc-42")
        );
    }
}
