//! Says why a step failed and what would help, out of npm's output and the denials of the run. Pure but for a look at
//! which tools the host has.

use std::path::Path;

use super::super::error::{InstallFailure, PackageError};
use super::super::step::StepOutcome;
use crate::audit::Event;
use crate::exit::FULL_DISK;

/// Most lines of output that an error shows.
const MAX_LINES: usize = 12;
/// Most characters of such a line.
const MAX_LINE: usize = 400;
/// What npm says of a registry that does not answer.
const UNREACHED: [&str; 5] = ["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN"];
/// Most rules that a hint names.
const MAX_RULES: usize = 4;

pub(super) fn of_fetch(package: &str, outcome: &StepOutcome) -> PackageError {
    let output = clean(outcome);
    let mut hints = not_proxied(&outcome.denials);
    hints.extend(denied(&outcome.denials));
    let code = output.iter().find_map(|line| npm_error(line)?.strip_prefix("code ").map(str::trim));
    hints.extend(
        match code {
            Some("E404") => {
                Some("check the name; a private package needs its registry and token in ~/.npmrc")
            }
            Some("E401" | "E403" | "ENEEDAUTH") => {
                Some("the registry wants other credentials; `npm whoami` shows whether yours work")
            }
            Some("ENOSPC") => Some(FULL_DISK),
            Some("ETARGET") => Some("the registry has no such version; `npm view NAME versions` lists them"),
            Some(
                "SELF_SIGNED_CERT_IN_CHAIN"
                | "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
                | "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
                | "DEPTH_ZERO_SELF_SIGNED_CERT",
            ) => {
                Some("set NODE_EXTRA_CA_CERTS or npm's cafile to the certificate that signs your registry's")
            }
            Some(_) | None => None,
        }
        .map(str::to_owned),
    );
    if UNREACHED.iter().any(|code| output.iter().any(|line| line.contains(code))) {
        hints.push(
            "the registry cannot be reached: `npm config get registry` names it, `npxc doctor` tries the way there, and behind \
             a proxy HTTPS_PROXY is needed"
                .to_owned(),
        );
    }
    if hints.is_empty() {
        hints.push("`npm install` in an empty directory shows whether it is the package".to_owned());
    }
    PackageError::Install(Box::new(InstallFailure {
        what: "download".to_owned(),
        package: package.to_owned(),
        ended: ended(outcome),
        output: excerpt(&output),
        hints,
    }))
}

pub(super) fn of_build(request: &str, outcome: &StepOutcome, has_headers: bool) -> PackageError {
    let output = clean(outcome);
    let after =
        |word: &str| output.iter().find_map(|line| npm_error(line)?.strip_prefix(word).map(str::trim));
    let package = after("path ")
        .map(super::lock::name_of)
        .filter(|name| name.parse::<super::super::name::PackageName>().is_ok())
        .unwrap_or(request);
    let script = after("command sh -c ");
    let mut hints = not_proxied(&outcome.denials);
    hints.extend(denied(&outcome.denials));
    if output.iter().any(|line| line.contains("gyp")) {
        hints.extend(missing_tools(Path::new("/usr/bin")));
        if !has_headers {
            hints.push(
                "node-gyp needs the headers of this node: a node from nodejs.org's tarballs has them, on Debian the package libnode-dev; \
                 or say where they are with nodedir=PATH in ~/.npmrc"
                    .to_owned(),
            );
        }
    }
    hints.push("--ignore-scripts leaves install scripts out, if the package works without".to_owned());
    PackageError::Install(Box::new(InstallFailure {
        what: script.map_or_else(|| "an install script".to_owned(), |s| format!("install script {s:?}")),
        package: package.to_owned(),
        ended: ended(outcome),
        output: excerpt(&output),
        hints,
    }))
}

/// What the proxy did not do: npm only saw a refused connection.
fn not_proxied(denials: &[Event]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for event in denials {
        if let Event::FlowClose { how, hint: Some(hint), .. } = event {
            let words = format!("a connection was {how}: {hint}");
            if !said.contains(&words) {
                said.push(words);
            }
        }
    }
    said
}

/// The options that would have let through what was denied.
fn denied(denials: &[Event]) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for event in denials {
        let hint = event.denial().and_then(|denial| denial.hint);
        let rule = hint.and_then(|hint| hint.strip_prefix("--allow ")).map(str::to_owned);
        if let Some(rule) = rule.filter(|rule| !rule.chars().any(char::is_control) && !rules.contains(rule)) {
            rules.push(rule);
        }
    }
    let more = rules.len().saturating_sub(MAX_RULES);
    rules.truncate(MAX_RULES);
    if rules.is_empty() {
        return Vec::new();
    }
    let options: Vec<String> = rules.iter().map(|rule| format!("--allow-install {rule}")).collect();
    let more = if more > 0 { format!(" ({more} more in the audit log)") } else { String::new() };
    vec![format!("it tried to reach the network; to let it: {}{more}", options.join(" "))]
}

