//! Landlock: a second opinion on the mount layout. Everything may be read and executed, only what is meant to be
//! written may be written. Best effort by ABI; a kernel without it is a warning.

use std::fs;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};

use crate::spec::{HOME, Ready, Spec};
use crate::step::{Failure, Step};

/// The newest ABI this rule set was written for.
const KNOWN: ABI = ABI::V6;
/// Written to by any program.
const WRITABLE: [&str; 8] =
    ["/tmp", HOME, "/dev/shm", "/dev/pts", "/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"];

/// What may be written in the native sandbox.
pub(crate) fn writable(spec: &Spec) -> Vec<PathBuf> {
    let mounts = spec
        .mounts
        .iter()
        .filter(|bind| bind.writable || bind.layer.is_some())
        .map(|bind| bind.guest.clone());
    WRITABLE.iter().map(PathBuf::from).chain(mounts).collect()
}

/// What may be written in a container: all that the engine made writable, except what speaks to the kernel or is
/// npxc's own.
pub(crate) fn writable_in_container() -> Vec<PathBuf> {
    let below = |directory: &str, but: &'static [&str]| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter(move |entry| !but.iter().any(|name| entry.file_name() == *name))
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"npxc-"))
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
            .map(|entry| entry.path())
    };
    below("/", &["dev", "npxc", "proc", "sys"]).chain(below("/dev", &["net"])).collect()
}

/// Restricts this process and its children; returns what was enforced.
pub(super) fn restrict(writable: &[PathBuf], ready: &mut Ready) -> Result<String, Failure> {
    let status = rule_set(writable).map_err(|error| {
        Failure::new(Step::Landlock, "landlock", &std::io::Error::other(error.to_string()))
    })?;
    match status {
        LandlockStatus::NotImplemented | LandlockStatus::NotEnabled => {
            let note = "this kernel has no Landlock; the mount layout and seccomp stand alone";
            ready.warnings.push(note.into());
            Ok(note.into())
        }
        LandlockStatus::Available { effective_abi, .. } => Ok(format!("ABI {}", effective_abi as i32)),
    }
}

fn rule_set(writable: &[PathBuf]) -> Result<LandlockStatus, Box<dyn std::error::Error>> {
    let read = AccessFs::from_read(KNOWN);
    // No device nodes: they would need a capability anyway.
    let write = AccessFs::from_all(KNOWN) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let on_file = AccessFs::from_file(KNOWN);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, read))?;
    for path in writable {
        let access: BitFlags<AccessFs> = if path.is_dir() { write } else { write & on_file };
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    Ok(rules.restrict_self()?.landlock)
}
