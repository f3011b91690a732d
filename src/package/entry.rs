//! A finished store entry: what was installed, and the command that runs it inside the guest.
//!
//! Everything here was recorded when the entry was made; nothing of the package itself is read or run on the
//! host at a warm start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::GUEST_PACKAGE;
use super::error::PackageError;
use super::node::Node;
use super::request::Request;

/// Version of the manifest's shape; an entry of another version is made again.
pub const SCHEMA: u32 = 1;
/// The manifest's file name inside an entry.
pub const MANIFEST: &str = "npxc-entry.json";

/// What an entry holds, written once when it is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`] of the npxc that wrote it.
    pub schema: u32,
    /// The specs as they were asked for.
    pub request: Vec<String>,
    /// The packages that were asked for, in that order, as they were resolved.
    pub roots: Vec<Root>,
    /// Every package of the tree, by its path below the entry.
    pub packages: BTreeMap<String, Installed>,
    /// Packages that have install scripts, by their path below the entry.
    pub install_scripts: Vec<String>,
    /// Whether those scripts were run.
    pub scripts_run: bool,
    /// Every program in `node_modules/.bin`, by name.
    pub bins: BTreeMap<String, Bin>,
    /// What `@npm` stood for, as rules.
    pub npm_rules: Vec<String>,
    /// Version of the node it was installed for.
    pub node: String,
    /// Version of npm that installed it.
    pub npm: String,
    /// When it was complete, seconds since 1970.
    pub time: u64,
    /// Bytes on disk, apparent size.
    pub size: u64,
}

/// A package that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Name in `node_modules`.
    pub name: String,
    /// The package's own name; another one only for an alias.
    pub package: String,
    /// Version that was installed.
    pub version: String,
    /// Subresource Integrity of the tarball, where the registry gave one.
    pub integrity: Option<String>,
    /// Its own programs, by name.
    pub bins: BTreeMap<String, Bin>,
}

/// One package of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Version.
    pub version: String,
    /// Subresource Integrity of the tarball, where the registry gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
}

/// A program of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// Path below the entry.
    pub path: String,
    /// What its first line asks for.
    pub run: Interpreter,
}

/// What runs a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpreter {
    /// node, with these flags of its own.
    Node(Vec<String>),
    /// The file itself: a binary, or a script for something else.
    Itself,
}

/// A finished entry of the store, held open: it is not removed while this lives.
#[derive(Debug)]
pub struct Entry {
    /// Its directory on the host; mount it read-only at [`GUEST_PACKAGE`].
    pub dir: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// The directory, under a shared lock.
    #[allow(dead_code, reason = "held for its lock")]
    pub(super) held: File,
}

impl Entry {
    /// The command inside the guest: the bin that was asked for or that npx would choose, with `args`.
    pub fn command(
        &self,
        request: &Request,
        args: &[OsString],
        node: &Node,
    ) -> Result<Vec<OsString>, PackageError> {
        let bin = self.manifest.choose_bin(request.bin.as_deref())?;
        let path = Path::new(GUEST_PACKAGE).join(&bin.path).into_os_string();
        let mut command = match &bin.run {
            Interpreter::Node(flags) => {
                let mut command = vec![node.guest_exec().into_os_string()];
                command.extend(flags.iter().map(OsString::from));
                command.push(path);
                command
            }
            Interpreter::Itself => vec![path],
        };
        command.extend_from_slice(args);
        Ok(command)
    }

    /// What the package's environment needs beyond what the user granted: `PATH`. None of npx's `npm_*`
    /// variables: they would tell the package about the host, and no server was found that needs one.
    pub fn env(&self, node: &Node) -> Vec<(OsString, OsString)> {
        let mut path = OsString::from(format!("{GUEST_PACKAGE}/node_modules/.bin:"));
        path.push(node.guest_path());
        vec![("PATH".into(), path)]
    }
}

