//! Whether the engine mounted what npxc had looked at: it is told a path, and whoever may rename things on its way can
//! put something else there meanwhile. The native sandbox compares as it takes a mount; here it has been made already, so
//! the workload is not started.

use std::io;

use crate::spec::Bind;
use crate::step::{Failure, Step};

/// Looks as the workload: what it may not reach cannot be looked at, and is nothing to it.
pub(super) fn compare(mounts: &[Bind]) -> Result<(), Failure> {
    for mount in mounts {
        let found = match rustix::fs::stat(&mount.guest) {
            Ok(found) => (found.st_dev, found.st_ino),
            Err(rustix::io::Errno::ACCESS) => continue,
            Err(error) => return Err(failure(mount, &error.into())),
        };
        if found != mount.identity {
            let error = io::Error::other("was replaced by something else while the sandbox was started");
            return Err(failure(mount, &error));
        }
    }
    Ok(())
}

fn failure(mount: &Bind, error: &io::Error) -> Failure {
    let detail = format!("{} at {}", mount.host.display(), mount.guest.display());
    Failure::new(Step::Mounts, detail, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn bind(guest: &str, identity: (u64, u64)) -> Bind {
        Bind { host: PathBuf::from("/somewhere"), guest: guest.into(), writable: true, identity, layer: None }
    }

    #[test]
    fn only_what_was_looked_at_is_mounted() {
        let root = rustix::fs::stat("/").unwrap();
        let root = (root.st_dev, root.st_ino);
        assert_eq!(compare(&[bind("/", root)]), Ok(()));
        for (guest, identity) in [("/", (root.0, root.1 + 1)), ("/proc", root), ("/not/there", root)] {
            let failure = compare(&[bind("/", root), bind(guest, identity)]).unwrap_err();
            assert_eq!(failure.step, Step::Mounts);
            assert!(failure.detail.contains(guest), "{failure}");
        }
    }
}
