//! What the two steps are granted. Each word of npm's command line and environment stands here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::error::PackageError;
use super::super::request::{Resolved, Source};
use super::super::step::{Purpose, Step};
use super::super::{GUEST_HOME, GUEST_PACKAGE, GUEST_SOURCE};
use super::{InstallOptions, Installer};
use crate::runtime::{Access, Mount};

/// Where npm's cache stands inside the guest while it downloads.
const GUEST_CACHE: &str = "/opt/npxc/npm-cache";
/// Where headers that the user named stand inside the guest.
const GUEST_NODEDIR: &str = "/opt/npxc/nodedir";

/// For npm in both steps. As variables, since npm ignores those that it does not know, whatever its version; an unknown
/// option may become an error.
const QUIET: &[(&str, &str)] = &[
    ("npm_config_update_notifier", "false"),
    ("npm_config_audit", "false"),
    ("npm_config_fund", "false"),
    ("npm_config_progress", "false"),
    ("npm_config_color", "false"),
    ("npm_config_logs_max", "0"),
    // Distinct from the user's file, and never there: npm's own places may hold the host's files.
    ("npm_config_globalconfig", "/home/user/.npmrc-global"),
    ("npm_config_userconfig", "/home/user/.npmrc"),
];

impl<R> Installer<'_, R> {
    pub(super) fn fetch_step(
        &self,
        resolved: &Resolved,
        options: &InstallOptions,
        staging: &Path,
        cache: &Path,
    ) -> Result<Step, PackageError> {
        let package_json = staging.join("package.json");
        std::fs::write(&package_json, "{\"name\":\"npxc-entry\",\"version\":\"0.0.0\",\"private\":true}\n")
            .map_err(|e| PackageError::io("write", &package_json, e))?;

        let mut command = self.npm(&[
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--install-links",
            "--omit=dev",
            "--save",
            "--save-exact",
            "--package-lock",
            "--",
        ]);
        let mut mounts = self.mounts(staging);
        mounts.push(Mount { host: cache.to_owned(), guest: GUEST_CACHE.into(), access: Access::ReadWrite });
        for (number, source) in resolved.packages.iter().enumerate() {
            let guest = guest_source(source, number);
            match (source, &guest) {
                (Source::Registry(spec), _) => command.push(spec.into()),
                (Source::Directory { path, .. } | Source::Tarball { path, .. }, Some(guest)) => {
                    command.push(format!("file:{}", guest.display()).into());
                    mounts.push(Mount { host: path.clone(), guest: guest.clone(), access: Access::ReadOnly });
                }
                (Source::Directory { .. } | Source::Tarball { .. }, None) => {}
            }
        }

        let mut env = self.env();
        env.push(("npm_config_cache".into(), GUEST_CACHE.into()));
        if resolved.packages.iter().any(|source| source.local().is_some()) {
            env.push(("npm_config_allow_file".into(), "all".into()));
            env.push(("npm_config_allow_directory".into(), "all".into()));
        }
        let mut files = self.config.fetch_files()?;
        files.extend(self.trust.files.iter().cloned());
        let mut allow = self.config.rules();
        allow.extend(options.allow_install.iter().cloned());
        Ok(Step {
            purpose: Purpose::Fetch,
            package: resolved.request.to_string(),
            command,
            env,
            cwd: GUEST_PACKAGE.into(),
            mounts,
            files,
            allow,
            allow_private: self.config.private_rules(),
        })
    }

    pub(super) fn build_step(&self, resolved: &Resolved, options: &InstallOptions, staging: &Path) -> Step {
        let mut env = self.env();
        let mut mounts = self.mounts(staging);
        env.push(("npm_config_cache".into(), "/tmp/.npm".into()));
        // From npm 11 on, scripts can need an approval; the sandbox is what npxc relies on.
        env.push(("npm_config_dangerously_allow_all_scripts".into(), "true".into()));
        // node-gyp: as many compilers as there are cores.
        env.push(("JOBS".into(), "max".into()));
        if let Some((guest, mount)) = self.nodedir() {
            env.push(("npm_config_nodedir".into(), guest.into()));
            mounts.extend(mount);
        }
        if let Some(python) = self.config.python.as_ref().filter(|path| path.starts_with("/usr")) {
            env.push(("npm_config_python".into(), python.into()));
        }
        Step {
            purpose: Purpose::Build,
            package: resolved.request.to_string(),
            command: self.npm(&["rebuild", "--foreground-scripts"]),
            env,
            cwd: GUEST_PACKAGE.into(),
            mounts,
            files: self.trust.files.clone(),
            allow: options.allow_install.clone(),
            allow_private: Vec::new(),
        }
    }

    /// Where node's headers are inside the guest, so that node-gyp need not download them: this node's own, or
    /// those that the user's npm configuration names.
    pub(super) fn nodedir(&self) -> Option<(PathBuf, Option<Mount>)> {
        if let Some(own) = self.node.guest_headers() {
            return Some((own, None));
        }
        let named = self.config.nodedir.as_ref().filter(|dir| dir.join("include/node/node.h").is_file())?;
        if named.starts_with("/usr") {
            return Some((named.clone(), None));
        }
        let mount = Mount {
            host: named.join("include"),
            guest: Path::new(GUEST_NODEDIR).join("include"),
            access: Access::ReadOnly,
        };
        Some((GUEST_NODEDIR.into(), Some(mount)))
    }

    fn npm(&self, words: &[&str]) -> Vec<OsString> {
        let mut command = vec![self.node.guest_exec().into(), self.node.guest_npm_cli().into()];
        command.extend(words.iter().map(OsString::from));
        command
    }

    fn env(&self) -> Vec<(OsString, OsString)> {
        let mut env = vec![
            ("PATH".into(), self.node.guest_path()),
            ("HOME".into(), GUEST_HOME.into()),
            ("LANG".into(), "C.UTF-8".into()),
        ];
        env.extend(QUIET.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        env.extend(self.trust.env.iter().cloned());
        env
    }

    fn mounts(&self, staging: &Path) -> Vec<Mount> {
        let mut mounts = self.node.mounts.clone();
        mounts.push(Mount {
            host: staging.to_owned(),
            guest: GUEST_PACKAGE.into(),
            access: Access::ReadWrite,
        });
        mounts
    }
}

/// Where a local package stands in the fetch step.
pub(super) fn guest_source(source: &Source, number: usize) -> Option<PathBuf> {
    let own = Path::new(GUEST_SOURCE).join(number.to_string());
    match source {
        Source::Registry(_) => None,
        Source::Directory { .. } => Some(own.join("package")),
        Source::Tarball { .. } => Some(own.join("package.tgz")),
    }
}
