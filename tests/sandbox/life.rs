//! From the start of a command to the end of all that it has started.

use crate::machine::leave_out;
use crate::*;

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
        .args(["--exact", "sandbox::life::a_killed_npxc_takes_its_sandbox_with_it", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = Patient(victim.stdout.take().unwrap());
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
            assert!(!Path::new("/usr/bin").join(program).exists(), "{program} is not inside");
            leave_out(&format!("{program} in the sandbox (not in /usr/bin here)"));
            continue;
        }
        assert_eq!(output(script), expected, "{program}");
    }
}
