#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::engine::{CanLimit, Manner};
use crate::runtime::etc::environment;

#[test]
fn the_workload_is_who_owns_the_files_where_that_can_be() {
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let facts = |version: &str, rootless| Facts { version: version.into(), rootless, ..Facts::default() };
    assert_eq!(workload(Kind::Podman, &facts("4.3.1", true)), (1000, 1000));
    assert_eq!(workload(Kind::Podman, &facts("4.2.0", true)), own);
    assert_eq!(workload(Kind::Docker, &facts("28.0.0", true)), (0, 0));
    let docker = workload(Kind::Docker, &facts("28.0.0", false));
    assert_eq!(docker, if own.0 == 0 { (1000, 1000) } else { own });
}

#[test]
fn the_environment_is_complete() {
    let given = [("PATH".into(), "/x".into()), ("A".into(), "b".into())];
    let all = environment(&given, Some("/image"));
    assert_eq!(all[0].1, "/x");
    assert_eq!(all.iter().filter(|(name, _)| name == "PATH").count(), 1);
    assert!(environment(&[], Some("/image")).contains(&("PATH".into(), "/image".into())));
}

#[test]
fn automatic_means_wireguard_unless_it_is_known_not_to_work() {
    let mut warnings = Vec::new();
    let facts = |rootless| Facts { version: "28.0.0".into(), rootless, ..Facts::default() };
    assert!(wants_wireguard(LinkChoice::Auto, Kind::Docker, &facts(false), &mut warnings));
    assert!(warnings.is_empty());
    assert!(!wants_wireguard(LinkChoice::Auto, Kind::Docker, &facts(true), &mut warnings));
    assert_eq!(warnings.len(), 1);
    // Who asks for it gets it, or an error.
    assert!(wants_wireguard(LinkChoice::Wireguard, Kind::Docker, &facts(true), &mut warnings));
}

fn known(manner: Manner) -> Known {
    let limits = CanLimit { memory: true, pids: true, cpus: true };
    Known { facts: Facts { limits, ..Facts::default() }, manner }
}

#[test]
fn limits_that_were_given_up_are_said_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(Kind::Podman, directory.path().to_owned());
    let limits = Limits { chosen: false, ..Limits::default() };
    assert!(engine.without_limits(&known(Manner::default()), &limits).unwrap().is_empty());
    for manner in
        [Manner { unlimited: true, ..Manner::default() }, Manner { no_cgroups: true, ..Manner::default() }]
    {
        let warnings = engine.without_limits(&known(manner), &limits).unwrap();
        assert!(warnings[0].contains("memory, processes"), "{warnings:?}");
    }
}

#[test]
fn only_the_engines_own_errors_are_refusals() {
    use std::os::unix::process::ExitStatusExt;
    let refuses = |raw| is_refusal(Some(std::process::ExitStatus::from_raw(raw)));
    assert!([125, 126, 127].into_iter().all(|code| refuses(code << 8)));
    assert!(![0, 1, 124, 128, 137].into_iter().any(|code| refuses(code << 8)));
    assert!(!refuses(9) && !is_refusal(None));
}