fn missing_tools(bin: &Path) -> Option<String> {
    let any = |names: &[&str]| names.iter().any(|name| bin.join(name).exists());
    let needed: [(&[&str], &str); 3] =
        [(&["python3"], "python3"), (&["make", "gmake"], "make"), (&["g++", "c++", "clang++"], "g++")];
    let missing: Vec<&str> = needed.iter().filter(|(names, _)| !any(names)).map(|(_, name)| *name).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "it is compiled with node-gyp, which needs {} in {} (on Debian and Ubuntu: apt install python3 make g++)",
            missing.join(", "),
            bin.display()
        )
    })
}

/// `npm error x` or, before npm 10, `npm ERR! x`.
fn npm_error(line: &str) -> Option<&str> {
    line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "))
}

fn ended(outcome: &StepOutcome) -> String {
    if outcome.ended.is_empty() { "without success".to_owned() } else { outcome.ended.clone() }
}

/// The lines of both streams that may go to a terminal: no escape sequences, no control characters.
fn clean(outcome: &StepOutcome) -> Vec<String> {
    [&outcome.stdout_tail, &outcome.stderr_tail]
        .into_iter()
        .flat_map(|text| text.lines())
        .map(plain)
        .filter(|line| {
            let line = npm_error(line).unwrap_or(line);
            !line.trim().is_empty()
                && !line.starts_with("npm warn Unknown")
                && !line.contains("A complete log of this run")
                && !line.contains("debug-0.log")
                && !line.starts_with("Log files were not written")
        })
        .collect()
}

fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // A CSI sequence ends with a letter; anything else after ESC is one character.
            if chars.next_if_eq(&'[').is_some() {
                while chars.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            }
            chars.next();
        } else if c == '\t' {
            out.push(' ');
        } else if !c.is_control() && !is_invisible(c) {
            out.push(c);
        }
        if out.len() >= MAX_LINE {
            break;
        }
    }
    out
}

/// Characters that change the order of what is shown, or hide it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn excerpt(lines: &[String]) -> Option<String> {
    let last = &lines[lines.len().saturating_sub(MAX_LINES)..];
    (!last.is_empty()).then(|| last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn outcome(stderr: &str) -> StepOutcome {
        StepOutcome { ended: "exit status 1".into(), stderr_tail: stderr.into(), ..StepOutcome::default() }
    }

    fn deny(hint: &str) -> Event {
        Event::Dns {
            name: "x".into(),
            kind: "A".into(),
            answer: "nxdomain".into(),
            addresses: vec![],
            reason: Some("no rule".into()),
            hint: Some(hint.into()),
            calls: Vec::new(),
        }
    }

    #[test]
    fn a_failed_script_is_named_with_the_rule_that_helps() {
        let mut outcome = outcome(
            "> native@1.0.0 install\n> node-gyp rebuild\n\x1b[31mgyp ERR! find Python\x1b[0m\n\
             npm error code 1\nnpm error path /opt/npxc/package/node_modules/@s/native\n\
             npm error command failed\nnpm error command sh -c node-gyp rebuild\nnpm error A complete log of this run ...",
        );
        outcome.denials =
            vec![deny("--allow a.example"), deny("--allow a.example"), deny("--allow b.example:443")];
        let error = of_build("some-server", &outcome, false);
        let text = error.to_string();
        assert!(text.contains("of @s/native failed (exit status 1)"), "{text}");
        assert!(
            text.contains("gyp ERR! find Python") && !text.contains('\x1b') && !text.contains("complete log")
        );
        let hints = error.hints();
        assert!(hints[0].ends_with("--allow-install a.example --allow-install b.example:443"), "{hints:?}");
        assert!(hints.iter().any(|hint| hint.contains("libnode-dev")));
    }

    #[test]
    fn both_of_npms_notations() {
        for word in ["npm error", "npm ERR!"] {
            let error = of_fetch("p", &outcome(&format!("{word} code E404\n{word} 404 Not Found")));
            assert!(error.hints()[0].contains("check the name"));
        }
        // Whatever it was, there is something to try.
        let hints = |output: &str| of_fetch("p", &outcome(output)).hints();
        assert!(hints("").len() == 1 && hints("")[0].contains("in an empty directory"));
        assert!(hints("npm error   code: 'ECONNREFUSED',")[0].contains("the registry cannot be reached"));
        assert!(hints("npm error code ENOSPC")[0].contains("the disk is full"));
    }

    #[test]
    fn missing_tools_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("make"), "").unwrap();
        let hint = missing_tools(dir.path()).unwrap();
        assert!(hint.contains("needs python3, g++ in"), "{hint}");
        for name in ["python3", "c++"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(missing_tools(dir.path()), None);
    }

    #[test]
    fn hostile_output_does_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\x1b]0;t\x07c\u{202e}d\re"), "ab0;tcde");
        assert_eq!(plain(&"x".repeat(10_000)).len(), MAX_LINE);
    }
}
