//! What `probe` and `inspect` say alike of a server that they are to ask, and of what is asked of it.

use serde_json::{Map, Value};

use crate::exit::{ExitStatus, Failure};

/// Tools that are named where one is asked for that does not exist.
const NAMED_TOOLS: usize = 50;

/// A command without a package.
pub(super) fn no_package(command: &str) -> Failure {
    Failure::new(ExitStatus::Config, "no package is named")
        .hint(format!("npxc {command} [OPTIONS] PACKAGE [ARGS...]; npxc {command} --help shows the options"))
}

/// The JSON object that an option has for a call, as `example` is one.
pub(super) fn arguments(option: &str, text: &str, example: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(ExitStatus::Config, format!("{option}: not a JSON object: {error}"))
            .hint(format!("for example {option} '{example}'"))
    })
}

/// That there is no tool of the name that an option has.
pub(super) fn no_tool(option: &str, name: &str) -> String {
    format!("{option}: the server has no tool `{name}`")
}

/// Which tools there are instead, if there are any.
pub(super) fn its_tools<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names = names.peekable();
    names.peek()?;
    let shown: Vec<&str> = names.by_ref().take(NAMED_TOOLS).collect();
    let more = if names.next().is_some() { ", ..." } else { "" };
    Some(format!("its tools are {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_tools_are_named() {
        assert_eq!(its_tools(std::iter::empty()), None);
        assert_eq!(its_tools(["a", "b"].into_iter()).as_deref(), Some("its tools are a, b"));
        let named = |count| its_tools(std::iter::repeat_n("x", count)).unwrap_or_default();
        assert!(!named(NAMED_TOOLS).ends_with("..."));
        assert_eq!(named(NAMED_TOOLS + 1), format!("{}, ...", named(NAMED_TOOLS)));
    }
}
