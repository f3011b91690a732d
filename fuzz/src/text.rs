//! Targets of what users write: rules, names, package specs.

use npxc::package::{PackageName, PackageSpec};
use npxc::policy::{Destination, HostName, Policy, PolicySpec, Protocol, Request, Rule};

/// Rules: no text panics; an accepted one prints as a rule that is equal; an error points into the text.
pub(crate) fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = Rule::parse_list(text) {
        assert!(error.column() >= 1);
        let _ = (error.to_string(), error.pointer());
    }
    match text.parse::<Rule>() {
        Ok(rule) => {
            let canonical = rule.to_string();
            let again: Rule = canonical.parse().expect("the canonical form parses");
            assert_eq!(again, rule);
            assert_eq!(again.to_string(), canonical, "canonical twice is canonical once");
            assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Err(error) => {
            assert!(error.column() <= text.chars().count() + 1, "{error}");
            assert!(!error.to_string().chars().any(char::is_control));
            assert!(!error.pointer().replacen('\n', "", 1).chars().any(char::is_control));
        }
    }
}

/// Names: no text panics; an accepted one is canonical, is not an address, and equals its other spellings; what
/// is allowed by that one rule is that name and nothing else.
pub(crate) fn hostname(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let name = match text.parse::<HostName>() {
        Ok(name) => name,
        Err(error) => {
            assert!(
                HostName::from_ascii(text).is_err(),
                "the strict form takes no more than the lenient one"
            );
            assert!(!error.to_string().chars().any(char::is_control));
            return;
        }
    };
    let canonical = name.as_str();
    assert!(canonical.len() <= 253 && !canonical.ends_with('.'));
    assert!(canonical.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
    assert!(canonical.parse::<std::net::IpAddr>().is_err());
    for spelling in [canonical.to_owned(), canonical.to_ascii_uppercase(), format!("{canonical}.")] {
        assert_eq!(HostName::from_ascii(&spelling).as_ref(), Ok(&name));
    }
    let Ok(rule) = canonical.parse::<Rule>() else {
        assert_eq!(canonical, "localhost", "the one name that is no rule");
        return;
    };
    let policy = Policy::new(PolicySpec {
        mode: npxc::policy::Mode::Allowlist,
        allow: vec![rule],
        ..PolicySpec::default()
    })
    .expect("one rule is a policy");
    let permitted = |name: HostName| {
        let request = Request { protocol: Protocol::Tcp, destination: Destination::Name(name), port: 443 };
        policy.decide(&request).permit().is_ok()
    };
    assert!(permitted(name.clone()));
    for other in [format!("evil{canonical}"), format!("a.{canonical}"), format!("{canonical}.evil")] {
        if let Ok(other) = other.parse::<HostName>() {
            assert!(!permitted(other));
        }
    }
}

/// Package specs: no text panics; an accepted one prints as a spec that prints the same, is no option to npm, and
/// its name is one component of a path that no other name shares.
pub(crate) fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let spec = match text.parse::<PackageSpec>() {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control));
            let _ = error.hint();
            return;
        }
    };
    let canonical = spec.to_string();
    assert!(!canonical.starts_with('-') && !canonical.chars().any(char::is_control));
    let again: PackageSpec = canonical.parse().expect("what is written is read");
    assert_eq!(again.to_string(), canonical);
    assert_eq!(again.name(), spec.name());
    if let Some(name) = spec.name() {
        let component = name.path_component();
        assert!(component.len() <= 214 && !component.contains('/') && !component.starts_with('.'));
        assert_eq!(component, component.to_ascii_lowercase());
        // The component of one name is never another name, except where it is that name itself.
        if let Ok(other) = component.parse::<PackageName>() {
            assert_eq!(&other, name);
        }
    }
}
