//! `npxc doctor`: the real code, step by step, with nothing started at the end.

use std::os::fd::{AsFd, OwnedFd};

use npxc_guest::spec::{Place, Purpose, Report, Spec};
use npxc_guest::step::Step;

use super::Native;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::report::{Outcome, StepReport};
use crate::runtime::{Limits, RuntimeError, explain};

impl Native {
    /// Tries every step of building a sandbox. Blocks for some milliseconds.
    pub fn check(&self) -> Vec<StepReport> {
        let mut reports = Vec::new();
        if let Err(error) = self.run_checks(&mut reports) {
            let outcome = Outcome::Failed { why: error.to_string(), hint: error.hint() };
            reports.push(StepReport { step: explain::name(Step::Start), outcome });
        }
        reports.push(limits());
        reports
    }

    fn run_checks(&self, reports: &mut Vec<StepReport>) -> Result<(), RuntimeError> {
        let spec = Spec {
            purpose: Purpose::Check,
            command: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            mounts: Vec::new(),
            files: Vec::new(),
            scratch: 1 << 20,
            place: Place::Namespaces,
        };
        let mut process = self.helper()?;
        let null: OwnedFd = std::fs::File::open("/dev/null").map_err(RuntimeError::io("/dev/null"))?.into();
        let _ = process.control.channel.send(&spec, &[null.as_fd(); 3]);
        while let Some(report) =
            process.control.channel.receive().map_err(RuntimeError::io("waiting for the sandbox"))?
        {
            reports.extend(step_report(report));
        }
        Ok(())
    }
}

/// Tries every step of building a sandbox with this program; see [`Native::check`].
pub(in crate::runtime) fn check() -> Vec<StepReport> {
    Native::new().check()
}

fn step_report(report: Report) -> Option<StepReport> {
    match report {
        Report::Passed { step, note } => {
            Some(StepReport { step: explain::name(step), outcome: Outcome::Passed(note) })
        }
        Report::Lacking { step, why } => {
            Some(StepReport { step: explain::name(step), outcome: Outcome::Warning { why, hint: None } })
        }
        Report::Failed(failure) => {
            let why = explain::sentence(&failure);
            Some(StepReport {
                step: explain::name(failure.step),
                outcome: Outcome::Failed { why, hint: explain::hint(&failure) },
            })
        }
        Report::Forked(_) | Report::Ready(_) | Report::Limit(_) | Report::Ended { .. } => None,
    }
}

fn limits() -> StepReport {
    let held = Cgroup::create(&Limits { cpus: Some(1.0), ..Limits::default() }, None).held();
    let missing: Vec<&str> = [(held.memory, "memory"), (held.pids, "pids"), (held.cpu, "cpu")]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
    let outcome = if missing.is_empty() {
        Outcome::Passed("memory, pids, cpu".into())
    } else {
        Outcome::Warning {
            why: format!(
                "npxc may not limit {} by a cgroup; it watches over memory and processes itself",
                missing.join(", ")
            ),
            hint: Some(super::own_cgroup(super::has_systemd()).into()),
        }
    };
    StepReport { step: "cgroup", outcome }
}
