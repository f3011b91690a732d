//! The native runtime, for real: every test starts a sandbox and looks at it from inside. As root they run
//! twice, the second time as an ordinary user.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use npxc::runtime::native::Native;
use npxc::runtime::{
    Access, Ended, Guest, KnownDirectories, Launch, LimitHit, Limits, Link, Mount, Outcome, Runtime,
    RuntimeError, Status, Stdio3,
};

/// Set for the second run.
const AS_USER: &str = "NPXC_TEST_AS_USER";
/// Set for the second run: an npxc that the user may run, wherever the project stands.
const PROGRAM: &str = "NPXC_TEST_PROGRAM";

fn native() -> Native {
    let copy = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_npxc").into());
    Native::with_program(copy.into())
}

fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/home/user".into(),
        mounts: Vec::new(),
        limits: Limits::default(),
        files: Vec::new(),
    }
}

fn sh(script: &str) -> Launch {
    launch(&["/bin/sh", "-c", script])
}

struct Running {
    guest: Guest,
    stdin: Option<std::io::PipeWriter>,
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
}

fn try_start(launch: &Launch) -> Result<Running, RuntimeError> {
    let (stdin, input) = std::io::pipe().unwrap();
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    let stdio = Stdio3 { stdin: stdin.into(), stdout: output.into(), stderr: errors.into() };
    let guest = native().launch(launch, stdio)?;
    Ok(Running { guest, stdin: Some(input), stdout, stderr })
}

fn start(launch: &Launch) -> Running {
    let mut running = try_start(launch).unwrap_or_else(|error| panic!("{error}\nhint: {:?}", error.hint()));
    running.guest.release().unwrap();
    running
}

fn wait(guest: &mut Guest) -> Result<Ended, RuntimeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(guest.wait())
}

/// Runs a command to its end: how it ended, what it wrote.
fn run(launch: &Launch) -> (Ended, String, String) {
    let mut running = start(launch);
    drop(running.stdin.take());
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.read_to_string(&mut out).unwrap();
    running.stderr.read_to_string(&mut err).unwrap();
    (wait(&mut running.guest).unwrap(), out, err)
}

fn exited(code: i32) -> Ended {
    Ended { status: Status::Exited(code), limit: None }
}

/// What a script writes; it has to succeed.
fn output(script: &str) -> String {
    let (ended, out, err) = run(&sh(script));
    assert_eq!(ended, exited(0), "{out}\n{err}");
    out
}

/// A script that must fail, and does so for the reason given.
fn refused(script: &str, reason: &str) {
    let (ended, out, err) = run(&sh(script));
    assert!(matches!(ended.status, Status::Exited(code) if code != 0), "{script}: {out}\n{err}");
    assert!(err.contains(reason), "{script}: {err}");
}

fn mount(host: &Path, access: Access) -> Mount {
    Mount { host: host.to_owned(), guest: "/home/user/work".into(), access }
}

/// Starts the tests of this file again as an ordinary user, for whom `/dev/net/tun` is open as it usually is.
#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() || std::env::var_os(AS_USER).is_some() {
        return;
    }
    let script = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid 65534 \
                  --regid 65534 --clear-groups --inh-caps=-all \"$0\"";
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: PathBuf, name: &str| {
        let to = directory.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(copy(std::env::current_exe().unwrap(), "tests"))
        .env(PROGRAM, copy(env!("CARGO_BIN_EXE_npxc").into(), "npxc"))
        .env(AS_USER, "1")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_step_passes_the_check() {
    for report in native().check() {
        assert!(!matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");
    }
}

#[test]
fn status_and_signal_pass_through() {
    assert_eq!(run(&sh("exit 7")).0, exited(7));
    let (ended, _, _) = run(&sh("kill -USR1 $$"));
    assert_eq!(ended, Ended { status: Status::Signaled(10), limit: None });
}

#[test]
fn identity_home_and_directory_are_the_sandboxs_own() {
    assert_eq!(
        output("id -un; id -u; id -g; pwd; hostname; echo $HOME"),
        "user\n1000\n1000\n/home/user\nnpxc\n/home/user\n"
    );
}

#[test]
fn stdio_is_byte_exact() {
    let mut running = start(&launch(&["/bin/cat"]));
    let sent: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stdin = running.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || stdin.write_all(&sent).unwrap()
    });
    let mut received = Vec::new();
    running.stdout.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent);
    assert_eq!(wait(&mut running.guest).unwrap(), exited(0));
}

