#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::etc::environment;

#[test]
fn mounts_below_a_directory_are_seen() {
    let info =
        "22 1 0:20 / /proc rw - proc proc rw\n30 1 8:1 / /data/with\\040space/x rw - ext4 /dev/sda rw\n";
    assert!(has_mounts_below(Path::new("/data"), info));
    assert!(has_mounts_below(Path::new("/data/with space"), info));
    assert!(!has_mounts_below(Path::new("/data/with space/x"), info));
    assert!(!has_mounts_below(Path::new("/dat"), info));
    assert!(!has_mounts_below(Path::new("/proc"), info));
}

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
