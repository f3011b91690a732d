//! Installs: once for two, nothing half, nothing at all when warm, and what a script may reach.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::loopback::{Registry, said};
use super::machine::have;
use super::processes::{descendants, eventually, signal, wait, wait_for_end};
use super::world::{Audit, world};

/// A package of its own with an install script.
fn package(name: &str, script: &str) -> PathBuf {
    let directory = world().scratch(name);
    let manifest = serde_json::json!({
        "name": format!("npxc-{name}"),
        "version": "1.0.0",
        "bin": "index.js",
        "scripts": {"install": "node install.js"},
    });
    fs::write(directory.join("package.json"), manifest.to_string()).unwrap();
    fs::write(directory.join("install.js"), script).unwrap();
    let index =
        "#!/usr/bin/env node\nconsole.log(require('fs').readFileSync(__dirname + '/built', 'utf8'))\n";
    fs::write(directory.join("index.js"), index).unwrap();
    directory
}

const BUILDS: &str = "require('fs').writeFileSync('built', 'built')";

#[test]
fn what_fails_keeps_no_other_from_being_installed() {
    let directory = package("beside", BUILDS).display().to_string();
    let run = |arguments: &[&str]| {
        let output = world().command(arguments).output().unwrap();
        (output.status.code(), said(&output))
    };
    let (status, told) = run(&["install", "./nowhere", &directory, "./nothing"]);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains("npxc: installed npxc-beside@1.0.0 "), "{told}");
    assert!(
        told.contains("npxc: error: not installed, for the reasons above: ./nowhere, ./nothing\n"),
        "{told}"
    );
    let (status, told) = run(&["install", "./nowhere"]);
    assert_eq!(status, Some(3), "{told}");
    assert!(!told.contains("for the reasons above"), "one is said once: {told}");
}