#[test]
fn no_privilege_is_left() {
    let status = output("cat /proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Groups"), "");
}

#[test]
fn the_file_system_cannot_be_changed() {
    for path in
        ["/usr/x", "/etc/x", "/x", "/dev/x", "/proc/sys/kernel/x", "/opt/x", "/home/x", "/var/x", "/sys/x"]
    {
        let (ended, _, _) = run(&sh(&format!("echo x > {path}")));
        assert_ne!(ended, exited(0), "{path}");
    }
    if Path::new("/proc/sysrq-trigger").exists() {
        refused("echo b > /proc/sysrq-trigger", "Read-only");
    }
    refused("echo 1 > /proc/sys/kernel/core_pattern", "Read-only");
    refused("echo 0 > /proc/sys/net/ipv4/ip_forward", "Read-only");
    output("for d in /tmp /var/tmp /home/user /dev/shm; do echo x > $d/file && cat $d/file; done");
}

#[test]
fn nothing_of_the_host_is_to_be_seen() {
    assert_eq!(output("ls -A /home"), "user\n");
    assert_eq!(output("ls -A /home/user /run /mnt /srv /sys /opt /tmp | grep -v :"), "\n\n\n\n\n\n");
    refused("ls /root", "No such file");
}

#[test]
fn secrets_of_the_host_are_not_in_etc() {
    assert_eq!(
        output("ls /etc/shadow /etc/ssl/private /etc/ssh /etc/npmrc /etc/sudoers 2>/dev/null; true"),
        ""
    );
}

#[test]
fn only_the_sandboxs_processes_are_to_be_seen() {
    // Init and the shell; the glob is the shell's own.
    assert_eq!(output("echo /proc/[0-9]*"), "/proc/1 /proc/2\n");
    refused("ls -l /proc/1/fd/", "Permission denied");
    refused("cat /proc/1/mem", "Permission denied");
}

#[test]
fn proc_tells_about_the_sandbox_and_not_about_the_host() {
    let masked =
        ["config.gz", "consoles", "diskstats", "interrupts", "iomem", "modules", "partitions", "swaps"]
            .map(|name| format!("/proc/{name}"));
    let there: Vec<String> = masked.into_iter().filter(|path| Path::new(path).exists()).collect();
    assert!(there.len() > 4, "{there:?}");
    assert_eq!(output(&format!("cat {}", there.join(" "))), "");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let inside = output("cat /proc/sys/kernel/random/boot_id");
    assert!(inside.len() == boot.len() && inside != boot, "{inside}");
    // What node says about the machine still makes sense.
    let out = output(
        "node -p \"const os = require('os'); os.cpus().length > 0 && os.loadavg().length === 3 && os.uptime() > 0 \
         && os.freemem() > 0 && process.memoryUsage().rss > 0 && crypto.randomUUID().length\"",
    );
    assert_eq!(out, "36\n");
}

#[test]
fn no_descriptor_but_stdio_is_open() {
    // The shell lists itself: 0, 1, 2 and the directory that ls reads.
    assert_eq!(output("ls /proc/self/fd | wc -l"), "4\n");
}

#[test]
fn namespaces_mounts_and_tracing_are_refused() {
    refused("unshare -U true", "unshare failed: Operation not permitted");
    refused("unshare -n true", "Operation not permitted");
    refused("mount -t tmpfs x /tmp", "");
    refused("chroot /tmp /bin/true", "");
}

#[test]
fn what_a_sandbox_lacks_is_a_reason() {
    let mut running = start(&launch(&["no-such-program"]));
    let error = wait(&mut running.guest).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start no-such-program in the sandbox: No such file or directory (os error 2)"
    );
    let mut nowhere = sh("true");
    nowhere.cwd = "/nowhere".into();
    let mut running = start(&nowhere);
    let error = wait(&mut running.guest).unwrap_err();
    assert!(error.to_string().contains("no working directory /nowhere"), "{error}");
}

