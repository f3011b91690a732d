//! Builds the program that is the first process of a container, static, and puts it where the library includes it
//! from: `OUT_DIR/npxc-guest`. It is for Linux on the architecture that npxc is built for, since an engine's
//! containers (on macOS, its virtual machine's) run on that.
//!
//! It is built for musl where that target is installed, else with glibc linked in. Where neither works the file is
//! empty, npxc goes without container engines, and a warning says why. `NPXC_GUEST_BINARY=PATH` takes a program that
//! was built before.
//!
//! Cargo is run inside Cargo: that needs a target directory of its own, which the inner one locks. It lies beside the
//! outer one's profiles, so that checks, tests and releases share it; when nothing has changed it takes a third of a
//! second, and it is not even run unless something below did.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the program is made of.
const SOURCES: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", "guest/Cargo.toml", "guest/src", "link/Cargo.toml", "link/src"];
/// Takes a finished program instead of building one.
const OVERRIDE: &str = "NPXC_GUEST_BINARY";
/// `PT_INTERP` of elf(5).
const INTERPRETER: u32 = 3;
/// Settings of the outer build that are not meant for this one.
const FOREIGN: [&str; 10] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let program = guest().unwrap_or_else(|error| {
        println!(
            "cargo::warning=no container engines: the program for inside the container was not built: {error}"
        );
        Vec::new()
    });
    fs::write(Path::new(&env::var("OUT_DIR")?).join("npxc-guest"), program)?;
    Ok(())
}

/// The program's content; empty where there are no container engines to run it.
fn guest() -> Result<Vec<u8>> {
    if let Some(path) = env::var_os(OVERRIDE).filter(|path| !path.is_empty()) {
        println!("cargo::rerun-if-changed={}", path.display());
        return fs::read(&path).map_err(|error| format!("{OVERRIDE}={}: {error}", path.display()).into());
    }
    let system = env::var("CARGO_CFG_TARGET_OS")?;
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    let supported = ["linux", "macos"].contains(&&*system) && ["x86_64", "aarch64"].contains(&&*architecture);
    if !supported || env::var_os("DOCS_RS").is_some() {
        return Ok(Vec::new());
    }
    let mut why: Option<Box<dyn Error>> = None;
    for target in targets(&architecture)? {
        match build(&target).and_then(|path| static_program(&path)) {
            Ok(program) => return Ok(program),
            Err(error) => why = Some(format!("{target}: {error}").into()),
        }
    }
    Err(why.unwrap_or_else(|| format!("run `rustup target add {architecture}-unknown-linux-musl`").into()))
}

/// Targets to try, in order.
fn targets(architecture: &str) -> Result<Vec<String>> {
    let host = env::var("HOST")?;
    let mut targets = Vec::new();
    let musl = format!("{architecture}-unknown-linux-musl");
    if installed(&musl)? {
        targets.push(musl);
    }
    if host == format!("{architecture}-unknown-linux-gnu") {
        targets.push(host);
    }
    Ok(targets)
}

fn installed(target: &str) -> Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output()?;
    Ok(output.status.success() && Path::new(String::from_utf8(output.stdout)?.trim()).is_dir())
}

/// Builds for one target; the program's path.
fn build(target: &str) -> Result<PathBuf> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    if !root.join("guest/Cargo.toml").is_file() {
        return Err("its sources are not here".into());
    }
    let architecture = target.split('-').next().unwrap_or_default();
    let foreign = !env::var("HOST")?.starts_with(&format!("{architecture}-unknown-linux-"));
    let directory = target_directory()?;
    // Another system or architecture needs a C compiler for it, which this brings along.
    let zig = foreign && on_path("cargo-zigbuild");
    let mut flags = vec!["-Ctarget-feature=+crt-static"];
    if foreign && !zig {
        flags.push("-Clinker=rust-lld");
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    // A few C files that need no C library: any compiler for the architecture will do.
    let compiler = format!("CC_{}", target.replace('-', "_"));
    if target.ends_with("musl") && !foreign && env::var_os(&compiler).is_none() && !on_path("musl-gcc") {
        cargo.env(compiler, "cc");
    }
    let output = cargo
        .current_dir(&root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .arg(if zig { "zigbuild" } else { "build" })
        .args(["--quiet", "--locked", "--package", "npxc-guest", "--bin", "npxc-guest", "--profile", "guest"])
        .args(["--target", target])
        .arg("--target-dir")
        .arg(&directory)
        .output()?;
    if output.status.success() {
        return Ok(directory.join(target).join("guest/npxc-guest"));
    }
    // What matters is said last or nearly so.
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(lines[lines.len().saturating_sub(6)..].join(" / ").into())
}

/// Beside the profiles of the outer target directory, if that looks as it always did.
fn target_directory() -> Result<PathBuf> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let outer =
        out.ancestors().nth(4).filter(|_| out.ancestors().nth(2).is_some_and(|at| at.ends_with("build")));
    Ok(outer.unwrap_or(&out).join("guest"))
}

fn on_path(program: &str) -> bool {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Reads a program and makes sure that it runs where there is no other file.
fn static_program(path: &Path) -> Result<Vec<u8>> {
    let program = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // elf(5), 64-bit little endian: the program headers, none of which may name an interpreter.
    let word = |at: usize| Some(u16::from_le_bytes(*program.get(at..)?.first_chunk()?));
    let at = program.get(32..).and_then(<[u8]>::first_chunk).map(|bytes| u64::from_le_bytes(*bytes));
    let (Some(at), Some(size), Some(count)) = (at, word(54), word(56)) else {
        return Err("is no program".into());
    };
    for index in 0..usize::from(count) {
        let header = usize::try_from(at)? + index * usize::from(size);
        let kind =
            program.get(header..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_le_bytes(*bytes));
        if kind.is_none_or(|kind| kind == INTERPRETER) {
            return Err("is not static".into());
        }
    }
    Ok(program)
}
