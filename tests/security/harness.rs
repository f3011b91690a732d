//! What every test stands on: the hostile package installed once, npxc started for real as root and as an
//! ordinary user, in a network of the test's own, with servers that record whatever reaches them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::Duration;

use npxc::audit::Event;
use rustix::process::{PidfdFlags, Signal};
use serde_json::Value;

use super::ground::ground;
use super::sys::{self, Setup};

/// Longest run of one npxc: a hang is killed, and the test says so.
const LIMIT: Duration = Duration::from_secs(100);
/// The ordinary user of a test that root runs; needs no entry in any file.
const USER: u32 = 64_646;

/// User and group of [`Who::User`].
fn user() -> (u32, u32) {
    ground().and_then(|ground| ground.owner).unwrap_or((USER, USER))
}

/// Who runs npxc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The user who runs the tests.
    Myself,
    /// Another, ordinary one; only root can be somebody else.
    User,
}

pub(super) fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Root and an ordinary user, or whoever runs the tests; with an engine, whose it is.
pub(super) fn everyone() -> Vec<Who> {
    if let Some(ground) = ground() {
        return vec![if ground.owner.is_some() { Who::User } else { Who::Myself }];
    }
    if root() { vec![Who::Myself, Who::User] } else { vec![Who::Myself] }
}

/// Puts this test into a network of its own, if it may; see [`sys::seal`].
pub(super) fn sealed() -> bool {
    let result = sys::seal();
    SEALED.set(result.is_ok());
    match result {
        Ok(()) => true,
        Err(error) => {
            eprintln!("no network of the test's own ({error}): packets are not counted");
            false
        }
    }
}

thread_local! {
    /// Whether this thread, and so what it started, is in a network of its own.
    static SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Packets sent so far in the test's own network, by anybody. Without one nobody can tell.
pub(super) fn packets() -> u64 {
    if !SEALED.get() {
        return 0;
    }
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let lo = table.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    lo.split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// Places shared by all tests of this process.
pub(super) struct Place {
    pub(super) base: PathBuf,
    pub(super) program: PathBuf,
    pub(super) hostile: PathBuf,
}

static PLACE: OnceLock<Place> = OnceLock::new();
static READY: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
static NUMBER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn clean() {
    if let Some(place) = PLACE.get() {
        remove(&place.base);
    }
}

/// Removes a tree that may hold read-only directories.
pub(super) fn remove(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
    }
    let _ = fs::remove_dir_all(path);
}

pub(super) fn place() -> &'static Place {
    PLACE.get_or_init(|| {
        const PREFIX: &str = "npxc-security-";
        let temporary = std::env::temp_dir();
        for entry in fs::read_dir(&temporary).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).filter(|pid| !Path::new("/proc").join(pid).exists());
            if owner.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
                remove(&entry.path());
            }
        }
        let base = temporary.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        // Where an ordinary user gets at it, too.
        let (program, hostile) = (base.join("npxc"), base.join("hostile"));
        publish(Path::new(env!("CARGO_BIN_EXE_npxc")), &program);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile"), &hostile);
        sys::at_exit(clean);
        Place { base, program, hostile }
    })
}

/// Links or copies a program.
pub(super) fn publish(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A new directory that belongs to whoever runs npxc.
pub(super) fn directory(who: Who, name: &str) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = place().base.join(format!("{name}-{number}"));
    fs::create_dir_all(&path).unwrap();
    give(who, &path);
    path
}

pub(super) fn give(who: Who, path: &Path) {
    if who == Who::User {
        chown(path, Some(user().0), Some(user().1)).unwrap();
    }
}

/// One run of npxc.
pub(super) struct Attack {
    who: Who,
    package: OsString,
    options: Vec<OsString>,
    arguments: Vec<OsString>,
    config: String,
    env: Vec<(OsString, OsString)>,
    data: Option<PathBuf>,
    open: bool,
    resolver: bool,
    setup: Setup,
    audit: Option<PathBuf>,
}

/// The hostile package, doing these steps.
pub(super) fn attack(who: Who, steps: &Value) -> Attack {
    ready(who);
    Attack::new(who, place().hostile.as_os_str()).argument(steps.to_string())
}

