//! Installs a package in two sandboxed runs of npm and makes a store entry of the result.
//!
//! *Fetch* has the user's registry settings and tokens, reaches the registries and runs no script. *Build* runs
//! the install scripts, if there are any, with no token, no `.npmrc` and no egress except to what
//! `--allow-install` names. What each step leaves is looked at ([`tree::check`], [`lock`]) before it is used; what was
//! resolved is recorded before the first script can change it.
//!
//! Nothing here starts a process: a [`StepRunner`] does.

mod changes;
mod failure;
mod lock;
mod manifest;
mod steps;

pub use self::changes::{Change, Changes};

use std::path::Path;
use std::time::{Duration, Instant};

use super::certificates::Trust;
use super::entry::Entry;
use super::error::PackageError;
use super::node::Node;
use super::progress::Progress;
use super::registry::NpmConfig;
use super::request::Resolved;
use super::step::{Step, StepOutcome, StepRunner};
use super::store::{InstallLock, Staging, Store};
use super::tree;
use crate::policy::Rule;

/// How often a waiting npxc looks whether the other one is done: a person does not notice it.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// How often a long step says that it goes on: npm says nothing by itself, and silence looks like a hang.
const STILL_INTERVAL: Duration = Duration::from_secs(5);
/// What a long step is for, in these words: to compare, npm downloads everything into a place of its own.
const INSTALLING: &str = "installing";
const COMPARING: &str = "downloading, to compare with what is installed:";
/// How often the size of what is being installed is looked at: a fast disk takes a gigabyte in that time.
const SIZE_INTERVAL: Duration = Duration::from_secs(1);

/// How a package is to be installed.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// Leave install scripts out.
    pub ignore_scripts: bool,
    /// Rules that both steps may reach besides the registries.
    pub allow_install: Vec<Rule>,
    /// Install again although there is an entry.
    pub force: bool,
}

/// What came of an update.
#[derive(Debug)]
pub enum Updated {
    /// There was nothing to update.
    Missing,
    /// It is what npm resolves now, as `name@version`.
    Same(String),
    /// It was not wanted; what is installed stays.
    Declined,
    /// It is installed.
    Done(Box<Entry>),
}

/// What npm resolved and downloaded; no script of it ran.
struct Fetched {
    staging: Staging,
    lock: lock::Lock,
    started: Instant,
}

/// Everything an install needs.
#[derive(Debug)]
pub struct Installer<'a, R> {
    /// Where entries are.
    pub store: &'a Store,
    /// The node and npm to use.
    pub node: &'a Node,
    /// npm's configuration.
    pub config: &'a NpmConfig,
    /// The certificates that the host trusts.
    pub trust: &'a Trust,
    /// Runs npm in a sandbox.
    pub runner: &'a R,
}

