//! An npxc that runs: watched, talked to, and ended.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use npxc::audit::Event;
use rustix::process::{PidfdFlags, Signal};

use super::super::sys::Setup;
use super::place::user;
use super::{Seen, Who};

/// Longest run of one npxc: a hang is killed, and the test says so.
const LIMIT: Duration = Duration::from_secs(100);

/// An npxc that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    audit: PathBuf,
    /// Its stdout, line by line.
    out: mpsc::Receiver<Vec<u8>>,
    /// The lines of it that were taken.
    heard: Vec<u8>,
    /// What it has said on stderr so far.
    pub(crate) said: Arc<(Mutex<Vec<u8>>, Condvar)>,
    /// It says no more.
    silent: Arc<AtomicBool>,
    errors: std::thread::JoinHandle<()>,
    stop: mpsc::Sender<()>,
    guard: std::thread::JoinHandle<bool>,
    peak: std::thread::JoinHandle<u64>,
    stdin: Option<std::process::ChildStdin>,
}

impl Running {
    pub(crate) fn new(mut child: Child, audit: PathBuf, open: bool) -> Self {
        let pid = rustix::process::Pid::from_child(&child);
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let (stop, stopped) = mpsc::channel::<()>();
        let guard = std::thread::spawn(move || {
            let late = stopped.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            }
            late
        });
        let status = format!("/proc/{}/status", child.id());
        let peak = std::thread::spawn(move || {
            let mut most = 0;
            // The kernel keeps the maximum: the last look before the end is close enough.
            while let Some(now) = fs::read_to_string(&status).ok().and_then(|status| field(&status, "VmHWM:"))
            {
                most = now;
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let (stdin, stdout, mut stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdin = open.then_some(stdin);
        let (sender, out) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                let ended = stdout.read_until(b'\n', &mut line).is_err() || line.is_empty();
                if ended || sender.send(line).is_err() {
                    break;
                }
            }
        });
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let saying = Arc::clone(&said);
        let silent = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&silent);
        let errors = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = stderr.read(&mut buffer)
                && count > 0
            {
                saying.0.lock().unwrap().extend_from_slice(&buffer[..count]);
                saying.1.notify_all();
            }
            let last = saying.0.lock().unwrap();
            over.store(true, Ordering::Relaxed);
            drop(last);
            saying.1.notify_all();
        });
        Self { child, audit, out, heard: Vec::new(), said, silent, errors, stop, guard, peak, stdin }
    }

    /// Waits until it says this on stderr.
    pub(crate) fn says(&self, text: &str) {
        let over = || self.silent.load(Ordering::Relaxed);
        let found = |said: &Vec<u8>| String::from_utf8_lossy(said).contains(text) || over();
        let said = self.said.0.lock().unwrap();
        let (said, late) = self.said.1.wait_timeout_while(said, LIMIT, |said| !found(said)).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(!late.timed_out() && said.contains(text), "never said {text:?}: {said}");
    }

    /// Waits until the log has an event like this.
    pub(crate) fn logs(&self, wanted: impl Fn(&Event) -> bool) {
        for _ in 0..LIMIT.as_millis() / 20 {
            if events(&self.audit).iter().any(&wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never logged: {:?}", events(&self.audit));
    }

    /// Waits until npxc's own memory is this fraction of the most it has had.
    pub(crate) fn shrinks(&self, to: u64) {
        let look = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
            (field(&status, "VmRSS:").unwrap(), field(&status, "VmHWM:").unwrap())
        };
        for _ in 0..LIMIT.as_millis() / 100 {
            let (now, most) = look();
            if now * to <= most {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("memory stays: {:?} KiB", look());
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// From now on no file of its can grow beyond this.
    pub(crate) fn limit_files(&self, who: Who, most: u64) {
        let mut command = Command::new("prlimit");
        command.arg("--pid").arg(self.child.id().to_string()).arg(format!("--fsize={most}:{most}"));
        // Its own user may: root is not always one that may do everything.
        Setup { identity: (who == Who::User).then(user), ..Setup::default() }.apply(&mut command);
        assert!(command.status().unwrap().success());
    }

    /// Writes to its stdin and closes it.
    pub(crate) fn tell(&mut self, words: &str) {
        self.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    }

    /// Writes a line to its stdin, which stays open.
    pub(crate) fn send(&mut self, line: &str) {
        // One that has ended has no answer either, and that is what fails.
        let _ = self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes());
    }

    /// Its next line on stdout; `None` when there is none any more.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let line = self.out.recv_timeout(LIMIT).ok()?;
        self.heard.extend_from_slice(&line);
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Ends it the hard way.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Seen {
        let status = self.child.wait().unwrap();
        let _ = self.stop.send(());
        let late = self.guard.join().unwrap();
        loop {
            match self.out.recv_timeout(LIMIT) {
                Ok(line) => self.heard.extend_from_slice(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("npxc ended, and its stdout did not"),
            }
        }
        let out = String::from_utf8_lossy(&self.heard).into_owned();
        self.errors.join().unwrap();
        let err = String::from_utf8_lossy(&self.said.0.lock().unwrap()).into_owned();
        assert!(!late, "npxc hung\nstdout: {out}\nstderr: {err}");
        let answers = out.lines().find_map(|line| line.strip_prefix("@@"));
        Seen {
            answers: answers.map_or(Vec::new(), |line| serde_json::from_str(line).unwrap()),
            code: status.code(),
            events: events(&self.audit),
            log: text(&self.audit),
            peak: self.peak.join().unwrap() >> 10,
            out,
            err,
        }
    }
}

/// A number of kibibytes out of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// A file, if it is one: devices have no end.
fn text(path: &Path) -> String {
    let file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && !path.starts_with("/proc"));
    if file { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

/// Every whole line of a log.
fn events(path: &Path) -> Vec<Event> {
    let text = text(path);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}
