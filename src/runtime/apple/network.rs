//! The network of one session (macOS 26 and later): made `--internal`, with one container on it, and deleted with it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::{Apple, PATIENCE, REMOVE, answers};
use crate::runtime::RuntimeError;

/// Between two tries to delete it: the container's end of it may still be going.
const PAUSE: Duration = Duration::from_millis(200);

/// A session's network; dropping it deletes it.
#[derive(Debug)]
pub(super) struct Network {
    apple: Apple,
    name: String,
    /// The host's address on it.
    pub(super) gateway: IpAddr,
}

impl Network {
    /// Makes it, and asks where the host is on it.
    pub(super) fn create(apple: &Apple, name: &str) -> Result<Self, RuntimeError> {
        apple.client.run(&["network", "create", "--internal", name], PATIENCE)?;
        // From here on it goes with this, whatever is answered.
        let mut network =
            Self { apple: apple.clone(), name: name.to_owned(), gateway: Ipv4Addr::UNSPECIFIED.into() };
        let words = ["network", "inspect", name];
        let answer = apple.client.run(&words, PATIENCE)?;
        network.gateway = answers::gateway(&answer).map_err(|why| apple.client.failed(&words, why))?;
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let deadline = Instant::now() + REMOVE;
        while !self.apple.remove_network(&self.name) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
    }
}
