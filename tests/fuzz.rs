//! Replays the committed fuzz corpora through the fuzz targets' own functions, on a stable toolchain.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/targets.rs"]
mod targets;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_seed_of_every_corpus_passes() {
    for (name, target) in targets::TARGETS {
        let corpus = fuzz().join("corpus").join(name);
        let seeds = names(&corpus);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let data = fs::read(corpus.join(&seed)).unwrap();
            assert!(std::panic::catch_unwind(|| target(&data)).is_ok(), "target {name}, seed {seed}");
        }
    }
}

#[test]
fn targets_corpora_and_binaries_are_the_same_set() {
    let targets: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), targets::TARGETS.len(), "a name stands twice");
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let files = names(&fuzz().join("fuzz_targets"));
    let stems: BTreeSet<String> =
        files.iter().filter_map(|file| file.strip_suffix(".rs")).map(str::to_owned).collect();
    assert_eq!(stems, targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &targets {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "no [[bin]] for {name}");
    }
}
