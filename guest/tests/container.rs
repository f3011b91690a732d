//! The first process of a container, for real: every test plays npxc over the control socket, and `unshare` plays the
//! engine. Needs root, since an engine's work does; without it the tests pass without a word.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use npxc_guest::spec::{Container, ContainerLink, Order, Place, Purpose, Ready, Report, Spec, Supervise};
use npxc_guest::step::{Failure, Step};
use npxc_guest::wire::Channel;

/// Longest wait for anything; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an engine grants, as `setpriv` names it.
const GRANTED: &str = "-all,+net_admin,+setuid,+setgid,+setpcap";

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A container whose first process has connected.
struct Entered {
    engine: Child,
    channel: Channel,
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
    directory: PathBuf,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        let _ = self.engine.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A shell command's specification.
fn sh(script: &str, user: u32, link: ContainerLink) -> Spec {
    Spec {
        purpose: Purpose::Run,
        command: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
        cwd: "/".into(),
        mounts: Vec::new(),
        files: Vec::new(),
        scratch: 0,
        place: Place::Container(Container { user, group: user, link }),
    }
}

/// Starts a container as an engine would: its own namespaces, few capabilities. `network`: an own network namespace.
fn enter(spec: &Spec, granted: &str, network: bool) -> Entered {
    let directory = std::env::temp_dir().join(format!("npxc-guest-{}", unique()));
    fs::create_dir(&directory).unwrap();
    let control = directory.join("control");
    let listener = UnixListener::bind(&control).unwrap();
    let engine = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--ipc", "--uts", "--kill-child"])
        .args(network.then_some("--net"))
        .args(["setpriv", "--bounding-set", granted, "--inh-caps", "-all"])
        .arg(env!("CARGO_BIN_EXE_npxc-guest"))
        .arg("enter")
        .arg(&control)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (socket, _) = listener.accept().unwrap();
    let timeout = rustix::net::sockopt::Timeout::Recv;
    rustix::net::sockopt::set_socket_timeout(&socket, timeout, Some(PATIENCE)).unwrap();
    let channel = Channel::new(socket.into());
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    channel.send(spec, &[null.as_fd(), output.as_fd(), errors.as_fd()]).unwrap();
    Entered { engine, channel, stdout, stderr, directory }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Entered {
    fn report(&mut self) -> Option<Report> {
        self.channel.receive().unwrap()
    }

    fn ready(&mut self) -> Ready {
        match self.report() {
            Some(Report::Ready(ready)) => ready,
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self) -> Failure {
        match self.report() {
            Some(Report::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn go(&mut self) {
        self.channel.send(&Order::Go(Supervise::default()), &[]).unwrap();
    }

    /// Runs to the end: what it wrote, and its exit status.
    fn finish(mut self) -> (String, Option<i32>) {
        let report = self.report();
        let Some(Report::Ended { code, .. }) = report else { panic!("{report:?}") };
        let _ = self.engine.wait();
        (self.output(), code)
    }

    /// All output; ends when everything inside has.
    fn output(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

/// Starts with a TUN link and lets it run.
fn run(script: &str, user: u32) -> (String, Option<i32>) {
    let mut entered = enter(&sh(script, user, ContainerLink::Tun), GRANTED, true);
    entered.ready();
    let _tun = entered.channel.take_descriptor().unwrap();
    entered.go();
    entered.finish()
}

#[test]
fn the_workload_has_no_capability_and_the_user_that_was_asked_for() {
    if !root() {
        return;
    }
    for user in [1000, 0] {
        let (text, code) = run("cat /proc/self/status; id -u; id -g; id -G", user);
        assert_eq!(code, Some(0), "{text}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(text.contains(&format!("{set}:\t0000000000000000\n")), "{text}");
        }
        assert!(text.contains("NoNewPrivs:\t1\n") && text.contains("Seccomp:\t2\n"), "{text}");
        assert!(text.ends_with(&format!("{user}\n{user}\n{user}\n")), "{text}");
    }
}

#[test]
fn the_first_process_cannot_be_read_or_ended_from_inside() {
    if !root() {
        return;
    }
    for user in [1000, 0] {
        let script = "kill -KILL 1; kill -TERM 1; kill -STOP 1; \
            for name in environ mem maps fd ns/net root cwd exe syscall; do \
                (ls -l /proc/1/$name/ || head -c1 /proc/1/$name || readlink /proc/1/$name) >/dev/null 2>&1 && echo read $name; \
            done; echo still here";
        let (text, code) = run(script, user);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("still here"), "{text}");
        for name in ["environ", "mem", "maps", "fd", "ns/net", "root", "cwd", "exe", "syscall"] {
            assert!(!text.contains(&format!("read {name}\n")), "as {user}: {text}");
        }
    }
}

#[test]
fn the_tun_is_the_only_interface_and_carries_packets() {
    if !root() {
        return;
    }
    let script = "ls /proc/sys/net/ipv4/conf | sort | tr '\\n' ' '; cat /proc/net/if_inet6; \
        python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b\"hello\", (\"192.0.2.1\", 9)); \
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(b\"hello six\", (\"2001:db8::1\", 9))'";
    let mut entered = enter(&sh(script, 1000, ContainerLink::Tun), GRANTED, true);
    let ready = entered.ready();
    assert!(ready.vnet_hdr && ready.offload && ready.ipv6, "{ready:?}");
    let tun = entered.channel.take_descriptor().unwrap();
    entered.go();
    let (text, code) = entered.finish();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("all default lo npxc0 "), "{text}");
    // Loopback's and ours, none that the kernel made up.
    assert_eq!(text.lines().count(), 2, "{text}");
    let packets = packets(&tun);
    assert!(packets.iter().any(|packet| packet.ends_with(b"hello")), "{packets:?}");
    assert!(packets.iter().any(|packet| packet.ends_with(b"hello six")), "{packets:?}");
}

/// Everything that waits in a TUN.
fn packets(tun: &OwnedFd) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut buffer = vec![0; 70_000];
    while let Ok(length) = rustix::io::read(tun, &mut buffer) {
        packets.push(buffer[..length].to_vec());
    }
    packets
}

#[test]
fn the_lifeline_ends_everything() {
    if !root() {
        return;
    }
    let script = "(trap '' TERM; sleep 1000) & setsid sleep 1000 & echo started; wait";
    let mut entered = enter(&sh(script, 1000, ContainerLink::Tun), GRANTED, true);
    entered.ready();
    entered.go();
    let mut started = [0; 8];
    entered.stdout.read_exact(&mut started).unwrap();
    rustix::net::shutdown(&entered.channel, rustix::net::Shutdown::Write).unwrap();
    // Ends only when the last process that holds it has ended.
    assert_eq!(entered.output(), "");
    entered.engine.wait().unwrap();
}

#[test]
fn terminate_reaches_the_workload_whatever_its_user() {
    if !root() {
        return;
    }
    for user in [1000, 0] {
        let script = "trap 'echo bye; exit 7' TERM; echo started; while :; do sleep 1000 & wait; done";
        let mut entered = enter(&sh(script, user, ContainerLink::Tun), GRANTED, true);
        entered.ready();
        entered.go();
        let mut started = [0; 8];
        entered.stdout.read_exact(&mut started).unwrap();
        entered.channel.send(&Order::Terminate, &[]).unwrap();
        let (text, code) = entered.finish();
        assert_eq!((text.contains("bye"), code), (true, Some(7)), "{text}");
    }
}

#[test]
fn an_end_of_file_before_the_specification_or_the_start_ends_it() {
    if !root() {
        return;
    }
    let mut entered = enter(&sh("echo ran", 1000, ContainerLink::Tun), GRANTED, true);
    entered.ready();
    rustix::net::shutdown(&entered.channel, rustix::net::Shutdown::Write).unwrap();
    assert_eq!(entered.report(), None);
    assert_eq!(entered.output(), "");
}

#[test]
fn what_cannot_be_done_is_named() {
    if !root() {
        return;
    }
    let mut missing = sh("", 1000, ContainerLink::Tun);
    missing.command = vec!["no-such-program".into()];
    let mut entered = enter(&missing, GRANTED, true);
    entered.ready();
    entered.go();
    let failure = entered.failure();
    assert_eq!((failure.step, failure.errno), (Step::Exec, libc::ENOENT));
    assert_eq!(failure.detail, "no-such-program");
    drop(entered);

    let mut entered = enter(&sh("", 1000, ContainerLink::Tun), "-all,+setuid,+setgid,+setpcap", true);
    let failure = entered.failure();
    assert_eq!((failure.step, failure.errno), (Step::Loopback, libc::EPERM), "{failure}");
    drop(entered);

    let mut entered = enter(&sh("", u32::MAX, ContainerLink::Tun), GRANTED, true);
    assert_eq!(entered.failure().step, Step::User);
    drop(entered);

    let mut native = sh("", 1000, ContainerLink::Tun);
    native.place = Place::Namespaces;
    assert_eq!(enter(&native, GRANTED, true).failure().step, Step::Start);
}

#[test]
fn it_is_of_no_use_as_anything_but_the_first_process() {
    for arguments in [&["enter", "/nonexistent"][..], &["enter"], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_npxc-guest")).args(arguments).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("npxc-guest: "), "{text}");
    }
    assert!(Path::new(env!("CARGO_BIN_EXE_npxc-guest")).is_absolute());
}