#[test]
fn the_link_carries_packets_both_ways() {
    let mut running = start(&sh("exec node -e \"
        const s = require('dgram').createSocket('udp4');
        s.on('message', (m) => { console.log(String(m)); s.close(); });
        s.bind(5000, () => s.send('ping', 9, '198.18.1.7'));
    \""));
    let Some(Link::Tun(link)) = running.guest.take_link() else { panic!("not a TUN") };
    assert!(running.guest.take_link().is_none());
    assert_eq!(link.mtu, 1500);
    let header = if link.vnet_hdr { 10 } else { 0 };
    let mut buffer = vec![0; 70_000];
    // Whatever else a new interface says goes by.
    let packet = loop {
        let mut events = [rustix::event::PollFd::new(&link.fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut events, None).unwrap();
        let length = rustix::io::read(&link.fd, &mut buffer).unwrap();
        let packet = buffer[header..length].to_vec();
        if packet[0] >> 4 == 4 && packet[9] == 17 {
            break packet;
        }
    };
    assert_eq!(packet[12..20], [198, 18, 0, 2, 198, 18, 1, 7]);
    assert_eq!(&packet[28..], b"ping");

    // The answer: addresses and ports swapped (no change to the checksum of the header), no UDP checksum.
    let mut answer = vec![0; header];
    answer.extend_from_slice(&packet);
    let ip = &mut answer[header..];
    ip[12..16].copy_from_slice(&packet[16..20]);
    ip[16..20].copy_from_slice(&packet[12..16]);
    ip[20..22].copy_from_slice(&packet[22..24]);
    ip[22..24].copy_from_slice(&packet[20..22]);
    ip[26..28].fill(0);
    ip[28..].copy_from_slice(b"pong");
    rustix::io::write(&link.fd, &answer).unwrap();
    let mut out = String::new();
    running.stdout.read_to_string(&mut out).unwrap();
    assert_eq!(out, "pong\n");
}

#[test]
fn both_families_have_an_address_a_route_and_a_resolver() {
    let out = output(
        "cat /etc/resolv.conf; node -p \"
        const i = require('os').networkInterfaces();
        [...i.npxc0, ...i.lo].map((a) => a.cidr).join()\"",
    );
    assert_eq!(
        out,
        "nameserver 198.18.0.1\nnameserver fd6e:7078:6300::1\n\
         198.18.0.2/30,fd6e:7078:6300::2/64,127.0.0.1/8,::1/128\n"
    );
}

#[test]
fn a_read_only_mount_is_read_only_and_a_writable_one_is_writable() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("in"), "from the host\n").unwrap();
    let mut launch = sh("cat work/in; echo from the guest > work/out");
    launch.mounts = vec![mount(host.path(), Access::ReadOnly)];
    let (ended, out, err) = run(&launch);
    assert_ne!(ended, exited(0));
    assert_eq!(out, "from the host\n");
    assert!(err.contains("Read-only file system"), "{err}");

    launch.mounts = vec![mount(host.path(), Access::ReadWrite)];
    assert_eq!(run(&launch).0, exited(0));
    assert_eq!(fs::read_to_string(host.path().join("out")).unwrap(), "from the guest\n");
}

#[test]
fn a_single_file_can_be_mounted() {
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("file");
    fs::write(&file, "old").unwrap();
    let mut launch = sh("cat /opt/some/where; echo new > /opt/some/where");
    launch.mounts =
        vec![Mount { host: file.clone(), guest: "/opt/some/where".into(), access: Access::ReadWrite }];
    let (ended, out, err) = run(&launch);
    assert_eq!(ended, exited(0), "{err}");
    assert_eq!(out, "old");
    assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
}

