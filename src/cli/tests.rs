#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;

use super::{Args, Command, parse};
use crate::config::load::Asked;
use crate::exit::ExitStatus;

fn parsed(line: &str) -> Result<Command, clap::Error> {
    let argv: Vec<_> = std::iter::once("npxc").chain(line.split_whitespace()).map(OsString::from).collect();
    parse(&argv)
}

fn run(line: &str) -> Args {
    match parsed(line) {
        Ok(Command::Run(args)) => args,
        other => panic!("{line}: {other:?}"),
    }
}

fn asked(line: &str) -> Asked {
    let args = run(line);
    args.options.asked(&args.words).unwrap()
}

fn words(line: &str) -> Vec<String> {
    run(line).words.iter().map(|word| word.to_str().unwrap().to_owned()).collect()
}

fn refused(line: &str) -> String {
    let args = run(line);
    let error = args.options.asked(&args.words).unwrap_err();
    format!("{error}{}", error.hint.clone().map_or_else(String::new, |hint| format!("\nhint: {hint}")))
}

#[test]
fn everything_behind_the_spec_is_the_packages_own() {
    assert_eq!(words("server"), ["server"]);
    assert_eq!(
        words("server --allow x -y --help --version"),
        ["server", "--allow", "x", "-y", "--help", "--version"]
    );
    assert_eq!(words("server -- --foo --"), ["server", "--", "--foo", "--"], "as npx hands it on");
    assert_eq!(words("-- server --foo"), ["server", "--foo"]);
    assert_eq!(words("-y -- server -y"), ["server", "-y"]);
    assert_eq!(words("--yes -y server list"), ["server", "list"]);
    let asked = asked("--allow @npm,api.example.com:443 --allow *.example.org @scope/server@1.2.3 --port 1");
    assert_eq!(asked.packages[0].to_string(), "@scope/server@1.2.3");
    assert_eq!(asked.args, ["--port", "1"]);
    let rules: Vec<_> = asked.layer.allow.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["@npm", "api.example.com:443", "*.example.org"]);
}

#[test]
fn packages_and_a_bin() {
    let asked = asked("-p server -p @a/other@2 bin --flag");
    let packages: Vec<_> = asked.packages.iter().map(ToString::to_string).collect();
    assert_eq!(packages, ["server", "@a/other@2"]);
    assert_eq!(asked.bin.as_deref(), Some("bin"));
    assert_eq!(asked.args, ["--flag"]);
    assert!(refused("-p server").contains("the bin to run is not named"));
}

#[test]
fn commands_and_the_packages_of_the_same_name() {
    assert!(matches!(parsed("probe server"), Ok(Command::Probe(_))));
    assert!(matches!(
        parsed("--allow @npm probe --allow x.example.com server --json"),
        Ok(Command::Probe(_))
    ));
    assert!(matches!(parsed("install a b"), Ok(Command::Install(_))));
    assert!(matches!(parsed("rebuild a"), Ok(Command::Install(_))));
    assert!(matches!(parsed("list --json"), Ok(Command::List(_))));
    assert!(matches!(parsed("clean --all"), Ok(Command::Clean(_))));
    assert!(matches!(parsed("doctor"), Ok(Command::Doctor(_))));
    assert!(matches!(parsed("--allow @npm wrap --server x --dry-run mcp.json"), Ok(Command::Wrap(_))));
    assert!(matches!(parsed("unwrap -y mcp.json"), Ok(Command::Unwrap(_))));
    assert!(parsed("unwrap --allow @npm").is_err(), "it takes none of a run's options");
    assert!(matches!(parsed("update -y --allow-install @npm a"), Ok(Command::Update(_))));
    assert!(matches!(parsed("config check a"), Ok(Command::Config(_))));
    assert!(matches!(parsed("completions fish"), Ok(Command::Completions(_))));
    assert!(matches!(parsed("completions --shell fish"), Ok(Command::Completions(_))));
    assert!(parsed("completions").is_err() && parsed("completions fish --shell fish").is_err());
    assert!(matches!(parsed("man inspect"), Ok(Command::Man(_))));
    for name in super::NAMES {
        assert!(name == "help" || super::own_command(name).is_some(), "{name}");
    }
    assert_eq!(words("-- probe server"), ["probe", "server"]);
    assert_eq!(words("probe@latest server"), ["probe@latest", "server"]);
    assert_eq!(words("-p probe probe server"), ["probe", "server"]);
    assert_eq!(words("server probe"), ["server", "probe"]);
    assert!(parsed("--allow x list").is_err(), "an option that a command does not have is refused");
    assert!(matches!(parsed("wrap --dry-run"), Ok(Command::Wrap(_))));
    let said = parsed("--allow @npm uninstall cowsay").unwrap_err().to_string();
    assert!(
        said.contains("no command `uninstall`") && said.contains("\n  tip: npxc clean cowsay\n"),
        "{said}"
    );
    assert!(said.contains("npxc -- uninstall, or npxc uninstall@latest"), "{said}");
    assert_eq!(words("-- uninstall cowsay"), ["uninstall", "cowsay"]);
    assert_eq!(words("run@latest cowsay"), ["run@latest", "cowsay"]);
    assert_eq!(words("-p x exec cowsay"), ["exec", "cowsay"]);
}

