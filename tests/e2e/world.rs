//! What every test starts from: directories of the run's own, the npxc under test, the local package.
//!
//! One store serves all tests of a run, so that each package is fetched once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Set for the run as an ordinary user: the directory it works in.
pub(super) const USER_DIRECTORY: &str = "NPXC_TEST_USER_DIRECTORY";

/// The run's own home and XDG directories.
pub(super) struct World {
    pub(super) directory: PathBuf,
    npxc: PathBuf,
    npmrc: PathBuf,
    counter: AtomicUsize,
}

/// The world of this run.
pub(super) fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(World::make);
    &WORLD
}

impl World {
    fn make() -> Self {
        let (directory, npxc) = if let Some(directory) = std::env::var_os(USER_DIRECTORY) {
            (PathBuf::from(&directory).join("world"), Path::new(&directory).join("npxc"))
        } else {
            let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
            // In a container the project's own file system may not be able to keep what packages write.
            let elsewhere = npxc::storage::holds_no_layer(built).then(std::env::temp_dir);
            let directory =
                elsewhere.map_or_else(|| built.join("e2e"), |temporary| temporary.join("npxc-e2e"));
            (directory, PathBuf::from(env!("CARGO_BIN_EXE_npxc")))
        };
        // What an earlier run left; its store entries are read-only.
        if std::env::var_os("NPXC_TEST_KEEP").is_none() && directory.exists() {
            remove(&directory);
        }
        fs::create_dir_all(directory.join("home")).unwrap();
        let world = Self { directory, npxc, npmrc: npmrc(), counter: AtomicUsize::new(0) };
        let fixture = world.fixture();
        fs::create_dir_all(&fixture).unwrap();
        for (name, text) in [
            ("package.json", include_str!("fixture/package.json")),
            ("index.js", include_str!("fixture/index.js")),
        ] {
            fs::write(fixture.join(name), text).unwrap();
        }
        world
    }

    /// A new, empty directory.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join("scratch").join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The local package with a mode for everything the tests need (`fixture/index.js`).
    pub(super) fn fixture(&self) -> PathBuf {
        self.directory.join("fixture")
    }

    /// The npxc under test with the run's directories and these arguments; its audit log in a directory of its own.
    pub(super) fn npxc(&self, arguments: &[&str]) -> Npxc {
        let audit = self.scratch("audit");
        let mut command = Command::new(&self.npxc);
        self.environment(&mut command);
        command.arg("--audit-log").arg(&audit).args(arguments);
        Npxc { command, audit }
    }

    /// One of npxc's own commands that keeps no log.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.npxc);
        self.environment(&mut command);
        command.args(arguments);
        command
    }

    /// An npxc under another program (strace).
    pub(super) fn npxc_under(&self, program: &[&str], arguments: &[&str]) -> Npxc {
        let audit = self.scratch("audit");
        let mut command = Command::new(program[0]);
        self.environment(&mut command);
        command.args(&program[1..]).arg(&self.npxc).arg("--audit-log").arg(&audit).args(arguments);
        Npxc { command, audit }
    }

    /// The run's own directories, and nothing of the user's.
    pub(super) fn environment(&self, command: &mut Command) {
        let home = self.directory.join("home");
        command
            .env("HOME", &home)
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("npm_config_userconfig", &self.npmrc)
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null())
            .current_dir(&self.directory);
    }
}

/// An npxc about to be started, and where its audit logs will be.
pub(super) struct Npxc {
    pub(super) command: Command,
    pub(super) audit: PathBuf,
}

impl Npxc {
    /// Runs to the end without stdin.
    pub(super) fn output(mut self) -> (Output, Audit) {
        let output = self.command.stdin(Stdio::null()).output().unwrap();
        (output, Audit(self.audit))
    }
}

/// The audit logs of one npxc.
pub(super) struct Audit(pub(super) PathBuf);

impl Audit {
    /// The events of every session, those of one session in order.
    pub(super) fn events(&self) -> Vec<serde_json::Value> {
        let mut files: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .flat_map(|file| {
                let text = fs::read_to_string(file).unwrap();
                // The last line of a running session may be half written.
                let lines: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                lines
            })
            .collect()
    }

    /// How many sessions there were for this purpose (`run`, `fetch`, `build`).
    pub(super) fn sessions(&self, purpose: &str) -> usize {
        self.events().iter().filter(|event| event["purpose"] == purpose).count()
    }

    /// The options that hints of denials name, each once, in order.
    pub(super) fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = Vec::new();
        for event in self.events() {
            if let Some(hint) = event["hint"].as_str()
                && !hints.iter().any(|known| known == hint)
            {
                hints.push(hint.to_owned());
            }
        }
        hints
    }
}

/// A checksum as `sha256sum` writes it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a directory in which directories may be read-only.
pub(super) fn remove(directory: &Path) {
    let status = Command::new("sh")
        .args(["-c", "chmod -R u+rwX \"$1\" 2>/dev/null; rm -rf \"$1\"", "sh"])
        .arg(directory)
        .status()
        .unwrap();
    // A test that fails already says why.
    assert!(status.success() || std::thread::panicking(), "cannot remove {}", directory.display());
}

/// The user's npm configuration, since HOME is another one here.
fn npmrc() -> PathBuf {
    std::env::var_os("npm_config_userconfig").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".npmrc"),
        PathBuf::from,
    )
}