impl Manifest {
    /// npx's rule: the bin that was named, among the requested packages' own and then those of their
    /// dependencies; else the first package's only bin, or the one called like the package.
    pub fn choose_bin(&self, named: Option<&str>) -> Result<&Bin, PackageError> {
        let fail = |package: &str, problem: String, bins: &BTreeMap<String, Bin>| {
            Err(PackageError::Bin {
                package: package.to_owned(),
                problem,
                bins: bins.keys().cloned().collect(),
            })
        };
        if let Some(named) = named {
            let own = self.roots.iter().find_map(|root| root.bins.get(named));
            if let Some(bin) = own.or_else(|| self.bins.get(named)) {
                return Ok(bin);
            }
            let mut own = BTreeMap::new();
            for root in &self.roots {
                own.extend(root.bins.clone());
            }
            return fail(&self.request.join(" "), format!("has no program {named:?}"), &own);
        }
        let Some(root) = self.roots.first() else {
            return fail(&self.request.join(" "), "holds no package".to_owned(), &BTreeMap::new());
        };
        let mut bins = root.bins.values();
        if let Some(first) = bins.next()
            && bins.all(|other| other.path == first.path)
        {
            return Ok(first);
        }
        let unscoped = root.package.rsplit('/').next().unwrap_or(&root.package);
        match root.bins.get(unscoped) {
            Some(bin) => Ok(bin),
            None if root.bins.is_empty() => fail(&root.name, "has no program to run".to_owned(), &root.bins),
            None => fail(
                &root.name,
                format!(
                    "has several programs, and none is called {unscoped}: {}",
                    root.bins.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
                &root.bins,
            ),
        }
    }

    /// Whether it can be used as it is: its scripts were run, or it has none, or they are not wanted.
    pub fn is_ready(&self, ignore_scripts: bool) -> bool {
        self.schema == SCHEMA && (self.scripts_run || self.install_scripts.is_empty() || ignore_scripts)
    }

    /// The packages whose install scripts were run, as `name@version`.
    pub fn ran_scripts(&self) -> Vec<String> {
        let named = |path: &String| {
            let name = path.rsplit_once("node_modules/").map_or(path.as_str(), |(_, name)| name);
            let version = self.packages.get(path).map_or("?", |installed| installed.version.as_str());
            format!("{name}@{version}")
        };
        self.install_scripts.iter().filter(|_| self.scripts_run).map(named).collect()
    }

    /// The package that is run as `name@version`, for people and the audit log.
    pub fn title(&self) -> String {
        self.roots
            .first()
            .map_or_else(|| self.request.join(" "), |root| format!("{}@{}", root.package, root.version))
    }
}

impl Interpreter {
    /// Reads the first bytes of a program. `#!/usr/bin/env node` and its forms with flags or `-S` mean node;
    /// a file without such a line means node when its name says JavaScript.
    pub fn of(path: &str, start: &[u8]) -> Self {
        let Some(line) = start.strip_prefix(b"#!") else {
            let script = [".js", ".mjs", ".cjs"].iter().any(|end| path.ends_with(end));
            return if script { Self::Node(Vec::new()) } else { Self::Itself };
        };
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let Ok(line) = std::str::from_utf8(line) else {
            return Self::Itself;
        };
        let mut words = line.split_ascii_whitespace().peekable();
        let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
        let Some(mut program) = words.next().map(base) else {
            return Self::Itself;
        };
        if program == "env" {
            if let Some(joined) = words.next_if(|word| word.starts_with("-S")) {
                let rest = joined.trim_start_matches("-S");
                program =
                    if rest.is_empty() { words.next().map(base).unwrap_or_default() } else { base(rest) };
            } else {
                program = words.next().map(base).unwrap_or_default();
            }
        }
        // Quotes and variables are env's own language: leave such a line to env.
        let plain = !line.contains(['"', '\'', '\\', '$']);
        if plain && matches!(program.as_str(), "node" | "nodejs") {
            Self::Node(words.map(str::to_owned).collect())
        } else {
            Self::Itself
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(super) mod tests {
    use super::*;

    pub(in crate::package) fn manifest(name: &str, bins: &[(&str, &str)]) -> Manifest {
        let bin = |path: &str| Bin { path: path.into(), run: Interpreter::Node(vec![]) };
        Manifest {
            schema: SCHEMA,
            request: vec![name.into()],
            roots: vec![Root {
                name: name.into(),
                package: name.into(),
                version: "1.0.0".into(),
                integrity: None,
                bins: bins.iter().map(|(n, p)| ((*n).into(), bin(p))).collect(),
            }],
            packages: BTreeMap::new(),
            install_scripts: vec![],
            scripts_run: false,
            bins: BTreeMap::from([("dep".to_owned(), bin("node_modules/dep/cli.js"))]),
            npm_rules: vec![],
            node: "20.0.0".into(),
            npm: "10.0.0".into(),
            time: 0,
            size: 0,
        }
    }

    #[test]
    fn the_bin_npx_would_choose() {
        let path = |m: &Manifest, named| m.choose_bin(named).map(|b| b.path.clone());
        assert_eq!(path(&manifest("p", &[("x", "a.js")]), None).unwrap(), "a.js");
        assert_eq!(path(&manifest("p", &[("x", "a.js"), ("y", "a.js")]), None).unwrap(), "a.js");
        assert_eq!(path(&manifest("@s/p", &[("p", "a.js"), ("y", "b.js")]), None).unwrap(), "a.js");
        let several = manifest("@s/p", &[("x", "a.js"), ("y", "b.js")]);
        let error = path(&several, None).unwrap_err();
        assert!(error.to_string().contains("x, y"), "{error}");
        assert_eq!(error.hints(), ["its programs are x, y; npxc -p PACKAGE PROGRAM starts one"]);
        assert_eq!(path(&several, Some("y")).unwrap(), "b.js");
        assert_eq!(path(&several, Some("dep")).unwrap(), "node_modules/dep/cli.js");
        assert!(path(&several, Some("../x")).is_err());
        assert!(path(&manifest("p", &[]), None).unwrap_err().to_string().contains("no program"));
    }

    #[test]
    fn first_lines() {
        let node = |flags: &[&str]| Interpreter::Node(flags.iter().map(|f| (*f).to_owned()).collect());
        for (line, expected) in [
            ("#!/usr/bin/env node\n1", node(&[])),
            ("#!/usr/bin/env node\r\n1", node(&[])),
            ("#! /usr/bin/env node", node(&[])),
            ("#!/usr/bin/node", node(&[])),
            ("#!/usr/local/bin/nodejs --trace-warnings", node(&["--trace-warnings"])),
            ("#!/usr/bin/env -S node --no-warnings --x=1\n", node(&["--no-warnings", "--x=1"])),
            ("#!/usr/bin/env -Snode --no-warnings\n", node(&["--no-warnings"])),
            ("#!/usr/bin/env node --no-warnings\n", node(&["--no-warnings"])),
            ("#!/usr/bin/env -S A=1 node\n", Interpreter::Itself),
            ("#!/usr/bin/env -S node \"--a b\"\n", Interpreter::Itself),
            ("#!/bin/sh\nnode", Interpreter::Itself),
            ("#!/usr/bin/env bash\n", Interpreter::Itself),
            ("#!\n", Interpreter::Itself),
            ("\x7fELF", Interpreter::Itself),
            ("", Interpreter::Itself),
        ] {
            assert_eq!(Interpreter::of("bin/x", line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(Interpreter::of("x.mjs", b"import 1"), node(&[]));
        assert_eq!(Interpreter::of("x", b"#!\xff\xfe"), Interpreter::Itself);
    }
}