/// An npxc with a store of its own.
fn spawn(package: &Path, data: &Path) -> (Child, Audit) {
    let mut npxc = world().npxc(&[&package.display().to_string()]);
    npxc.command
        .env("XDG_DATA_HOME", data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (npxc.command.spawn().unwrap(), Audit(npxc.audit))
}

fn finish(mut child: Child) -> (Option<i32>, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (wait(&mut child).code(), out, err)
}

/// What stands in a store: finished entries, and what is under way.
fn store(data: &Path) -> (usize, usize) {
    let entries = |directory: &Path| fs::read_dir(directory).map_or(0, Iterator::count);
    let store = data.join("npxc/store");
    let platforms = fs::read_dir(store.join("v1")).into_iter().flatten();
    let finished = platforms.map(|platform| entries(&platform.unwrap().path())).sum();
    (finished, entries(&store.join("staging")))
}

#[test]
fn two_at_once_install_once() {
    let package = package("twins", BUILDS);
    let data = world().scratch("data");
    let both = [spawn(&package, &data), spawn(&package, &data)];
    let mut installs = 0;
    for (child, audit) in both {
        let (status, out, err) = finish(child);
        assert_eq!((status, out.as_str()), (Some(0), "built\n"), "{err}");
        installs += audit.sessions("fetch");
        assert_eq!(audit.sessions("run"), 1);
    }
    assert_eq!(installs, 1);
    assert_eq!(store(&data), (1, 0));
}

#[test]
fn a_client_is_told_once_how_not_to_wait() {
    let package = package("ahead", BUILDS);
    let data = world().scratch("data");
    let said = |stdin: Stdio| {
        let mut npxc = world().npxc(&["--env", "TOKEN=secret", &package.display().to_string()]);
        let child = npxc.command.env("XDG_DATA_HOME", &data).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (status, out, err) = finish(child.stdin(stdin).spawn().unwrap());
        assert_eq!((status, out.as_str()), (Some(0), "built\n"), "{err}");
        err
    };
    let hint = format!("npxc: hint: `npxc install {}` installs it ahead: ", package.display());
    let first = said(Stdio::piped());
    assert_eq!(first.lines().filter(|line| line.starts_with(&hint)).count(), 1, "{first}");
    assert!(!said(Stdio::piped()).contains("ahead: "), "it is installed");
}

#[test]
fn what_installs_share_can_be_read_by_a_containers_user_whatever_the_umask_is() {
    let registry = Registry::start();
    registry.publish("npxc-shared", "1.0.0");
    let npxc = world().command(&[]);
    let mut command = Command::new("sh");
    world().environment(&mut command);
    registry.use_with(&mut command);
    command
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(npxc.get_program())
        .args(["install", "npxc-shared"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let directory = registry.data.join("npxc/store/tarballs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o755);
    let modes: Vec<u32> = fs::read_dir(&directory).unwrap().map(|file| mode(&file.unwrap().path())).collect();
    assert_eq!(modes, [0o444]);
}

#[test]
fn an_interrupted_install_leaves_nothing_half() {
    // Its script never ends the first time; a change of the package is another entry, so the mark stands outside.
    let script = "setInterval(() => {}, 1000)";
    let package = package("stuck", script);
    let data = world().scratch("data");
    for how in [Signal::INT, Signal::TERM, Signal::KILL] {
        let (mut child, audit) = spawn(&package, &data);
        eventually("the script runs", || audit.sessions("build") == 1 && runs(&child, "install.js"));
        let guests = descendants(child.id());
        signal(child.id(), how);
        let status = wait(&mut child);
        assert_eq!(status.code(), (how != Signal::KILL).then_some(130));
        wait_for_end(&guests);
        let (finished, under_way) = store(&data);
        assert_eq!(finished, 0);
        // Nobody is left to clean up after SIGKILL: the next npxc does it.
        assert!(under_way == 0 || how == Signal::KILL, "{how:?} left {under_way}");
        let ends: Vec<_> =
            audit.events().into_iter().filter(|event| event["event"] == "session.end").collect();
        let interrupted = ends.last().is_some_and(|end| end["how"] == "interrupted");
        assert_eq!(interrupted, how != Signal::KILL, "{ends:?}");
    }
    fs::write(package.join("install.js"), BUILDS).unwrap();
    let (child, _) = spawn(&package, &data);
    let (status, out, err) = finish(child);
    assert_eq!((status, out.as_str()), (Some(0), "built\n"), "{err}");
    assert_eq!(store(&data), (1, 0));
}

#[test]
fn an_install_whose_sandbox_cannot_stand_closes_its_log() {
    let (package, state) = (package("closed", BUILDS), world().scratch("state"));
    let mut command = Command::new("unshare");
    world().environment(&mut command);
    let done = command
        .args(["-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"", "sh"])
        .arg(world().command(&[]).get_program())
        .arg("install")
        .arg(&package)
        .env("XDG_STATE_HOME", &state)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2), "{}", said(&done));
    let events = Audit(state.join("npxc/audit")).events();
    let last = &events[events.len() - 1];
    assert_eq!((&events[0]["event"], &last["event"]), (&"session.start".into(), &"session.end".into()));
    assert!(last["how"].as_str().unwrap().starts_with("cannot create"), "{last}");
}

fn runs(child: &Child, word: &str) -> bool {
    descendants(child.id()).iter().any(|process| {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        line.starts_with("node\0") && line.contains(word)
    })
}

#[test]
fn a_warm_start_runs_no_npm_and_opens_no_socket() {
    let package = package("warm", BUILDS).display().to_string();
    let (output, _) = world().npxc(&[&package]).output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // A registry that cannot be reached is not missed.
    let mut npxc = world().npxc(&["--allow", "@npm", &package]);
    npxc.command.env("npm_config_registry", "http://127.0.0.1:9/");
    let (output, audit) = npxc.output();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "built\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "");
    assert_eq!((audit.sessions("fetch"), audit.sessions("build"), audit.sessions("run")), (0, 0, 1));

    if !have("strace") {
        return;
    }
    let trace = world().scratch("trace").join("calls");
    let calls = "trace=execve,connect,sendto,sendmsg,sendmmsg";
    let path = trace.display().to_string();
    let strace = ["strace", "-f", "-qq", "-s", "400", "-e", calls, "-o", &path];
    let (output, _) = world().npxc_under(&strace, &["--allow", "@npm", &package]).output();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "built\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("execve("), "nothing was traced");
    for line in trace.lines() {
        assert!(!line.contains("npm-cli"), "npm ran: {line}");
        assert!(!line.contains("AF_INET"), "the network was used: {line}");
    }
}

#[test]
fn a_script_that_wants_the_network_is_told_the_rule_that_lets_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbuilt");
        }
    });
    let script = format!(
        "require('http').get('http://host.npxc.internal:{port}/', (response) => \
           response.pipe(require('fs').createWriteStream('built')))\
         .on('error', (error) => {{ console.error(error.code); process.exit(1); }})"
    );
    let package = package("download", &script).display().to_string();
    let (output, audit) = world().npxc(&[&package]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(!audit.hints().is_empty(), "no denial in the log");
    let hint =
        stderr.lines().find(|line| line.starts_with("npxc: hint: ") && line.contains("--allow-install"));
    let hint = hint.unwrap_or_else(|| panic!("no hint: {stderr}"));

    let mut options: Vec<&str> = hint[hint.find("--allow-install").unwrap()..].split_whitespace().collect();
    options.push(&package);
    let (output, audit) = world().npxc(&options).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "built\n", "{options:?}: {stderr}");
    // What the script may reach, the package may not.
    let run = audit.events().into_iter().find(|event| event["purpose"] == "run").unwrap();
    assert_eq!(run["network"], "none");
}

#[test]
fn a_forced_install_replaces_the_entry_and_cleaning_removes_it() {
    let package = package("again", BUILDS).display().to_string();
    let data = world().scratch("data");
    for arguments in [&["install", package.as_str()][..], &["install", "--force", &package], &[&package]] {
        let mut npxc = world().npxc(arguments);
        npxc.command.env("XDG_DATA_HOME", &data);
        let (output, _) = npxc.output();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(store(&data), (1, 0), "{arguments:?}");
    }
    let output = world().command(&["clean", &package]).env("XDG_DATA_HOME", &data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(store(&data), (0, 0));
}

#[test]
fn what_was_downloaded_once_is_not_downloaded_again() {
    let data = world().scratch("data");
    let install = || {
        let mut npxc = world().npxc(&["install", "--force", "@modelcontextprotocol/server-memory@2026.8.31"]);
        npxc.command.env("XDG_DATA_HOME", &data);
        let (output, audit) = npxc.output();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(store(&data), (1, 0));
        audit.events().iter().filter_map(|event| event["bytes_down"].as_u64()).sum::<u64>()
    };
    let first = install();
    let tarballs = fs::read_dir(data.join("npxc/store/tarballs")).unwrap();
    let kept: u64 = tarballs.map(|tarball| tarball.unwrap().metadata().unwrap().len()).sum();
    assert!(kept > 500_000, "{kept} bytes of tarballs");
    let second = install();
    assert!(second + kept <= first, "{first} bytes, then {second}, of which {kept} need not be");
    let output = world().command(&["clean", "--all"]).env("XDG_DATA_HOME", &data).output().unwrap();
    assert!(output.status.success() && !data.join("npxc/store/tarballs").exists(), "{output:?}");
}

#[test]
fn a_package_without_its_install_script_is_a_choice() {
    let package = package("choice", "process.exit(5)").display().to_string();
    let (output, _) = world().npxc(&[&package]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("--ignore-scripts"), "{stderr}");
    // Then it lacks what the script would have made, which is the package's own error.
    let (output, _) = world().npxc(&["--ignore-scripts", &package]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("ENOENT"), "{stderr}");
}
