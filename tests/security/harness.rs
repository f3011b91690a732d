//! What every test stands on: the hostile package installed once, npxc started for real as root and as an
//! ordinary user, in a network of the test's own, with servers that record whatever reaches them.

mod network;
mod place;
mod running;
mod seen;
mod talk;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

pub(super) use self::network::{Datagrams, Manner, Server, Visit, packets, page, sealed};
use self::place::user;
pub(super) use self::place::{Who, directory, everyone, give, place, publish, root};
pub(super) use self::running::Running;
pub(super) use self::seen::Seen;
pub(super) use self::talk::{Client, said};
use super::ground::ground;
use super::sys::{self, Setup};

static READY: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

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
