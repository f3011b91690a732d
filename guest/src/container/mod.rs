//! Process 1 of a container that an engine made: connects to npxc, sets the link up, gives up every privilege, and
//! then serves as in the native sandbox. Mounts, limits of the whole container and its root are the engine's work.
//!
//! The container starts with a few capabilities (`NET_ADMIN`, `SETUID`, `SETGID`, `SETPCAP`; for WireGuard also
//! `SYS_ADMIN`, for [`machine`]s `MKNOD`, too); none is left when the workload starts, neither here nor in the bounding set.
//!
//! With WireGuard, process 1 leaves the container's network namespace for a new one, whose only way out is the
//! tunnel's interface, and so does everything that it starts or that the engine executes in the container later.
//! Routes or firewall rules could not do that: whoever can name an interface goes around them. The process that holds
//! the tunnel's outer socket ([`keeper`]) is the only one that ever knows the keys, which it gives to the kernel if that
//! has a WireGuard of its own. With a stream it is the same, for whatever interface a virtual machine has.

mod keeper;
mod machine;
mod mounts;
mod scratch;
mod wireguard;

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::mount::MountFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use self::keeper::{Handshake, Keeper, Maker};
use crate::confine::Identity;
use crate::spec::{Container, ContainerLink, MTU, Place, Ready, Report, Spec};
use crate::step::{At, Failure, Step};
use crate::wire::Channel;
use crate::workload::Workload;
use crate::{confine, network, sys};

/// Runs process 1 to its end; the container's exit status, which is of interest to the engine's log only.
pub(crate) fn main(control: &Path) -> i32 {
    let outcome = connect(control).and_then(Keeper::start).and_then(|(keeper, mut channel)| {
        let served = serve(&mut channel, keeper);
        served.or_else(|failure| channel.send(&Report::Failed(failure), &[]).at(Step::Start, "report"))
    });
    match outcome {
        Ok(()) => 0,
        // npxc cannot be told, but it may read what the engine passes on.
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "npxc-guest: {failure}");
            1
        }
    }
}

fn connect(control: &Path) -> Result<Channel, Failure> {
    // What the engine has forgotten to close.
    sys::close_from_3().at(Step::Start, "descriptors")?;
    sys::block_signals().at(Step::Start, "signals")?;
    // From here on nobody in the container can look into this process or its children.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Start, "dumpable")?;
    if !rustix::process::getpid().is_init() {
        let error = std::io::Error::other("has to be the first process of the container");
        return Err(Failure::new(Step::Start, "npxc-guest", &error));
    }
    let socket = UnixStream::connect(control).at(Step::Start, control.display().to_string())?;
    Ok(Channel::new(socket.into()))
}

fn serve(channel: &mut Channel, mut keeper: Keeper) -> Result<(), Failure> {
    let Some((spec, stdio)) = keeper.specification()? else {
        return Ok(());
    };
    let workload = Workload::new(&spec)?;
    let container = container(&spec)?;
    let mut ready = Ready::default();
    let children = sys::child_signals().at(Step::HandOver, "signalfd")?;
    confine::limits()?;
    if container.machine {
        machine::device()?;
        machine::furnish(&spec.files)?;
    }
    // Held to the end, in process 1 where nobody else holds it.
    let mut outer = None;
    let (tun, keeper) = match &container.link {
        ContainerLink::Tun => {
            keeper.dismiss();
            (Some(set_up(network::NAME, MTU, &mut ready)?), None)
        }
        ContainerLink::Wireguard(link) => {
            leave_network()?;
            keeper.enter()?;
            let maker = keeper.maker()?;
            match &maker {
                Maker::Kernel => {
                    network::loopback()?;
                    network::configure(wireguard::NAME, link.mtu, Path::new("/proc"), &mut ready)?;
                    ready.notes.push("the tunnel is the kernel's".into());
                }
                Maker::Keeper(why) => {
                    keeper.carry(&set_up(wireguard::NAME, link.mtu, &mut ready)?);
                    ready.notes.push(format!("the tunnel is npxc's own, since the kernel has none: {why}"));
                }
            }
            match (keeper.handshake(channel, &format!("{} over UDP", link.endpoint))?, maker) {
                (Handshake::Complete, Maker::Kernel) => {
                    outer = Some(keeper.retire()?);
                    (None, None)
                }
                (Handshake::Complete, Maker::Keeper(_)) => (None, Some(keeper)),
                (Handshake::Abandoned, _) => return Ok(()),
            }
        }
        ContainerLink::Stream(stream) => {
            leave_network()?;
            keeper.enter()?;
            keeper.carry(&set_up(network::NAME, stream.mtu, &mut ready)?);
            match keeper.handshake(channel, "the relay of its packets")? {
                Handshake::Complete => (None, Some(keeper)),
                Handshake::Abandoned => return Ok(()),
            }
        }
    };
    scratch::open();
    confine::landlock(&confine::writable_in_container(), &mut ready)?;
    confine::capabilities(Some(Identity { user: container.user, group: container.group }))?;
    mounts::compare(&spec.mounts)?;
    confine::seccomp()?;
    let descriptors: Vec<_> = tun.iter().map(AsFd::as_fd).collect();
    channel.send(&Report::Ready(ready), &descriptors).at(Step::HandOver, "link")?;
    drop(descriptors);
    drop(tun);
    let served = workload.serve(channel, stdio, children.as_fd(), keeper.as_ref().map(Keeper::pid));
    drop(outer);
    served
}

/// Leaves the network that the engine made for an empty one.
fn leave_network() -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWNET).at(Step::Namespaces, "unshare(network)")?;
    hide_outer_interfaces();
    Ok(())
}

fn container(spec: &Spec) -> Result<&Container, Failure> {
    match &spec.place {
        Place::Container(container) => Ok(container),
        Place::Namespaces => {
            let error = std::io::Error::other("is for another kind of sandbox");
            Err(Failure::new(Step::Start, "specification", &error))
        }
    }
}

/// The engine's sysfs goes on showing the network namespace that it was mounted in: what it knows of the outer
/// interface (names, hardware addresses, counters) is nobody's business inside. Best effort, as nothing can be reached
/// through it.
fn hide_outer_interfaces() {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in ["/sys/class/net", "/sys/devices/virtual/net"] {
        let _ = rustix::mount::mount("tmpfs", path, "tmpfs", flags, c"size=4096,mode=0555");
    }
}

/// The interfaces of this network namespace.
fn set_up(name: &std::ffi::CStr, mtu: u16, ready: &mut Ready) -> Result<OwnedFd, Failure> {
    network::loopback()?;
    let link = network::create(name)?;
    (ready.vnet_hdr, ready.offload) = (link.vnet_hdr, link.offload);
    network::configure(name, mtu, Path::new("/proc"), ready)?;
    Ok(link.tun)
}
