//! npm's configuration files, read as npm reads them: its dialect of ini and its `${VARIABLE}`s. Pure.

/// Longest file that is looked at, in bytes: certificates may stand in it.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `key=value`; a key alone is `true`.
    One(String),
    /// `key[]=value`, once or more.
    List(Vec<String>),
}

impl Value {
    /// The value, where there is one; a list's parts as npm joins them.
    pub(super) fn text(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::List(parts) => parts.join("\n\n"),
        }
    }
}

/// The top-level keys of a file, in order, the last of several settings last. Sections mean nothing to npm.
pub(super) fn parse(text: &str) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    for line in text.split(['\n', '\r']) {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            break;
        }
        let (key, value) = match line.split_once('=') {
            Some(("", _)) => continue,
            Some((key, value)) => (unquote(key), unquote(value)),
            None => (unquote(line), "true".to_owned()),
        };
        if let Some(key) = key.strip_suffix("[]").filter(|key| !key.is_empty()) {
            match all.iter_mut().find(|(known, _)| known == key) {
                Some((_, Value::List(parts))) => parts.push(value),
                Some((_, one)) => *one = Value::List(vec![one.text(), value]),
                None => all.push((key.to_owned(), Value::List(vec![value]))),
            }
        } else if let Some((_, Value::List(parts))) = all.iter_mut().find(|(known, _)| *known == key) {
            parts.push(value);
        } else {
            all.retain(|(known, _)| *known != key);
            all.push((key, Value::One(value)));
        }
    }
    all
}

fn unquote(text: &str) -> String {
    let text = text.trim();
    let quoted = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if quoted('"') {
        return serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
    }
    if quoted('\'') {
        let inner = &text[1..text.len() - 1];
        return serde_json::from_str::<String>(inner).unwrap_or_else(|_| inner.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ';' | '#' => break,
            '\\' => match chars.next() {
                Some(c @ ('\\' | ';' | '#')) => out.push(c),
                Some(c) => {
                    out.push('\\');
                    out.push(c);
                }
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// One line of a file for npm, whatever the value holds.
pub(super) fn line(key: &str, value: &str) -> String {
    format!("{key}={}\n", serde_json::Value::from(value.replace("${", "\\${")))
}

/// Replaces `${NAME}` by the environment's value; a name that is not set stays as it stands, `${NAME?}` then
/// becomes nothing, and a backslash before `${` keeps it.
pub(super) fn expand(text: &str, var: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let end = after.find(['$', '{', '}']).filter(|end| after[*end..].starts_with('}'));
        let name = end.map(|end| &after[..end]).and_then(|name| match name.strip_suffix('?') {
            Some(optional) => (!optional.is_empty() && !optional.contains('?')).then_some((optional, true)),
            None => (!name.is_empty() && !name.contains('?')).then_some((name, false)),
        });
        let (Some(end), Some((name, optional))) = (end, name) else {
            out.push_str(&rest[..start + 2]);
            rest = after;
            continue;
        };
        let head = &rest[..start];
        let slashes = head.len() - head.trim_end_matches('\\').len();
        out.push_str(&head[..head.len() - slashes]);
        out.push_str(&"\\".repeat(slashes / 2));
        let whole = &rest[start..=start + 2 + end];
        if slashes % 2 == 1 {
            out.push_str(whole);
        } else {
            match var(name) {
                Some(value) => out.push_str(&value),
                None if optional => {}
                None => out.push_str(whole),
            }
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Vec<(String, String)> {
        parse(text).into_iter().map(|(k, v)| (k, v.text())).collect()
    }

    #[test]
    fn as_npm_reads_it() {
        let text = "; comment\n# comment\n  registry = https://example.com/ ; why\r\n\
            //example.com/:_authToken=abc=def\nfund\nquoted=\"a ; \\\"b\\\"\"\nsingle='x # y'\n\
            escaped=a\\;b\\#c\\\\d\\e\nca[]=one\nca[]=two\na=1\na=2\n=x\n[section]\nregistry=no\n";
        let expected = [
            ("registry", "https://example.com/"),
            ("//example.com/:_authToken", "abc=def"),
            ("fund", "true"),
            ("quoted", "a ; \"b\""),
            ("single", "x # y"),
            ("escaped", "a;b#c\\d\\e"),
            ("ca", "one\n\ntwo"),
            ("a", "2"),
        ];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(one(text), expected);
    }

    #[test]
    fn variables() {
        let var = |name: &str| (name == "T").then(|| "tok".to_owned());
        for (text, expected) in [
            ("${T}", "tok"),
            ("a${T}b${T}", "atokbtok"),
            ("${U}", "${U}"),
            ("${U?}", ""),
            ("${T?}", "tok"),
            ("\\${T}", "${T}"),
            ("\\\\${T}", "\\tok"),
            ("${", "${"),
            ("${}", "${}"),
            ("${${T}", "${tok"),
            ("$T", "$T"),
        ] {
            assert_eq!(expand(text, var), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "[ -~\\n\\r\"'\\\\;#=$]{0,30}") {
            prop_assume!(!value.contains("${"));
            prop_assert_eq!(one(&line("k", &value)), vec![("k".to_owned(), value)]);
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,60}") {
            let _ = parse(&text);
            let _ = expand(&text, |_| Some("x".to_owned()));
        }
    }

    #[test]
    fn a_variable_in_a_value_is_not_expanded_twice() {
        let written = one(&line("k", "a${HOME}b"));
        assert_eq!(expand(&written[0].1, |_| Some("no".to_owned())), "a${HOME}b");
    }
}
