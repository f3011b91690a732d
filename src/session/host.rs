//! What a run finds on the host before it starts: the runtime, node, npm's configuration and the package's store entry; and
//! what of that the guest gets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::ground::Ground;
use super::network::{about_proxy, install_proxy};
use super::step::Steps;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::certificates::Trust;
use crate::package::entry::MANIFEST;
use crate::package::{
    Changes, Entry, GUEST_HOME, GUEST_PACKAGE, HostEnv, InstallOptions, Installer, Node, NpmConfig, Progress,
    Store, Updated,
};
use crate::runtime::{Access, Launch, Mount, Runtime};

/// What every run needs of the host.
pub(super) struct Host {
    pub(super) env: HostEnv,
    node: Node,
    pub(super) npm: NpmConfig,
    store: Store,
    trust: Trust,
    /// What hides npm's own configuration files, where the guest would see them.
    hidden: Vec<Mount>,
    pub(super) runtime: Box<dyn Runtime>,
}

impl Host {
    pub(super) async fn of(resolved: &Resolved, words: &dyn Progress) -> Result<Self, Failure> {
        let host = HostEnv::current();
        let own = vec![resolved.directories.cache.join("empty")];
        let Ground { runtime, node } = Ground::of(resolved, &host, own, words).await?;
        let mut npm = NpmConfig::read(&host, &node, false)?;
        // One that cannot be used is said by whoever needs it.
        let proxy = install_proxy(resolved, &npm, &host).unwrap_or_default();
        npm.notes.extend(proxy.as_ref().map(about_proxy));
        let trust = Trust::of(&host, npm.cafile.as_deref(), &node);
        let store = Store::at(&resolved.directories.data);
        let hidden = hide(&npm.files, &node, &resolved.directories.cache)?;
        Ok(Self { env: host, node, npm, store, trust, hidden, runtime })
    }

    /// What a run would start, as `name@version`, if it is there already.
    pub(super) fn installed(&self, resolved: &Resolved) -> Result<Option<String>, Failure> {
        let request = resolved.request.resolve(&self.env)?;
        let entry = self.store.lookup(&request, &self.node)?;
        let ready = entry.filter(|entry| entry.manifest.is_ready(resolved.install.ignore_scripts));
        Ok(ready.map(|entry| entry.manifest.title()))
    }

    /// The store entry; installs it when it is missing.
    pub(super) async fn entry(
        &self,
        resolved: &Resolved,
        words: &dyn Progress,
        force: bool,
    ) -> Result<Entry, Failure> {
        let request = resolved.request.resolve(&self.env)?;
        let runner = Steps::new(&*self.runtime, resolved, &self.hidden, (&self.npm, &self.env), words);
        let options = options(resolved, force);
        Ok(self.installer(&runner).ensure(&request, &options, words).await?)
    }

    /// Updates the store entry; what `decide` says of the changes counts.
    pub(super) async fn update(
        &self,
        resolved: &Resolved,
        words: &dyn Progress,
        decide: &impl AsyncFn(&Changes) -> bool,
    ) -> Result<Updated, Failure> {
        let request = resolved.request.resolve(&self.env)?;
        let runner = Steps::new(&*self.runtime, resolved, &self.hidden, (&self.npm, &self.env), words);
        let options = options(resolved, true);
        Ok(self.installer(&runner).update(&request, &options, words, decide).await?)
    }

    fn installer<'a>(&'a self, runner: &'a Steps<'a>) -> Installer<'a, Steps<'a>> {
        Installer { store: &self.store, node: &self.node, config: &self.npm, trust: &self.trust, runner }
    }

    /// Notes that the entry is started now.
    pub(super) fn note_use(&self, entry: &Entry) {
        self.store.note_use(entry);
    }

    pub(super) fn launch(
        &self,
        resolved: &Resolved,
        entry: &Entry,
        granted: &[Mount],
    ) -> Result<Launch, Failure> {
        let command = entry.command(&resolved.request, &resolved.args, &self.node)?;
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        env.insert("HOME".into(), GUEST_HOME.into());
        env.extend(terminal_env(&self.env));
        env.extend(self.trust.env.iter().cloned());
        env.extend(entry.env(&self.node));
        env.extend(resolved.env.iter().map(|(name, value)| (name.as_str().into(), value.0.clone())));
        let mut mounts = self.node.mounts.clone();
        mounts.push(Mount { host: entry.dir.clone(), guest: GUEST_PACKAGE.into(), access: Access::ReadOnly });
        mounts.extend(self.hidden.iter().cloned());
        // It names the host's paths and registries.
        mounts.push(Mount {
            host: empty_file(&resolved.directories.cache)?,
            guest: PathBuf::from(GUEST_PACKAGE).join(MANIFEST),
            access: Access::ReadOnly,
        });
        mounts.extend(granted.iter().cloned());
        Ok(Launch {
            command,
            env: env.into_iter().collect(),
            cwd: resolved.guest_cwd.clone().unwrap_or_else(|| PathBuf::from(GUEST_HOME)),
            mounts,
            layer: None,
            limits: resolved.limits.clone(),
            files: self.trust.files.clone(),
        })
    }
}

fn options(resolved: &Resolved, force: bool) -> InstallOptions {
    InstallOptions {
        ignore_scripts: resolved.install.ignore_scripts,
        allow_install: resolved.install.allow.clone(),
        force,
    }
}

/// npm's system-wide files may hold tokens and may lie where the guest sees them: below `/usr`, or beside a node that
/// is mounted. An empty file stands over each.
fn hide(files: &[PathBuf], node: &Node, cache: &Path) -> Result<Vec<Mount>, Failure> {
    let seen = |file: &&PathBuf| {
        file.starts_with("/usr") || node.mounts.iter().any(|mount| file.starts_with(&mount.host))
    };
    let files: Vec<&PathBuf> = files.iter().filter(seen).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let empty = empty_file(cache)?;
    let over = |file: &PathBuf| Mount { host: empty.clone(), guest: file.clone(), access: Access::ReadOnly };
    Ok(files.into_iter().map(over).collect())
}

/// A file without content, to stand over another.
fn empty_file(cache: &Path) -> Result<PathBuf, Failure> {
    let empty = cache.join("empty");
    if !empty.is_file() {
        std::fs::create_dir_all(cache)
            .and_then(|()| std::fs::write(&empty, []))
            .map_err(|error| Failure::of_directory(&format!("cannot write {}", empty.display()), &error))?;
    }
    Ok(empty)
}

/// What a person at a terminal expects a program to know about it; nothing about the user or the machine.
fn terminal_env(host: &HostEnv) -> impl Iterator<Item = (OsString, OsString)> + '_ {
    ["TERM", "COLORTERM", "NO_COLOR", "LANG", "TZ"]
        .into_iter()
        .filter_map(|name| Some((name.into(), host.var(name)?.to_owned())))
}
