//! The first process over a link that is the TUN itself: what it and its workload may do, what ends them, and what it
//! says where it can do nothing.

use super::*;
use crate::patience::ended;

#[test]
fn the_workload_has_no_capability_and_the_user_that_was_asked_for() {
    if !able() {
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
    if !able() {
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
    if !able() {
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
    if !able() {
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
    ended(&mut entered.engine).unwrap();
}

#[test]
fn terminate_reaches_the_workload_whatever_its_user() {
    if !able() {
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
    if !able() {
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
    if !able() {
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
