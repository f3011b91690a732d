//! What every container is started with, whichever engine makes it: the first process's program and specification, and
//! the two ends of its tunnel.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use npxc_guest::spec::{Bind, Container, Place, Purpose, Spec, Wireguard};

use super::{Launch, RuntimeError, WireGuardLink, etc, guest_binary};

/// The first handshake of a tunnel: longer than the guest tries, which then says why.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(15);

/// The first process's program: the one that was given, else the one that npxc carries.
pub(super) fn guest_program(given: Option<&Path>) -> Result<Cow<'static, [u8]>, RuntimeError> {
    if let Some(path) = given {
        return fs::read(path).map(Into::into).map_err(RuntimeError::io("reading the guest's program"));
    }
    let binary = guest_binary();
    if binary.is_empty() {
        return Err(RuntimeError::Unfit {
            what: "this npxc was built without the program that runs inside containers".into(),
            hint: Some(format!(
                "build npxc where a static one can be linked: `rustup target add {}-unknown-linux-musl`",
                std::env::consts::ARCH
            )),
        });
    }
    Ok(binary.into())
}

/// The error of a launch for which no image was chosen.
pub(super) fn no_image() -> RuntimeError {
    RuntimeError::Unfit {
        what: "no image was chosen for the container".into(),
        hint: Some("give one by `--image`, or as `node_image` in npxc.toml".into()),
    }
}

/// Refuses a mount over what is npxc's own inside, which is in `/npxc` or `/npxc-ID`.
pub(super) fn spares_own(bind: &Bind) -> Result<(), RuntimeError> {
    let is_own = |first: &OsStr| first == "npxc" || first.as_encoded_bytes().starts_with(b"npxc-");
    if !bind.guest.components().nth(1).is_some_and(|first| is_own(first.as_os_str())) {
        return Ok(());
    }
    let why = format!("{} inside is the sandbox's own", bind.guest.display());
    Err(RuntimeError::Mount { path: bind.host.clone(), why, hint: None })
}

/// What the first process has to know. `path` is the image's `PATH`; the engine has made `mounts`, and limits
/// are its own.
pub(super) fn spec(
    launch: &Launch,
    mounts: Vec<Bind>,
    files: Vec<(PathBuf, Vec<u8>)>,
    path: Option<&str>,
    place: Container,
) -> Spec {
    Spec {
        purpose: Purpose::Run,
        command: launch.command.clone(),
        env: etc::environment(&launch.env, path),
        cwd: launch.cwd.clone().into(),
        mounts,
        files: files.into_iter().map(|(path, content)| (path.into(), content)).collect(),
        scratch: 0,
        place: Place::Container(place),
    }
}

/// Both ends of a tunnel with new keys: npxc's on `socket`, which the guest reaches at `endpoint`, and the guest's.
/// `mtu` is that of the guest's `wg0`, bytes.
pub(super) fn tunnel(
    socket: UdpSocket,
    endpoint: SocketAddr,
    mtu: u16,
) -> Result<(WireGuardLink, Wireguard), RuntimeError> {
    let (ours, theirs) =
        npxc_link::wg::key_pairs().map_err(RuntimeError::io("the system's random source"))?;
    let guests = Wireguard {
        private: theirs.private,
        peer_public: theirs.peer_public,
        preshared: theirs.preshared,
        endpoint,
        mtu,
    };
    let link = WireGuardLink::new(socket, &ours, mtu).map_err(RuntimeError::io("the tunnel's socket"))?;
    Ok((link, guests))
}