#[test]
fn probe_and_inspect_know_each_others_names_for_a_call() {
    for line in ["--call echo --args {}", "--tool echo --arguments {}", "--call echo --arguments {}"] {
        assert!(matches!(parsed(&format!("probe {line} server")), Ok(Command::Probe(_))), "{line}");
        assert!(matches!(parsed(&format!("inspect {line} server")), Ok(Command::Inspect(_))), "{line}");
    }
}

#[test]
fn a_package_in_the_place_of_a_rule_is_not_installed_over() {
    for line in ["--allow cowsay hi", "probe --allow cowsay hi", "install hi --allow cowsay"] {
        let said = parsed(line).unwrap_err().to_string();
        assert!(said.contains("--allow took `cowsay` for its rule"), "{said}");
        assert!(
            said.contains("\n  tip: if that is the package, the rule is missing: npxc --allow RULE cowsay")
        );
        assert!(said.contains("\n  tip: if it is a host: --allow=cowsay, or --allow cowsay:443"), "{said}");
    }
    assert_eq!(words("--allow=cowsay hi"), ["hi"]);
    assert_eq!(words("server --allow cowsay hi"), ["server", "--allow", "cowsay", "hi"]);
    assert!(matches!(parsed("probe server --allow cowsay hi"), Ok(Command::Probe(_))));
}