impl<R: StepRunner> Installer<'_, R> {
    /// The entry for a request, installed if there is none yet. Dropping the future ends the install and leaves
    /// nothing.
    pub async fn ensure(
        &self,
        resolved: &Resolved,
        options: &InstallOptions,
        progress: &dyn Progress,
    ) -> Result<Entry, PackageError> {
        if !options.force
            && let Some(entry) = self.finished(resolved, options)?
        {
            return Ok(entry);
        }
        let _lock = self.lock(resolved, progress).await?;
        // Another npxc may have installed it while this one waited.
        if !options.force
            && let Some(entry) = self.finished(resolved, options)?
        {
            return Ok(entry);
        }
        self.store.sweep();
        self.install(resolved, options, progress).await
    }

    /// Resolves anew what is installed, and installs that if it is another and `decide` wants the changes. Until then
    /// nothing of the new packages has run.
    pub async fn update(
        &self,
        resolved: &Resolved,
        options: &InstallOptions,
        progress: &dyn Progress,
        decide: &impl AsyncFn(&Changes) -> bool,
    ) -> Result<Updated, PackageError> {
        if self.store.lookup(resolved, self.node)?.is_none() {
            return Ok(Updated::Missing);
        }
        let _lock = self.lock(resolved, progress).await?;
        // Opened anew: another npxc may have replaced it meanwhile.
        let Some(old) = self.store.lookup(resolved, self.node)? else { return Ok(Updated::Missing) };
        self.store.sweep();
        let fetched = self.fetch(resolved, options, COMPARING, progress).await?;
        let changes = Changes::between(&old.manifest, &fetched.lock);
        if changes.is_empty() {
            return Ok(Updated::Same(old.manifest.title()));
        }
        if !decide(&changes).await {
            return Ok(Updated::Declined);
        }
        self.finish(fetched, resolved, options, progress).await.map(|entry| Updated::Done(Box::new(entry)))
    }

    fn finished(&self, resolved: &Resolved, options: &InstallOptions) -> Result<Option<Entry>, PackageError> {
        let entry = self.store.lookup(resolved, self.node)?;
        Ok(entry.filter(|entry| entry.manifest.is_ready(options.ignore_scripts)))
    }

    async fn lock(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<InstallLock, PackageError> {
        let mut said = false;
        loop {
            if let Some(lock) = self.store.try_lock(resolved, self.node)? {
                return Ok(lock);
            }
            if !said {
                said = true;
                progress.say(&format!("waiting for another npxc that installs {}", resolved.request));
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    async fn install(
        &self,
        resolved: &Resolved,
        options: &InstallOptions,
        progress: &dyn Progress,
    ) -> Result<Entry, PackageError> {
        progress.say(&format!("installing {} ...", resolved.request));
        let fetched = self.fetch(resolved, options, INSTALLING, progress).await?;
        self.finish(fetched, resolved, options, progress).await
    }

    async fn fetch(
        &self,
        resolved: &Resolved,
        options: &InstallOptions,
        doing: &str,
        progress: &dyn Progress,
    ) -> Result<Fetched, PackageError> {
        let started = Instant::now();
        let title = resolved.request.to_string();
        for note in self.config.notes.iter().chain(&self.trust.notes) {
            progress.hint(note);
        }
        let staging = self.store.stage()?;
        let refused = |problem: String| PackageError::Refused { package: title.clone(), problem };

        // npm's cache while it downloads, removed afterwards.
        let cache = self.store.stage()?;
        let tarballs = self.store.tarballs(self.config.realm());
        let mut fetch = self.fetch_step(resolved, options, staging.path(), cache.path())?;
        fetch.mounts.extend(tarballs.lend(cache.path()));
        let still = (doing, started);
        let outcome = self.run(fetch, &title, &[staging.path(), cache.path()], still, progress).await?;
        if !outcome.success {
            return Err(failure::of_fetch(&title, &outcome));
        }
        tree::check(staging.path())?.map_err(|refusal| refused(refusal.to_string()))?;
        let lock = lock::read(staging.path(), resolved).map_err(&refused)?;
        // Then the next install downloads them again.
        let _ =
            tarballs.keep(cache.path(), lock.packages.values().filter_map(|one| one.integrity.as_deref()));
        drop(cache);
        Ok(Fetched { staging, lock, started })
    }

    async fn finish(
        &self,
        Fetched { staging, lock, started }: Fetched,
        resolved: &Resolved,
        options: &InstallOptions,
        progress: &dyn Progress,
    ) -> Result<Entry, PackageError> {
        let title = resolved.request.to_string();
        let refused = |problem: String| PackageError::Refused { package: title.clone(), problem };
        let build = !lock.install_scripts.is_empty() && !options.ignore_scripts;
        if build {
            let names: Vec<&str> = lock.install_scripts.iter().map(|path| lock::name_of(path)).collect();
            progress.say(&format!("running install scripts of {}", shorten(&names)));
            let step = self.build_step(resolved, options, staging.path());
            let still = (INSTALLING, started);
            let outcome = self.run(step, &title, &[staging.path()], still, progress).await?;
            if !outcome.success {
                return Err(failure::of_build(&title, &outcome, self.nodedir().is_some()));
            }
        } else if !lock.install_scripts.is_empty() {
            let names: Vec<&str> = lock.install_scripts.iter().map(|path| lock::name_of(path)).collect();
            progress.say(&format!("install scripts left out: {}", shorten(&names)));
        }
        let summary = tree::check(staging.path())?.map_err(|refusal| refused(refusal.to_string()))?;
        let manifest = manifest::make(
            staging.path(),
            resolved,
            lock,
            build,
            summary.bytes,
            self.node,
            self.config.rules().iter().map(ToString::to_string).collect(),
        )
        .map_err(&refused)?;
        manifest::write(staging.path(), &manifest)?;
        let entry = self.publish(staging, resolved)?;
        progress.say(&format!(
            "installed {} ({} {}) in {:.1} s",
            entry.manifest.title(),
            entry.manifest.packages.len(),
            if entry.manifest.packages.len() == 1 { "package" } else { "packages" },
            started.elapsed().as_secs_f32(),
        ));
        Ok(entry)
    }

    fn publish(&self, staging: Staging, resolved: &Resolved) -> Result<Entry, PackageError> {
        self.store.publish(staging, resolved, self.node)
    }

    async fn run(
        &self,
        step: Step,
        title: &str,
        written: &[&Path],
        (doing, started): (&str, Instant),
        progress: &dyn Progress,
    ) -> Result<StepOutcome, PackageError> {
        let mut run = std::pin::pin!(self.runner.run(step));
        let mut said = Instant::now();
        loop {
            tokio::select! {
                outcome = &mut run => return Ok(outcome?),
                () = tokio::time::sleep(SIZE_INTERVAL) => {
                    if written.iter().any(|directory| tree::is_too_large(directory)) {
                        // Dropping the step ends its sandbox; dropping the staging directory gives the space back.
                        let problem = tree::Refusal::Bytes.to_string();
                        return Err(PackageError::Refused { package: title.to_owned(), problem });
                    }
                    if said.elapsed() >= STILL_INTERVAL {
                        said = Instant::now();
                        progress.say(&format!("still {doing} {title} ({} s)", started.elapsed().as_secs()));
                    }
                }
            }
        }
    }
}

/// At most three names.
fn shorten(names: &[&str]) -> String {
    let text = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=3 => text,
        count => format!("{text} and {} more", count - 3),
    }
}

/// Reads a file of a tree that [`tree::check`] has passed, up to a bound.
fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() > limit {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
