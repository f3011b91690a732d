#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn spec(text: &str) -> PackageSpec {
    text.parse().unwrap()
}

fn registry(name: &str, version: VersionSpec) -> PackageSpec {
    PackageSpec::Registry { name: name.parse().unwrap(), version }
}

#[test]
fn what_npx_takes() {
    use VersionSpec::{Default, Exact, Range, Tag};
    assert_eq!(spec("foo"), registry("foo", Default));
    assert_eq!(spec("foo@"), registry("foo", Default));
    assert_eq!(spec("@s/foo"), registry("@s/foo", Default));
    assert_eq!(spec("foo@1.2.3"), registry("foo", Exact("1.2.3".into())));
    assert_eq!(spec("foo@v1.2.3"), registry("foo", Exact("1.2.3".into())));
    assert_eq!(spec("@s/foo@1.2.3-rc.1+b"), registry("@s/foo", Exact("1.2.3-rc.1+b".into())));
    assert_eq!(spec("foo@>=1 <2"), registry("foo", Range(">=1 <2".into())));
    assert_eq!(spec("foo@^1.2 || 3.x"), registry("foo", Range("^1.2 || 3.x".into())));
    assert_eq!(spec("foo@1 - 2.5"), registry("foo", Range("1 - 2.5".into())));
    assert_eq!(spec("foo@*"), registry("foo", Range("*".into())));
    assert_eq!(spec("foo@1"), registry("foo", Range("1".into())));
    assert_eq!(spec("foo@next"), registry("foo", Tag("next".into())));
    assert_eq!(spec("foo@2026.8.31"), registry("foo", Exact("2026.8.31".into())));
}

#[test]
fn an_empty_version_does_not_make_a_name_of_a_path() {
    assert!(matches!(spec("~@"), PackageSpec::Directory(_)));
    assert!(matches!(spec("x.tgz@"), PackageSpec::Tarball(_)));
    assert!(matches!(spec("x.tar.gz@ "), PackageSpec::Tarball(_)));
    assert_eq!(spec("x.tgz@1.0.0"), registry("x.tgz", VersionSpec::Exact("1.0.0".into())));
}

#[test]
fn local_ones() {
    for text in ["./dir", "../dir", "/abs/dir", ".", "..", "~/dir", "file:dir", "./@s/x"] {
        assert!(matches!(spec(text), PackageSpec::Directory(_)), "{text}");
    }
    for text in ["./x.tgz", "x.tgz", "/a/x.tar.gz", "file:x.tgz", "./x.TGZ", "file:///a/x.tgz"] {
        assert!(matches!(spec(text), PackageSpec::Tarball(_)), "{text}");
    }
    let absolute = |text: &str| match spec(text) {
        PackageSpec::Directory(path) | PackageSpec::Tarball(path) => {
            path.absolute(Path::new("/w/d"), Path::new("/home/u"))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(absolute("../dir/."), Path::new("/w/dir"));
    assert_eq!(absolute("~/x.tgz"), Path::new("/home/u/x.tgz"));
    assert_eq!(absolute("file:///a/../b"), Path::new("/b"));
    assert_eq!(absolute("."), Path::new("/w/d"));
}

#[test]
fn aliases() {
    assert_eq!(
        spec("a@npm:@s/b@1.0.0"),
        PackageSpec::Alias {
            alias: "a".parse().unwrap(),
            name: "@s/b".parse().unwrap(),
            version: VersionSpec::Exact("1.0.0".into()),
        }
    );
    assert_eq!(spec("a@npm:@s/b@1.0.0").to_string(), "a@npm:@s/b@1.0.0");
    assert_eq!("a@npm:./x".parse::<PackageSpec>().unwrap_err().problem, SpecProblem::Alias);
    assert_eq!("a@npm:b@npm:c".parse::<PackageSpec>().unwrap_err().problem, SpecProblem::Alias);
}

#[test]
fn what_is_refused_says_what_to_do() {
    let problem = |text: &str| text.parse::<PackageSpec>().unwrap_err();
    for text in [
        "git+ssh://git@example.com/a.git",
        "git@example.com:a/b.git",
        "github:a/b",
        "git://example.com/x",
        "foo@git+https://example.com/x.git",
    ] {
        assert_eq!(problem(text).problem, SpecProblem::Git, "{text}");
    }
    for text in ["https://example.com/x.tgz", "foo@http://example.com/x.tgz"] {
        assert_eq!(problem(text).problem, SpecProblem::Url, "{text}");
        assert!(problem(text).hint().unwrap().contains(".tgz"));
    }
    for text in ["user/repo", "user/repo#main", "dir/sub", "foo@user/repo"] {
        assert_eq!(problem(text).problem, SpecProblem::Hosted, "{text}");
    }
    assert_eq!(problem("foo@./x").problem, SpecProblem::NamedPath);
    assert_eq!(problem("--allow").problem, SpecProblem::Option);
    assert_eq!(problem("foo@1 ;rm").problem, SpecProblem::Version);
    assert_eq!(problem("foo@$(x)").problem, SpecProblem::Version);
    assert_eq!(problem("foo\0").problem, SpecProblem::Control);
    assert!(matches!(problem("@s/../x").problem, SpecProblem::Name(_)));
}

#[test]
fn a_default_version_is_only_a_default() {
    let pin = VersionSpec::Exact("1.0.0".into());
    assert_eq!(spec("foo").or_version(pin.clone()), registry("foo", pin.clone()));
    assert_eq!(spec("foo@2.0.0").or_version(pin), spec("foo@2.0.0"));
}

proptest! {
    #[test]
    fn any_text_parses_or_fails(text in "\\PC{0,60}") {
        let _ = text.parse::<PackageSpec>();
    }

    #[test]
    fn what_parses_is_written_the_same_way_again(
        text in "(@[a-c]{1,2}/)?[a-cA-C.-]{0,3}(@[v^~>=<0-9. |x*-]{0,8})?|[./~]{0,3}[a-c/]{0,4}(\\.tgz)?",
    ) {
        if let Ok(first) = text.parse::<PackageSpec>() {
            let again: PackageSpec = first.to_string().parse().unwrap();
            prop_assert_eq!(&again, &first.clone().normal());
            prop_assert!(!first.to_string().starts_with('-'));
        }
    }
}

#[test]
fn a_path_behind_a_name_is_refused_with_spaces_around_it_too() {
    // Found by property test: it was taken for a range, which is written without the space.
    assert!("A@~ ".parse::<PackageSpec>().is_err());
    assert!("a@ ./x".parse::<PackageSpec>().is_err());
}

impl PackageSpec {
    /// A relative path gets its `./` when it is written.
    fn normal(self) -> Self {
        let dotted = |path: LocalPath| {
            if is_path(&path.0) { path } else { LocalPath(format!("./{}", path.0)) }
        };
        match self {
            Self::Directory(path) => Self::Directory(dotted(path)),
            Self::Tarball(path) => Self::Tarball(dotted(path)),
            other => other,
        }
    }
}
