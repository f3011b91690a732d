//! `--probe`: starts each server that is to be wrapped, and offers rules for what it was denied. Both are somebody's wish:
//! servers are started after the consent to everything else they get, and what they tried to reach is asked about again.

use super::{Args, Work, agreed, decided, judge, shown};
use crate::cli::probe;
use crate::cli::say::{self, Stderr};
use crate::cli::wrap::judge::{Change, Verdict};
use crate::clients::servers::{Server, Variable};
use crate::clients::variables;
use crate::exit::{ExitStatus, Failure};
use crate::package::{HostEnv, Progress as _};

/// Probes every server, and asks whether they shall have rules for what they were denied. Without consent they stay as they
/// were decided.
///
/// # Errors
/// An interrupt, and only that ends it early.
pub(super) fn offer(work: &mut [Work], args: &Args, host: &HostEnv, voice: Stderr) -> Result<(), Failure> {
    let mut before: Vec<(usize, usize, Verdict)> = Vec::new();
    for (file, work) in work.iter_mut().enumerate() {
        for index in 0..work.verdicts.len() {
            let (server, verdict) = &work.verdicts[index];
            let Verdict::Wrap(change) = verdict else { continue };
            let label = server.label();
            if change.again {
                voice.say(&format!("{label} is npxc already, and is not probed: npxc probe PACKAGE"));
                continue;
            }
            let rules = match probed(server, change, voice) {
                Ok(rules) if rules.is_empty() => {
                    voice.say(&format!("{label} was denied nothing while it listed its tools"));
                    continue;
                }
                Ok(rules) => rules,
                Err(failure) if failure.status == ExitStatus::Interrupted => return Err(failure),
                Err(failure) => {
                    let what = failure.message.lines().next().unwrap_or_default();
                    voice.warning(&format!("the probe of {label} failed: {what}"));
                    voice.hint("npxc probe PACKAGE says more");
                    continue;
                }
            };
            let mut options = args.again.clone();
            options.extend(rules.iter().map(|rule| format!("--allow={rule}")));
            let rules = rules.join(", ");
            match decided(&work.read, server, &work.command, (&options, true), host) {
                Verdict::Wrap(mut change) => {
                    change.notes = vec![format!("when it was started it tried to reach {rules}")];
                    let was = std::mem::replace(&mut work.verdicts[index].1, Verdict::Wrap(change));
                    before.push((file, index, was));
                }
                Verdict::Leave(why) => voice.warning(&format!("{label} cannot have {rules}: {why}")),
                Verdict::Already(_) => {}
            }
        }
    }
    if before.is_empty() {
        return Ok(());
    }
    let offered = work.iter().enumerate().filter(|(file, _)| before.iter().any(|(known, ..)| known == file));
    say::print(&offered.map(|(_, work)| shown(work)).collect::<String>());
    if !agreed(false, "allow what they tried to reach, too")? {
        voice.say("they are wrapped without these rules");
        for (file, index, was) in before {
            work[file].verdicts[index].1 = was;
        }
    }
    Ok(())
}

/// The rules without which a server was denied something when it was started.
fn probed(server: &Server, change: &Change, voice: Stderr) -> Result<Vec<String>, Failure> {
    let open = |one: &&Variable| {
        one.value.as_ref().and_then(|value| value.0.to_str()).is_some_and(variables::is_open)
    };
    let open: Vec<&str> = change.env.iter().filter(open).map(|one| one.name.as_str()).collect();
    let label = server.label();
    if open.is_empty() {
        voice.say(&format!("probing {label}"));
    } else {
        voice.say(&format!("probing {label}, without the client's value of {}", open.join(", ")));
    }
    let env = change.env.iter();
    let env = env.filter_map(|one| Some((one.name.as_str(), one.value.as_ref()?.0.to_str()?))).collect();
    let args = judge::run(&change.words).map_err(|what| Failure::new(ExitStatus::Config, what))?;
    probe::denied(&args, &change.words, &env, voice)
}