#[test]
fn a_mount_point_is_never_made_on_the_host() {
    let host = tempfile::tempdir().unwrap();
    let mut launch = sh("true");
    launch.mounts = vec![
        mount(host.path(), Access::ReadWrite),
        Mount { host: host.path().into(), guest: "/home/user/work/deeper".into(), access: Access::ReadOnly },
    ];
    let error = try_start(&launch).err().unwrap();
    assert!(error.to_string().contains("would have to be created in a directory of the host"), "{error}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn a_symbolic_link_in_a_mount_leads_nowhere_else() {
    let host = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("real")).unwrap();
    std::os::unix::fs::symlink(target.path(), host.path().join("link")).unwrap();
    let mut launch = sh("true");
    launch.mounts = vec![
        mount(host.path(), Access::ReadWrite),
        Mount { host: "/usr/share".into(), guest: "/home/user/work/link/x".into(), access: Access::ReadOnly },
    ];
    // Resolved inside, the link's target does not exist; it is made on the sandbox's own /tmp or not at all.
    let _ = try_start(&launch).map(drop);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn sockets_fifos_and_the_machine_are_not_mounted() {
    let host = tempfile::tempdir().unwrap();
    let deep = host.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let socket = deep.join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut launch = sh("true");
    for (path, why) in [
        (host.path(), "agent.sock is a unix socket"),
        (&socket, "it is a unix socket"),
        (Path::new("/"), "the whole file system"),
        (Path::new("/proc"), "kernel interfaces"),
        (Path::new("/dev/null"), "kernel interfaces"),
        (Path::new("/no/such/path"), "No such file"),
    ] {
        launch.mounts = vec![mount(path, Access::ReadOnly)];
        let error = try_start(&launch).err().unwrap();
        assert!(error.to_string().contains(why), "{error}");
    }
    for guest in ["/", "/proc", "/proc/sys", "/dev/shm", "/etc", "/usr"] {
        let mut mount = mount(Path::new("/usr/share"), Access::ReadOnly);
        mount.guest = guest.into();
        launch.mounts = vec![mount];
        let error = try_start(&launch).err().unwrap();
        assert!(error.to_string().contains("is the sandbox's own"), "{error}");
    }
    let protected =
        native().directories(KnownDirectories { protected: vec![deep.clone()], ..Default::default() });
    launch.mounts = vec![mount(&host.path().join("a"), Access::ReadOnly)];
    let null = || fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into();
    let error =
        protected.launch(&launch, Stdio3 { stdin: null(), stdout: null(), stderr: null() }).err().unwrap();
    assert!(error.to_string().contains("npxc's own files"), "{error}");
}

#[test]
fn files_handed_in_are_there() {
    let mut launch = sh("cat /home/user/.npmrc /etc/npxc.conf; stat -c %a /home/user/.npmrc");
    launch.files =
        vec![("/home/user/.npmrc".into(), b"a=b\n".to_vec()), ("/etc/npxc.conf".into(), b"c\n".to_vec())];
    assert_eq!(run(&launch).1, "a=b\nc\n600\n");
}

#[test]
fn too_much_memory_ends_the_sandbox_and_says_so() {
    let mut launch = launch(&["node", "-e", "const a = []; for (;;) a.push(Buffer.alloc(1 << 24, 1))"]);
    launch.limits.memory = 300 << 20;
    let (ended, _, _) = run(&launch);
    assert_eq!(ended.limit, Some(LimitHit::Memory), "{ended:?}");
    assert_ne!(ended.status, Status::Exited(0));
}

#[test]
fn too_many_processes_are_refused_and_reported() {
    let mut launch = sh("for i in $(seq 200); do sleep 1000 & done; wait");
    launch.limits.pids = 30;
    let (ended, out, err) = run(&launch);
    assert_eq!(ended.limit, Some(LimitHit::Pids), "{ended:?}{out}{err}");
    assert_ne!(ended.status, Status::Exited(0));
}

#[test]
fn scratch_space_is_limited() {
    let mut launch = sh("dd if=/dev/zero of=/tmp/x bs=1M count=20 2>&1 | grep -o 'No space left on device'");
    launch.limits.scratch = 8 << 20;
    assert_eq!(run(&launch).1, "No space left on device\n");
}

#[test]
fn terminate_reaches_the_command_and_kill_everything() {
    let mut running = start(&sh("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"));
    let mut ready = [0; 6];
    running.stdout.read_exact(&mut ready).unwrap();
    running.guest.terminate();
    assert_eq!(wait(&mut running.guest).unwrap(), exited(3));

    let mut running = start(&sh("trap '' TERM; setsid sleep 1000 & echo ready; wait"));
    running.stdout.read_exact(&mut ready).unwrap();
    running.guest.kill();
    assert_eq!(wait(&mut running.guest).unwrap().status, Status::Signaled(9));
    let mut rest = Vec::new();
    // Ends only when no process holds the other end.
    running.stdout.read_to_end(&mut rest).unwrap();
}

#[test]
fn dropping_a_guest_leaves_nothing() {
    let mut running = start(&sh("setsid sleep 1000 & echo ready; wait"));
    running.stdout.read_exact(&mut [0; 6]).unwrap();
    drop(running.guest);
    let mut rest = Vec::new();
    running.stdout.read_to_end(&mut rest).unwrap();
}

/// A sandbox whose npxc is killed outright: this test is that npxc when started by itself.
#[test]
fn a_killed_npxc_takes_its_sandbox_with_it() {
    const ROLE: &str = "NPXC_TEST_VICTIM";
    if std::env::var_os(ROLE).is_some() {
        let (stdin, _input) = std::io::pipe().unwrap();
        let stdout = std::io::stdout();
        let duplicate = || std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned().unwrap();
        let stdio = Stdio3 { stdin: stdin.into(), stdout: duplicate(), stderr: duplicate() };
        let mut guest = native().launch(&sh("setsid sleep 1000 & echo ready; wait"), stdio).unwrap();
        guest.release().unwrap();
        let _ = wait(&mut guest);
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_npxc_takes_its_sandbox_with_it", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = victim.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"ready") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The guest's processes hold the other end: its end of file says that all are gone.
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
}

#[test]
fn programs_of_all_kinds_run() {
    let node = "const { Worker } = require('worker_threads');
        const { execFileSync } = require('child_process');
        const w = new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true });
        w.on('message', (m) => console.log('worker', m, String(execFileSync('echo', ['child'])).trim()));";
    let (ended, out, err) = run(&launch(&["node", "-e", node]));
    assert_eq!((ended, out.as_str()), (exited(0), "worker 1 child\n"), "{err}");
    for (program, script, expected) in [
        (
            "git",
            "git init -q r && cd r && git config user.email a@example.com && git config user.name a && touch f \
          && git add f && git commit -qm x && git log --oneline | wc -l",
            "1\n",
        ),
        ("/usr/bin/python3", "/usr/bin/python3 -c 'import ssl, threading; print(2)'", "2\n"),
        ("gcc", "echo 'int main(){return 0;}' > a.c && gcc a.c && ./a.out && echo 3", "3\n"),
        ("npm", "npm --version > /dev/null && echo 4", "4\n"),
        ("script", "script -qec 'echo 5' /dev/null | tr -d '\\r'", "5\n"),
    ] {
        if output(&format!("command -v {program} || true")).is_empty() {
            continue;
        }
        assert_eq!(output(script), expected, "{program}");
    }
}