#[test]
fn usage_mistakes_are_status_1_and_help_is_0() {
    for (line, what, hints) in [
        ("--bogus server", "unexpected argument '--bogus' found", &["`npxc --help` shows what there is"][..]),
        (
            "--allow",
            "a value is required for '--allow <RULE>' but none was supplied",
            &["write --allow RULE; `npxc --help` shows what there is"],
        ),
        (
            "--allwo x server",
            "unexpected argument '--allwo' found",
            &["did you mean `--allow`? `npxc --help` shows what there is"],
        ),
        (
            "clean --al",
            "unexpected argument '--al' found",
            &["did you mean `--all`? `npxc clean --help` shows what there is"],
        ),
        (
            "audit shwo",
            "unrecognized subcommand 'shwo'",
            &["did you mean `show`? `npxc audit --help` shows what there is"],
        ),
        (
            "inspect --timeout long server",
            "invalid value 'long' for '--timeout <SECONDS>': invalid digit found in string",
            &["`npxc inspect --help` shows what there is"],
        ),
        (
            "inspect server --root /x",
            "npxc inspect has no option `--root`",
            &["the package's own stand behind `--`: npxc inspect PACKAGE -- --root"],
        ),
        ("--verbose server", "unexpected argument '--verbose' found", &["write --log-level info"]),
        ("probe -q server", "unexpected argument '-q' found", &["write --log-level error"]),
        (
            "prob cowsay",
            "npxc has no command `prob`",
            &["npxc probe cowsay", "to run the package of that name: npxc -- prob, or npxc prob@latest"],
        ),
        (
            "uninstall cowsay",
            "npxc has no command `uninstall`",
            &[
                "npxc clean cowsay",
                "to run the package of that name: npxc -- uninstall, or npxc uninstall@latest",
            ],
        ),
    ] {
        let argv: Vec<OsString> =
            std::iter::once("npxc").chain(line.split(' ')).map(OsString::from).collect();
        let failure = super::usage::mistake(&super::parse(&argv).unwrap_err(), &argv);
        assert_eq!((failure.status, failure.message.as_str()), (ExitStatus::Config, what), "{line}");
        assert_eq!(failure.hints, hints, "{line}");
    }
    assert_eq!(parsed("--help").unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    assert_eq!(parsed("--version").unwrap_err().kind(), clap::error::ErrorKind::DisplayVersion);
    assert_eq!(parsed("-v").unwrap_err().to_string(), parsed("--version").unwrap_err().to_string());
    assert_eq!(parsed("help").unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    assert!(!parsed("help").unwrap_err().use_stderr());
    assert!(parsed("--allwo x server").unwrap_err().to_string().contains("--allow"));
    assert_eq!(ExitStatus::Package(7).code(), 7);
    let codes = [ExitStatus::Success, ExitStatus::Config, ExitStatus::Runtime, ExitStatus::Install];
    assert_eq!(codes.map(ExitStatus::code), [0, 1, 2, 3]);
    assert_eq!([ExitStatus::GuestDied, ExitStatus::Interrupted].map(ExitStatus::code), [4, 130]);
}

#[test]
fn help_is_the_help_that_was_asked_for() {
    let shown = |line: &str| {
        let error = parsed(line).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{line}");
        error.to_string()
    };
    for (line, same) in [
        ("help", "--help"),
        ("help help", "--help"),
        ("help --help", "--help"),
        ("help cowsay", "--help"),
        ("help probe", "probe --help"),
        ("help rebuild", "install --help"),
        ("help audit show", "audit show --help"),
        ("help clean --all", "clean --help"),
    ] {
        assert_eq!(shown(line), shown(same), "{line}");
        assert!(!shown(line).starts_with("error"), "{line}");
    }
    assert!(shown("help probe").contains("npxc probe"));
    assert!(shown("wrap --help").contains("Do not ask") && shown("unwrap --help").contains("Do not ask"));
}

#[test]
fn a_command_without_a_package_says_its_own_usage() {
    for line in ["probe", "install", "rebuild"] {
        let failure = super::execute(parsed(line).unwrap()).unwrap_err();
        assert_eq!((failure.status, failure.message.as_str()), (ExitStatus::Config, "no package is named"));
        assert!(failure.hints[0].starts_with(&format!("npxc {line} ")), "{:?}", failure.hints);
    }
}

#[test]
fn options_are_handed_on_as_they_were() {
    use clap::CommandFactory as _;
    let line = "npxc --allow a.example.com,b.example.com --deny c.example.com --ignore-scripts --env A=b --env C -yy \
                --memory 1G --package x --log-level debug --mount /tmp:rw -- y z";
    let first = Args::command().get_matches_from(line.split_whitespace());
    let again = super::options::again(&first);
    let words = std::iter::once(OsString::from("npxc")).chain(again.clone()).chain(["y".into()]);
    let second = Args::command().get_matches_from(words);
    assert_eq!(super::options::again(&second), again);
    let shown: Vec<_> = again.iter().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(
        shown[..3],
        ["--allow=a.example.com,b.example.com", "--deny=c.example.com", "--ignore-scripts"]
    );
    assert!(shown.contains(&"--env=A=b") && shown.contains(&"--yes") && shown.contains(&"--log-level=debug"));
}

#[test]
fn mistakes_point_at_the_character_and_say_what_to_write() {
    for (line, expected) in [
        (
            "--mount /a:RW x",
            "--mount: expected `ro`, `rw` or an absolute path inside the sandbox\n/a:RW\n   ^",
        ),
        (
            "--env 1A=secret x",
            "--env: a variable's name has letters, digits and `_` only, and no digit first\n1A\n^\nhint: for example --env API_TOKEN (npxc's own value) or --env LANG=C; in a file API_TOKEN = \"...\" below [env]",
        ),
        (
            "--memory lots x",
            "--memory: `lots`: expected a size\nhint: write a number with K, M or G, for example 512M or 2G",
        ),
        (
            "--runtime dokcer x",
            "--runtime: `dokcer`: expected one of auto, native, podman, docker, apple\nhint: did you mean `docker`?",
        ),
        (
            "--network allowlst x",
            "--network: `allowlst`: expected one of none, allowlist, observe, open\nhint: did you mean `allowlist`?",
        ),
        (
            "--allow a.example.com,@nmp x",
            "--allow: there is no preset @nmp\na.example.com,@nmp\n              ^\nhint: did you mean @npm?",
        ),
        (
            "--publish http x",
            "--publish: `http`: expected [IP:]PORT[:GUEST_PORT]\nhint: for example 8080, 8080:3000, 127.0.0.1:8080:3000 or [::1]:8080",
        ),
        (
            "--allow @npm --allow package-registry-mcp",
            "no package is named: --allow took `package-registry-mcp`\nhint: npxc --allow RULE package-registry-mcp",
        ),
        (
            "--deny @scope/server@1.2.3",
            "no package is named: --deny took `@scope/server@1.2.3`\nhint: npxc --deny RULE @scope/server@1.2.3",
        ),
        (
            "--allow api.example.com",
            "no package is named\nhint: npxc [OPTIONS] <package-spec> [ARGS...]; npxc --help shows the options",
        ),
        (
            "--allow @npm",
            "no package is named\nhint: npxc [OPTIONS] <package-spec> [ARGS...]; npxc --help shows the options",
        ),
        (
            "",
            "no package is named\nhint: npxc [OPTIONS] <package-spec> [ARGS...]; npxc --help shows the options",
        ),
    ] {
        assert_eq!(refused(line), expected, "{line}");
    }
    let rule = refused("--allow good.example.com,exa_mple..com x");
    assert!(
        rule.starts_with("--allow: ") && rule.contains("\ngood.example.com,exa_mple..com\n      "),
        "{rule}"
    );
    assert!(refused("--allow * x").contains('^'));
}

#[test]
fn secrets_are_not_in_what_is_printed_for_debugging() {
    let asked = asked("--env TOKEN=hunter2 x");
    assert!(!format!("{asked:?}").contains("hunter2"));
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    for text in ["https://u:secret@p.example", "ftp://u:secret@p.example", "http://u:secret@p.example:x"] {
        let args = run(&format!("npxc --proxy {text} x").replacen("npxc ", "", 1));
        let error = args.options.asked(&args.words).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("--proxy: ") && !shown.contains("secret"), "{shown}");
    }
}

/// Each variable means what the option of its name means, and takes what that takes.
#[test]
fn npxcs_variables_are_its_options() {
    use clap::CommandFactory as _;
    let command = Args::command();
    let options: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for name in crate::config::variables::NAMES {
        let option = name.trim_start_matches("NPXC_").to_ascii_lowercase().replace('_', "-");
        assert!(options.contains(&option.as_str()), "{name}");
    }
}
