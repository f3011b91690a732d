//! Whether a program is npx, and where in its arguments the package stands. Pure.

use super::servers::Program;

/// What a server's program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// npx, and npxc can stand in its place.
    Npx(Npx),
    /// Something called npxc.
    Npxc,
    /// Something else, or npx in a way that npxc does not take; why, for people.
    Other(String),
}

/// Where things are in npx's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Npx {
    /// Arguments before npx's own (`/c npx` of `cmd`): they go.
    pub skip: usize,
    /// Where npxc's options go: before the package, or the `--` in front of it.
    pub at: usize,
    /// The package, or with `-p` the bin.
    pub spec: usize,
}

/// What this program is.
pub fn launch(program: &Program) -> Launch {
    let args: Vec<&str> = program.args.iter().map(|arg| arg.text.as_str()).collect();
    let command = program.command.text.as_str();
    match stem(command).as_str() {
        "npxc" => Launch::Npxc,
        "npx" => options(&args, 0).map_or_else(Launch::Other, Launch::Npx),
        // How clients on Windows have to start it.
        "cmd" if matches!(args.as_slice(), [slash, name, ..] if slash.eq_ignore_ascii_case("/c") && stem(name) == "npx") => {
            options(&args, 2).map_or_else(Launch::Other, Launch::Npx)
        }
        name if command.contains(char::is_whitespace) && !command.starts_with('/') => {
            let first = name.split_whitespace().next().unwrap_or_default();
            Launch::Other(format!("its command is a line (`{first} ...`), not a program with args"))
        }
        name @ ("sh" | "bash" | "zsh" | "env" | "cmd") if args.iter().any(|arg| arg.contains("npx")) => {
            Launch::Other(format!("npx is started through {name}: change that by hand"))
        }
        name => Launch::Other(format!("{name} is not npx")),
    }
}

/// A program's name without its directory and Windows' extensions.
fn stem(command: &str) -> String {
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    let lower = name.to_ascii_lowercase();
    let short = [".cmd", ".exe"].iter().find_map(|extension| lower.strip_suffix(extension));
    short.map_or_else(|| name.to_owned(), str::to_owned)
}

/// Finds the package behind npx's own options. Those that npxc has, too, stay; others are a reason to leave it alone.
fn options(args: &[&str], skip: usize) -> Result<Npx, String> {
    let mut at = skip;
    loop {
        match args.get(at) {
            None => return Err("it names no package".to_owned()),
            Some(&"--") if at + 1 < args.len() => return Ok(Npx { skip, at, spec: at + 1 }),
            Some(&"-y" | &"--yes" | &"--ignore-scripts") => at += 1,
            Some(&"-p" | &"--package") => at += 2,
            Some(option) if option.starts_with("--package=") => at += 1,
            Some(option) if option.starts_with('-') => {
                return Err(format!("npxc has no `{option}` as npx has it"));
            }
            Some(_) => return Ok(Npx { skip, at, spec: at }),
        }
    }
}