/// Calls that must not work, made directly: (name, expression of the call, expected errno).
const HOSTILE: &str = r"
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno() if libc.syscall(*map(ctypes.c_long, arguments)) < 0 else 0, 'OK')
machine = os.uname().machine
numbers = dict(socket=41, socketpair=53, clone=56, ioctl=16, ptrace=101, personality=135, mount=165, keyctl=250,
               unshare=272, setns=308, process_vm_readv=310, kcmp=312, bpf=321, userfaultfd=323, syslog=103,
               perf_event_open=298, open_by_handle_at=304, settimeofday=164, reboot=169, init_module=175,
               prlimit64=302)
if machine == 'aarch64':
    numbers = dict(socket=198, socketpair=199, clone=220, ioctl=29, ptrace=117, personality=92, mount=40, keyctl=219,
                   unshare=97, setns=268, process_vm_readv=270, kcmp=272, bpf=280, userfaultfd=282, syslog=116,
                   perf_event_open=241, open_by_handle_at=265, settimeofday=170, reboot=142, init_module=105,
                   prlimit64=261)
n = numbers
NEWUSER = 0x10000000
none = (ctypes.c_ulong * 2)(0, 0)
address = ctypes.addressof(none)
expected = [
    ('AF_PACKET', call(n['socket'], 17, 3, 0), 'EAFNOSUPPORT'),
    ('AF_VSOCK', call(n['socket'], 40, 1, 0), 'EAFNOSUPPORT'),
    ('AF_ALG', call(n['socket'], 38, 5, 0), 'EAFNOSUPPORT'),
    ('AF_BLUETOOTH', call(n['socket'], 31, 3, 0), 'EAFNOSUPPORT'),
    ('AF_XDP', call(n['socket'], 44, 3, 0), 'EAFNOSUPPORT'),
    ('high bits of the family', call(n['socket'], 17 | 1 << 32, 3, 0), 'EAFNOSUPPORT'),
    ('netlink, not route', call(n['socket'], 16, 3, 12), 'EAFNOSUPPORT'),
    ('netlink route', call(n['socket'], 16, 3, 0), 'OK'),
    ('raw', call(n['socket'], 2, 3, 1), 'EPERM'),
    ('vsock pair', call(n['socketpair'], 40, 1, 0, 0), 'EAFNOSUPPORT'),
    ('unshare', call(n['unshare'], NEWUSER), 'EPERM'),
    ('setns', call(n['setns'], 0, 0), 'EPERM'),
    ('clone', call(n['clone'], NEWUSER | 17, 0, 0, 0, 0), 'EPERM'),
    ('clone, a new network', call(n['clone'], 0x40000000 | 17, 0, 0, 0, 0), 'EPERM'),
    ('clone3', call(435, 0, 0), 'ENOSYS'),
    ('TIOCSTI', call(n['ioctl'], 0, 0x5412, 0), 'EPERM'),
    ('TIOCSTI, high bits', call(n['ioctl'], 0, 0x5412 | 1 << 32, 0), 'EPERM'),
    ('TIOCLINUX', call(n['ioctl'], 0, 0x541c, 0), 'EPERM'),
    ('ptrace', call(n['ptrace'], 0, 0, 0, 0), 'EPERM'),
    ('ptrace init', call(n['ptrace'], 16, 1, 0, 0), 'EPERM'),
    ('process_vm_readv', call(n['process_vm_readv'], 1, 0, 0, 0, 0, 0), 'EPERM'),
    ('pidfd_getfd', call(438, 0, 0, 0), 'EPERM'),
    ('kcmp', call(n['kcmp'], 1, 1, 0, 0, 0), 'EPERM'),
    ('keyctl', call(n['keyctl'], 0, 0), 'EPERM'),
    ('bpf', call(n['bpf'], 0, 0, 0), 'EPERM'),
    ('perf', call(n['perf_event_open'], 0, 0, 0, 0, 0), 'EPERM'),
    ('userfaultfd', call(n['userfaultfd'], 1), 'EPERM'),
    ('io_uring', call(425, 1, 0), 'EPERM'),
    ('mount', call(n['mount'], 0, 0, 0, 0, 0), 'EPERM'),
    ('open_tree', call(428, -100, 0, 0), 'EPERM'),
    ('fsopen', call(430, 0, 0), 'EPERM'),
    ('mount_setattr', call(442, 0, 0, 0, 0, 0), 'EPERM'),
    ('open_by_handle_at', call(n['open_by_handle_at'], 0, 0, 0), 'EPERM'),
    ('syslog', call(n['syslog'], 3, 0, 0), 'EPERM'),
    ('settimeofday', call(n['settimeofday'], 0, 0), 'EPERM'),
    ('reboot', call(n['reboot'], 0, 0, 0, 0), 'EPERM'),
    ('init_module', call(n['init_module'], 0, 0, 0), 'EPERM'),
    ('personality', call(n['personality'], 0x0040000), 'EPERM'),
    ('personality, asked', call(n['personality'], 0xffffffff), 'OK'),
    ('prlimit of cores', call(n['prlimit64'], 0, 4, address, 0), 'OK'),
    ('a call from the future', call(467, 0, 0, 0), 'ENOSYS'),
    ('another', call(9999, 0, 0, 0), 'ENOSYS'),
]
wrong = [case for case in expected if case[1] != case[2]]
print(wrong)
if machine == 'x86_64':
    pid = os.fork()
    if pid == 0:
        libc.syscall(ctypes.c_long(0x40000000 + 39))
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(pid, 0)[1]))
else:
    print(31)
try:
    import resource
    print(resource.getrlimit(resource.RLIMIT_CORE))
    os.kill(1, 9)
except PermissionError:
    pass
print(os.path.exists('/proc/1/status'))
";

#[test]
fn system_calls_that_lead_out_are_refused() {
    if !Path::new("/usr/bin/python3").exists() {
        return;
    }
    let (ended, out, err) = run(&launch(&["/usr/bin/python3", "-c", HOSTILE]));
    assert_eq!((ended, out.as_str()), (exited(0), "[]\n31\n(1, 1)\nTrue\n"), "{err}");
}

#[test]
fn every_namespace_is_the_sandboxs_own() {
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(
            output(&format!("readlink /proc/self/ns/{kind}")).trim(),
            host.to_str().unwrap(),
            "{kind}"
        );
    }
}
