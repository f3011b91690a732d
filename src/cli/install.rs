//! `npxc install`: installs ahead, so that the first start of a client does not wait for npm.

use std::ffi::{OsStr, OsString};

use clap::Parser;

use super::options::Options;
use super::say::{self, Stderr};
use super::{log_to_stderr, resolve};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::paths::shell_word;
use crate::session;

/// Installs packages now, so that their first start is fast
#[derive(Debug, Parser)]
#[command(name = "npxc install")]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Install again even if it is installed
    #[arg(long)]
    force: bool,
    /// The packages
    #[arg(value_name = "PACKAGE-SPEC")]
    specs: Vec<OsString>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    let voice = Stderr::at(level);
    // With -p, the packages are one request, as they would be when they are run; the bin does not matter.
    let requests: Vec<Vec<OsString>> = if args.options.package.is_empty() {
        args.specs.iter().map(|spec| vec![spec.clone()]).collect()
    } else {
        vec![if args.specs.is_empty() { vec!["-".into()] } else { args.specs.clone() }]
    };
    if requests.is_empty() {
        let command = if args.force { "rebuild" } else { "install" };
        return Err(Failure::new(ExitStatus::Config, "no package is named")
            .hint(format!("npxc {command} PACKAGE...; npxc list shows what is installed")));
    }
    let resolved: Vec<_> =
        requests.iter().map(|words| resolve(&args.options, words)).collect::<Result<_, _>>()?;
    let wanted = resolved.len();
    let mut failed: Vec<(String, ExitStatus)> = Vec::new();
    for mut resolved in resolved {
        resolved.request.bin = None;
        for warning in &resolved.warnings {
            voice.advice(warning);
        }
        match session::install(&resolved, args.force, &voice) {
            Ok(None) => {}
            Ok(Some(title)) => voice.say(&format!("{title} is installed already")),
            Err(failure) if wanted < 2 || failure.status == ExitStatus::Interrupted => return Err(failure),
            // The others can be installed all the same.
            Err(failure) => {
                say::failure(&failure);
                failed.push((resolved.request.to_string(), failure.status));
            }
        }
    }
    let Some((_, status)) = failed.first() else { return Ok(ExitStatus::Success) };
    let titles: Vec<&str> = failed.iter().map(|(title, _)| title.as_str()).collect();
    let others = if failed.len() < wanted { "the others are installed; " } else { "" };
    let what = format!("not installed, for the reasons above: {}", titles.join(", "));
    Err(Failure::new(*status, what).hint(format!("{others}npxc install PACKAGE tries one again")))
}

/// The command line that installs ahead what `npxc OPTIONS FIRST` would install when it runs it.
pub(super) fn ahead(options: &Options, first: &OsStr) -> String {
    let options = options.of_install();
    let mut words: Vec<String> = vec!["npxc".into(), "install".into()];
    let mut add = |option: &str, values: &mut dyn Iterator<Item = &String>| {
        words.extend(values.map(|value| shell_word(&format!("--{option}={value}"))));
    };
    add("config", &mut options.config.iter());
    add("runtime", &mut options.runtime.iter());
    add("image", &mut options.image.iter());
    add("allow-install", &mut options.allow_install.iter());
    add("package", &mut options.package.iter());
    words.extend(options.ignore_scripts.then(|| "--ignore-scripts".into()));
    if options.package.is_empty() {
        words.push(shell_word(&first.to_string_lossy()));
    }
    words.join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_ahead_is_what_a_run_wants() {
        let ahead = |line: &str, first: &str| {
            // Every option with its dashes ends the one before it.
            let words = line.split(" --").map(|word| format!("--{}", word.trim_start_matches('-')));
            let args = Args::try_parse_from(std::iter::once("npxc".to_owned()).chain(words)).unwrap();
            super::ahead(&args.options, OsStr::new(first))
        };
        assert_eq!(ahead("--allow=@npm --env=TOKEN=secret", "@a/b@1"), "npxc install @a/b@1");
        assert_eq!(
            ahead("--runtime=podman --image=my node --ignore-scripts", "./a"),
            "npxc install --runtime=podman '--image=my node' --ignore-scripts ./a"
        );
        assert_eq!(ahead("--package=a --package=b", "bin"), "npxc install --package=a --package=b");
    }
}
