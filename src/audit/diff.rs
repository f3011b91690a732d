//! What one run, or one version of a package, does that another did not. Pure: reports in, changes out.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::report::Report;

/// What is new, or gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What it is about.
    pub kind: Kind,
    /// Whether it was not there before; otherwise it is no longer there.
    pub new: bool,
    /// The destination, the file, the package, the rule.
    pub subject: String,
}

/// What a change is about, in the order of its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A destination that was reached.
    Destination,
    /// A destination that was refused.
    Denial,
    /// A package of the tree with install scripts that ran.
    Script,
    /// A file that was copied for the package.
    FileRead,
    /// A file that the package wrote.
    FileWritten,
    /// A file that was named and not shared.
    FileRefused,
    /// A mount, a variable, a rule, a mode: what it was granted.
    Grant,
    /// The package itself: its version, its integrity.
    Package,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Destination,
        Self::Denial,
        Self::Script,
        Self::FileRead,
        Self::FileWritten,
        Self::FileRefused,
        Self::Grant,
        Self::Package,
    ];

    /// Its identifier, for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Denial => "denial",
            Self::Script => "script",
            Self::FileRead => "file-read",
            Self::FileWritten => "file-written",
            Self::FileRefused => "file-refused",
            Self::Grant => "grant",
            Self::Package => "package",
        }
    }

    /// What such a subject was, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Destination => "reached",
            Self::Denial => "was denied",
            Self::Script => "ran install scripts of",
            Self::FileRead => "was given to read",
            Self::FileWritten => "wrote",
            Self::FileRefused => "named and was refused",
            Self::Grant => "was granted",
            Self::Package => "is",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.new { "new" } else { "gone" };
        write!(f, "{when}: {} {}", self.kind.words(), self.subject)
    }
}

/// What is in the reports `after` and in none of those `before`, then what is only in those. Sorted by weight.
pub fn diff(before: &[Report], after: &[Report]) -> Vec<Change> {
    let (before, after) = (subjects(before), subjects(after));
    let change = |new: bool| {
        move |(kind, subject): &(Kind, String)| Change { kind: *kind, new, subject: subject.clone() }
    };
    let new = after.difference(&before).map(change(true));
    new.chain(before.difference(&after).map(change(false))).collect()
}

fn subjects(reports: &[Report]) -> BTreeSet<(Kind, String)> {
    let mut all = BTreeSet::new();
    for report in reports {
        let mut add = |kind: Kind, subject: String| all.insert((kind, subject));
        for row in &report.reached {
            add(Kind::Destination, format!("{}{}", row.destination(), during(&row.purpose)));
        }
        // What a summary names is one of many, whichever came first.
        for row in report.denied.iter().filter(|row| !row.example) {
            add(Kind::Denial, format!("{} ({}){}", row.destination, row.code, during(&row.purpose)));
        }
        for (kind, paths) in [
            (Kind::FileRead, &report.shared),
            (Kind::FileWritten, &report.written),
            (Kind::FileRefused, &report.refused),
        ] {
            for path in paths {
                add(kind, path.clone());
            }
        }
        for run in report.runs.iter().filter(|run| run.purpose == "run") {
            for script in &run.scripts {
                add(Kind::Script, script.clone());
            }
            for (what, values) in [
                ("--allow", &run.allow),
                ("--allow-private", &run.allow_private),
                ("--mount", &run.mounts),
                ("--env", &run.env),
            ] {
                for value in values {
                    add(Kind::Grant, format!("{what} {value}"));
                }
            }
            add(Kind::Grant, format!("--network {}", run.network));
            let integrity = run.integrity.as_ref().map_or_else(String::new, |hash| format!(" ({hash})"));
            add(Kind::Package, format!("{}{integrity}", run.package));
        }
    }
    all
}

/// In which step, where it is not the run itself.
fn during(purpose: &str) -> &'static str {
    match purpose {
        "fetch" => ", while it was downloaded",
        "build" => ", in its install scripts",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Denied, Reached, Run};
    use super::*;

    fn report(version: &str, hosts: &[&str]) -> Report {
        let reached = |host: &&str| Reached {
            purpose: "run".into(),
            host: (*host).to_owned(),
            port: 443,
            ..Reached::default()
        };
        let run = Run {
            purpose: "run".into(),
            package: format!("p@{version}"),
            network: "allowlist".into(),
            ..Run::default()
        };
        Report { runs: vec![run], reached: hosts.iter().map(reached).collect(), ..Report::default() }
    }

    #[test]
    fn what_is_new_comes_before_what_is_gone() {
        let before = [report("1.0.0", &["a.example.com"]), report("1.0.0", &["b.example.com"])];
        let mut after = report("1.1.0", &["b.example.com", "c.example.com"]);
        after.shared.insert("/w/notes.txt".into());
        after.runs[0].scripts = vec!["native@2.0.0".into()];
        after.runs[0].env = vec!["TOKEN".into()];
        after.denied = vec![
            Denied {
                destination: "d.example.com".into(),
                code: "name".into(),
                purpose: "build".into(),
                ..Denied::default()
            },
            Denied { destination: "e.example.com".into(), example: true, ..Denied::default() },
        ];
        let said: Vec<_> = diff(&before, &[after.clone()]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "new: reached c.example.com:443",
                "new: was denied d.example.com (name), in its install scripts",
                "new: ran install scripts of native@2.0.0",
                "new: was given to read /w/notes.txt",
                "new: was granted --env TOKEN",
                "new: is p@1.1.0",
                "gone: reached a.example.com:443",
                "gone: is p@1.0.0",
            ]
        );
        assert_eq!(diff(&[after.clone()], &[after]), []);
    }
}
