//! Apple's `container` (1.1 and later), by its command line: each container is a small virtual machine. What is here is
//! the part that can be held to its documentation: arguments, answers, service and kernel checks. **It was verified
//! against a stand-in only** (`tests/data/container`), which checks what it is given and answers as the real one does.
//!
//! What differs from podman and docker, and shapes this: no descriptor crosses into a virtual machine, so the workload's
//! stdio is that of `container run -i`, and sockets are relayed (`-v host.sock:/guest.sock`, one connection each); only
//! directories can be mounted, so the guest's first process writes single files itself; there are no labels that could
//! be relied on, so that leftovers are told by their sessions' directories. Uses nothing of Linux.
//!
//! ```text
//! npxc ── container run -i ──> virtual machine: npxc-guest ── control (relayed) ──> npxc: specification, orders, reports
//!   workload's stdio ═════════════════════╝         └─ keeper ── link (relayed) ──> npxc: the TUN's packets, framed
//! ```
//!
//! The link is called *socket*; *wireguard* is there as well, over an `--internal` network (macOS 26 and later).

mod answers;
mod arguments;
mod image;
mod launch;
mod network;
mod place;
mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use self::answers::Status;
pub use self::image::Image;
pub(super) use self::process::Process;
use super::command::{Client, essence};
use super::{KnownDirectories, LinkChoice, Outcome, RuntimeError, StepReport};

/// How long its service may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long removing may take: a virtual machine is stopped.
const REMOVE: Duration = Duration::from_secs(30);
/// The oldest version whose commands and answers are known to be as they are used here.
const OLDEST: (u32, u32) = (1, 1);
/// The version that is recommended.
const RECOMMENDED: &str = "1.2.1";

/// Apple's `container`.
#[derive(Debug, Clone)]
pub struct Apple {
    client: Client,
    directory: PathBuf,
    image: Option<Image>,
    link: LinkChoice,
    extra: Vec<OsString>,
    guest: Option<PathBuf>,
    directories: KnownDirectories,
}

impl Apple {
    /// Its program, found in `PATH`. `directory` is for the sessions' own files, as in
    /// an engine's: it is made, belongs to this user alone, and should be short.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            client: Client { program: "container".into(), arguments: Vec::new() },
            directory,
            image: None,
            link: LinkChoice::default(),
            extra: Vec::new(),
            guest: None,
            directories: KnownDirectories::default(),
        }
    }

    /// Another program, and arguments that precede every command of it.
    pub fn program(mut self, program: PathBuf, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.client = Client { program, arguments: arguments.into_iter().collect() };
        self
    }

    /// The image that containers are made of, from [`Apple::find_image`]. Nothing can be launched without.
    pub fn image(mut self, image: Image) -> Self {
        self.image = Some(image);
        self
    }

    /// Which link.
    pub fn link(mut self, link: LinkChoice) -> Self {
        self.link = link;
        self
    }

    /// Arguments that are added to every `run`.
    pub fn run_arguments(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.extra.extend(arguments);
        self
    }

    /// Another guest program than the one that npxc carries: static, for the image's architecture.
    pub fn guest(mut self, program: PathBuf) -> Self {
        self.guest = Some(program);
        self
    }

    /// What is known of this machine's directories before mounts are looked at.
    pub fn directories(mut self, directories: KnownDirectories) -> Self {
        self.directories = directories;
        self
    }

    /// Asks whether its service runs, and in which version.
    ///
    /// # Errors
    /// There is no such program, or it answers something unknown. A service that does not run is none.
    pub fn status(&self) -> Result<Status, RuntimeError> {
        let words = ["system", "status", "--format", "json"];
        // Its exit status is 1 for everything but a running service.
        let output = self.client.ask(&words, PATIENCE)?;
        let version = self.client.run(&["--version"], PATIENCE)?;
        let status = Status::parse(&output.stdout, output.success, &version);
        status.ok_or_else(|| {
            self.client.failed(&words, essence(&format!("{}{}", output.stderr, output.stdout)))
        })
    }

    /// What `npxc doctor` says about it.
    pub fn check(&self) -> Vec<StepReport> {
        let failed = |why: String, hint: Option<String>| Outcome::Failed { why, hint };
        let status = match self.status() {
            Ok(status) => status,
            Err(error) => {
                let outcome = failed(error.to_string(), error.hint());
                return vec![StepReport { step: "container", outcome }];
            }
        };
        let mut reports = Vec::new();
        let mut report = |step, outcome| reports.push(StepReport { step, outcome });
        if status.version < OLDEST {
            let (major, minor) = status.version;
            let why = format!("version {major}.{minor} is older than {}.{}", OLDEST.0, OLDEST.1);
            report("version", failed(why, Some(format!("install container {RECOMMENDED} or later"))));
        } else {
            let note = format!("{}.{}; verified against a stand-in only", status.version.0, status.version.1);
            report("version", Outcome::Passed(note));
        }
        if status.running {
            report("service", Outcome::Passed(String::new()));
        } else {
            let why = "the service of `container` is not running".to_owned();
            report("service", failed(why, Some("container system start --enable-kernel-install".into())));
        }
        match status.kernel {
            Some(false) => {
                let why = "no kernel for its virtual machines is installed".to_owned();
                report("kernel", failed(why, Some("container system kernel set --recommended".into())));
            }
            Some(true) => report("kernel", Outcome::Passed(String::new())),
            None => {}
        }
        reports
    }

    /// Deletes a network. Whether it is gone.
    pub fn remove_network(&self, name: &str) -> bool {
        self.client.ask(&["network", "delete", name], PATIENCE).is_ok_and(|output| output.success)
    }

    /// The ids of all containers, running or not: what npxc made is called as it was named.
    pub fn containers(&self) -> Result<Vec<String>, RuntimeError> {
        let words = ["list", "--all", "--format", "json"];
        let answer = self.client.run(&words, PATIENCE)?;
        answers::containers(&answer).map_err(|why| self.client.failed(&words, why))
    }

    /// Removes a container, running or not. Whether it is gone.
    pub fn remove(&self, id: &str) -> bool {
        self.client.ask(&["rm", "--force", id], REMOVE).is_ok_and(|output| output.success)
    }
}

#[cfg(test)]
mod tests;