fn ready(who: Who) {
    let mut ready = READY.lock().unwrap();
    if ready.insert(who as u32) {
        let seen = Attack::new(who, "install").argument(place().hostile.as_os_str()).run();
        assert_eq!(seen.code, Some(0), "{seen:?}");
    }
}

impl Attack {
    /// npxc with another first word: a package, or a command.
    pub(super) fn new(who: Who, word: impl Into<OsString>) -> Self {
        Self {
            who,
            package: word.into(),
            options: Vec::new(),
            arguments: Vec::new(),
            config: String::new(),
            env: Vec::new(),
            data: None,
            open: false,
            resolver: false,
            setup: Setup::default(),
            audit: None,
        }
    }

    pub(super) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.extend([name.into(), value.into()]);
        self
    }

    pub(super) fn flag(mut self, name: &str) -> Self {
        self.options.push(name.into());
        self
    }

    pub(super) fn allow(self, rule: &str) -> Self {
        self.option("--allow", rule)
    }

    /// Allows a name at a port, pinned to an address of the test's own.
    pub(super) fn pinned(self, name: &str, address: &str, port: u16) -> Self {
        self.option("--allow-private", format!("{name}:{port}"))
            .option("--add-host", format!("{name}:{address}"))
    }

    /// Answers AAAA questions, too.
    pub(super) fn ipv6(self) -> Self {
        self.config("[defaults.network]\nipv6 = true\n")
    }

    pub(super) fn config(mut self, text: &str) -> Self {
        self.config += text;
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A store of its own.
    pub(super) fn data(mut self, path: &Path) -> Self {
        self.data = Some(path.to_owned());
        self
    }

    /// Keeps stdin open until [`Running::tell`] or the end.
    pub(super) fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// The host's resolver is the test's own, at port 53 of its own network.
    pub(super) fn resolver(mut self) -> Self {
        self.resolver = true;
        self
    }

    /// Writing to a file beyond its limit is an error and no signal.
    pub(super) fn no_signal(mut self) -> Self {
        self.setup.no_signal = true;
        self
    }

    /// Leaves it a descriptor, as a careless client does.
    pub(super) fn inherits(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.setup.inherited.push(descriptor.into());
        self
    }

    pub(super) fn audit(mut self, path: &Path) -> Self {
        self.audit = Some(path.to_owned());
        self
    }

    /// Runs it to its end.
    pub(super) fn run(self) -> Seen {
        self.start().finish()
    }

    /// Starts it.
    pub(super) fn start(mut self) -> Running {
        let place = place();
        let home = directory(self.who, "run");
        let make = |name: &str| {
            let path = home.join(name);
            fs::create_dir_all(&path).unwrap();
            give(self.who, &path);
            path
        };
        let (state, config, runtime) = (make("state"), make("config"), make("npm"));
        if let Some(ground) = ground() {
            self.config = ground.config() + &self.config;
        }
        if !self.config.is_empty() {
            let own = config.join("npxc");
            fs::create_dir(&own).unwrap();
            fs::write(own.join("npxc.toml"), &self.config).unwrap();
            give(self.who, &own);
        }
        let shared = place.base.join(format!("store-{}", self.who as u32));
        if !shared.exists() {
            let _ = fs::create_dir(&shared);
            give(self.who, &shared);
        }
        let data = self.data.clone().unwrap_or_else(|| shared.join("data"));
        // A user of the machine may not open the device everywhere; there it is not what is tested.
        if self.who == Who::User {
            self.setup.identity = Some(user());
            if fs::metadata("/dev/net/tun").is_ok_and(|tun| tun.permissions().mode() & 0o6 != 0o6) {
                let device = shared.join("tun");
                let _ = sys::device(&device, 10, 200);
                self.setup.bind(&device, "/dev/net/tun");
            }
        }
        if self.resolver {
            let file = home.join("resolv.conf");
            fs::write(&file, "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n").unwrap();
            self.setup.bind(&file, "/etc/resolv.conf");
        }
        let audit = self.audit.clone().unwrap_or_else(|| home.join("state/audit.jsonl"));
        let mut command = Command::new(&place.program);
        let command_word = matches!(self.package.to_str(), Some("install" | "probe"));
        let mut words = vec![OsString::from("--audit-log"), audit.clone().into()];
        words.extend(self.options);
        if command_word {
            command.arg(&self.package).args(&words).args(&self.arguments);
        } else {
            command.args(&words).arg(&self.package).args(&self.arguments);
        }
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("XDG_DATA_HOME", data)
            .env("XDG_CACHE_HOME", shared.join("cache"))
            .env("XDG_STATE_HOME", state)
            .env("XDG_CONFIG_HOME", config)
            .env("npm_config_cache", runtime)
            .envs(ground().map(|ground| ("XDG_RUNTIME_DIR", ground.runtime())))
            .envs(self.env)
            .current_dir(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.setup.apply(&mut command);
        Running::new(command.spawn().unwrap(), audit, self.open)
    }
}

/// An npxc that runs.
pub(super) struct Running {
    pub(super) child: Child,
    audit: PathBuf,
    out: mpsc::Receiver<Vec<u8>>,
    /// What it has said on stderr so far.
    pub(super) said: Arc<(Mutex<Vec<u8>>, Condvar)>,
    /// It says no more.
    silent: Arc<AtomicBool>,
    errors: std::thread::JoinHandle<()>,
    stop: mpsc::Sender<()>,
    guard: std::thread::JoinHandle<bool>,
    peak: std::thread::JoinHandle<u64>,
    stdin: Option<std::process::ChildStdin>,
}

impl Running {
    pub(super) fn new(mut child: Child, audit: PathBuf, open: bool) -> Self {
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
        let (stdin, mut stdout, mut stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdin = open.then_some(stdin);
        let (sender, out) = mpsc::channel();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = stdout.read_to_end(&mut all);
            let _ = sender.send(all);
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
        Self { child, audit, out, said, silent, errors, stop, guard, peak, stdin }
    }

    /// Waits until it says this on stderr.
    pub(super) fn says(&self, text: &str) {
        let over = || self.silent.load(Ordering::Relaxed);
        let found = |said: &Vec<u8>| String::from_utf8_lossy(said).contains(text) || over();
        let said = self.said.0.lock().unwrap();
        let (said, late) = self.said.1.wait_timeout_while(said, LIMIT, |said| !found(said)).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(!late.timed_out() && said.contains(text), "never said {text:?}: {said}");
    }

    /// Waits until the log has an event like this.
    pub(super) fn logs(&self, wanted: impl Fn(&Event) -> bool) {
        for _ in 0..LIMIT.as_millis() / 20 {
            if events(&self.audit).iter().any(&wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never logged: {:?}", events(&self.audit));
    }

    /// Waits until npxc's own memory is this fraction of the most it has had.
    pub(super) fn shrinks(&self, to: u64) {
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

    pub(super) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// From now on no file of its can grow beyond this.
    pub(super) fn limit_files(&self, who: Who, most: u64) {
        let mut command = Command::new("prlimit");
        command.arg("--pid").arg(self.child.id().to_string()).arg(format!("--fsize={most}:{most}"));
        // Its own user may: root is not always one that may do everything.
        Setup { identity: (who == Who::User).then(user), ..Setup::default() }.apply(&mut command);
        assert!(command.status().unwrap().success());
    }

    /// Writes to its stdin and closes it.
    pub(super) fn tell(&mut self, words: &str) {
        self.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    }

    /// Ends it the hard way.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub(super) fn finish(mut self) -> Seen {
        let status = self.child.wait().unwrap();
        let _ = self.stop.send(());
        let late = self.guard.join().unwrap();
        let out = String::from_utf8_lossy(&self.out.recv_timeout(LIMIT).unwrap()).into_owned();
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

/// What a run left behind.
pub(super) struct Seen {
    /// What each step of the hostile program saw.
    pub(super) answers: Vec<Value>,
    pub(super) code: Option<i32>,
    pub(super) events: Vec<Event>,
    /// The log as it is on disk.
    pub(super) log: String,
    pub(super) out: String,
    pub(super) err: String,
    /// Most memory that npxc itself had, MiB.
    pub(super) peak: u64,
}

impl Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "status {:?}, at most {} MiB\nstdout: {}\nstderr: {}",
            self.code,
            self.peak,
            short(&self.out),
            self.err
        )?;
        for event in self.events.iter().skip(1).take(40) {
            writeln!(f, "{event:?}")?;
        }
        Ok(())
    }
}

fn short(text: &str) -> String {
    text.chars().take(6000).collect()
}

/// A denial in the log: who it was about, its code, and the hint.
pub(super) type Denial = (String, String, Option<String>);

impl Seen {
    /// What step number `at` saw.
    #[track_caller]
    pub(super) fn at(&self, at: usize) -> &Value {
        self.answers.get(at).unwrap_or_else(|| panic!("no answer {at}: {self:?}"))
    }

    /// The error that step number `at` saw.
    #[track_caller]
    pub(super) fn error(&self, at: usize) -> &str {
        self.at(at)["error"].as_str().unwrap_or_else(|| panic!("answer {at} is no error: {self:?}"))
    }

    /// Denied flows: the name or else the address with its port, code, hint.
    pub(super) fn denied(&self) -> Vec<Denial> {
        let denied = self.events.iter().filter_map(|event| match event {
            Event::FlowDeny { name, guest_destination, code, hint, .. } => {
                let to = match name {
                    Some(name) => format!("{name}:{}", guest_destination.port()),
                    None => guest_destination.to_string(),
                };
                Some((to, code.clone(), hint.clone()))
            }
            _ => None,
        });
        denied.collect()
    }

    /// Whether the log has a denied flow to `to` with this code.
    #[track_caller]
    pub(super) fn assert_denied(&self, to: &str, code: &str, hint: Option<&str>) {
        let wanted = (to.to_owned(), code.to_owned(), hint.map(str::to_owned));
        assert!(self.denied().contains(&wanted), "no {wanted:?} in {self:?}");
    }

    /// Refused questions: name, type, answer, hint.
    pub(super) fn refused(&self) -> Vec<(String, String, String, Option<String>)> {
        let refused = self.events.iter().filter_map(|event| match event {
            Event::Dns { name, kind, answer, reason: Some(_), hint, .. } => {
                Some((name.clone(), kind.clone(), answer.clone(), hint.clone()))
            }
            _ => None,
        });
        refused.collect()
    }

    /// Where allowed flows went: the dialled address, the rule.
    pub(super) fn opened(&self) -> Vec<(SocketAddr, String)> {
        let opened = self.events.iter().filter_map(|event| match event {
            Event::FlowOpen { dialled, rule, .. } => Some((*dialled, rule.clone())),
            _ => None,
        });
        opened.collect()
    }

    /// How often each bound was reached, by what it says.
    pub(super) fn limits(&self) -> BTreeMap<String, u64> {
        let mut limits = BTreeMap::new();
        for event in &self.events {
            if let Event::Limit { what, detail, count } = event {
                *limits.entry(format!("{what}: {detail}")).or_insert(0) += count;
            }
        }
        limits
    }

    /// Denials that the log accounts for, line by line and in summaries, and those that its last line claims.
    pub(super) fn counted(&self) -> (u64, u64) {
        let (mut lines, mut claimed) = (0, 0);
        for event in &self.events {
            match event {
                Event::FlowDeny { .. } | Event::Dns { reason: Some(_), .. } => lines += 1,
                Event::FlowDenySummary { count, .. } => lines += count,
                Event::SessionEnd { denied, .. } => claimed = *denied,
                _ => {}
            }
        }
        (lines, claimed)
    }

    /// No flow was allowed, and the session ended in order.
    #[track_caller]
    pub(super) fn assert_nothing_reached(&self) {
        assert!(self.opened().is_empty(), "{self:?}");
        assert!(matches!(self.events.last(), Some(Event::SessionEnd { allowed: 0, .. })), "{self:?}");
    }
}

/// How a server of the test's behaves.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    /// Reads, says nothing.
    Listen,
    /// Speaks first, then reads.
    Greet(&'static str),
    /// Answers every request head.
    Answer(String),
    /// Accepts and never reads.
    Deaf,
    /// Accepts and closes when something was said.
    HangUp,
    /// Writes without end.
    Pour,
}

/// A connection that reached a server. Ask for all of a server's once, at the end.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    /// The address that was dialled.
    pub(super) at: SocketAddr,
    from: SocketAddr,
    /// What was said.
    pub(super) said: Vec<u8>,
    over: bool,
}

impl Visit {
    pub(super) fn text(&self) -> String {
        self.said.iter().map(|byte| char::from(*byte)).collect()
    }
}

/// A TCP server of the test's own, on every address of the test's network.
pub(super) struct Server {
    pub(super) port: u16,
    /// It listens on every address there is, and not on the machine's IPv4 loopback only.
    pub(super) everywhere: bool,
    visits: Arc<Mutex<Vec<Arc<Mutex<Visit>>>>>,
}

impl Server {
    pub(super) fn start(manner: Manner) -> Self {
        Self::at(0, manner)
    }

    pub(super) fn at(port: u16, manner: Manner) -> Self {
        // In the test's own network every address is its own; elsewhere only loopback may be listened on.
        let listener = if SEALED.get() {
            TcpListener::bind(("::", port))
        } else {
            TcpListener::bind(("127.0.0.1", port))
        };
        let listener = listener.unwrap();
        let port = listener.local_addr().unwrap().port();
        let visits = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&visits);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let visit = Visit {
                    at: plain(socket.local_addr().unwrap()),
                    from: socket.peer_addr().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), plain),
                    said: Vec::new(),
                    over: matches!(manner, Manner::Deaf),
                };
                let visit = Arc::new(Mutex::new(visit));
                all.lock().unwrap().push(Arc::clone(&visit));
                let manner = manner.clone();
                std::thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || {
                        serve(socket, &manner, &visit);
                        visit.lock().unwrap().over = true;
                    })
                    .unwrap();
            }
        });
        Self { port, everywhere: SEALED.get(), visits }
    }

    /// Who came until now. npxc has ended, so nobody is on the way; a visit of the test's own is the mark behind
    /// which nobody can be.
    pub(super) fn visits(&self) -> Vec<Visit> {
        let mark = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let own = mark.local_addr().unwrap();
        loop {
            let visits = self.visits.lock().unwrap().clone();
            let visits: Vec<Visit> = visits.iter().map(|visit| visit.lock().unwrap().clone()).collect();
            if let Some(mark) = visits.iter().position(|visit| visit.from == own)
                && visits[..mark].iter().all(|visit| visit.over)
            {
                return visits[..mark].to_vec();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many came until now.
    pub(super) fn count(&self) -> usize {
        self.visits.lock().unwrap().len()
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn serve(mut socket: TcpStream, manner: &Manner, visit: &Mutex<Visit>) {
    match manner {
        Manner::Deaf => loop {
            std::thread::park();
        },
        Manner::Pour => while socket.write_all(&[7; 64 << 10]).is_ok() {},
        Manner::Greet(words) => drop(socket.write_all(words.as_bytes())),
        Manner::Listen | Manner::Answer(_) | Manner::HangUp => {}
    }
    let mut buffer = [0; 16 << 10];
    let mut unanswered = Vec::new();
    while let Ok(count) = socket.read(&mut buffer)
        && count > 0
    {
        visit.lock().unwrap().said.extend_from_slice(&buffer[..count]);
        if matches!(manner, Manner::HangUp) {
            return;
        }
        if let Manner::Answer(answer) = manner {
            unanswered.extend_from_slice(&buffer[..count]);
            while let Some(end) = unanswered.windows(4).position(|window| window == b"\r\n\r\n") {
                unanswered.drain(..end + 4);
                if socket.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

/// An HTTP answer with a short body.
pub(super) fn page(body: &str) -> Manner {
    Manner::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A UDP server: keeps what came, answers with `answer`.
pub(super) struct Datagrams {
    pub(super) port: u16,
    pub(super) received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Datagrams {
    pub(super) fn at(port: u16, answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket =
            if SEALED.get() { UdpSocket::bind(("::", port)) } else { UdpSocket::bind(("127.0.0.1", port)) };
        Self::on(socket.unwrap(), answer)
    }

    pub(super) fn on(
        socket: UdpSocket,
        mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let port = socket.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                all.lock().unwrap().push(buffer[..count].to_vec());
                if let Some(answer) = answer(&buffer[..count]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { port, received }
    }
}
