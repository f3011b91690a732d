//! What a package can see and do inside: nothing of the host, no privilege, no way out.

use crate::machine::{have, leave_out};
use crate::*;

#[test]
fn identity_home_and_directory_are_the_sandboxs_own() {
    assert_eq!(
        output("id -un; id -u; id -g; pwd; hostname; echo $HOME"),
        "user\n1000\n1000\n/home/user\nnpxc\n/home/user\n"
    );
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
               prlimit64=302, vmsplice=278)
if machine == 'aarch64':
    numbers = dict(socket=198, socketpair=199, clone=220, ioctl=29, ptrace=117, personality=92, mount=40, keyctl=219,
                   unshare=97, setns=268, process_vm_readv=270, kcmp=272, bpf=280, userfaultfd=282, syslog=116,
                   perf_event_open=241, open_by_handle_at=265, settimeofday=170, reboot=142, init_module=105,
                   prlimit64=261, vmsplice=75)
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
    ('vmsplice', call(n['vmsplice'], 1, address, 0, 0), 'EPERM'),
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
    if !have("python3") {
        return;
    }
    if !Path::new("/usr/bin/python3").exists() {
        leave_out("system calls that lead out (python3 is not in /usr/bin)");
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
