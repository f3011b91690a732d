//! Lines of a configuration file as a mistake in them is shown: without what may be a secret. Pure.

/// Tables of both files, by the first part of a header. Whatever else looks like a header may be a line of a value.
const TABLES: [&str; 10] = [
    "defaults",
    "network",
    "storage",
    "install",
    "paths",
    "path_arguments",
    "non_path_arguments",
    "mounts",
    "runtime",
    "audit",
];

/// The line, numbered from 0, with every character in its place that is shown. Of variables' values nothing is, of a URL
/// not the user's name and password.
pub(super) fn line(text: &str, number: usize) -> String {
    let line = text.lines().nth(number).unwrap_or("");
    if in_env(text, number) { without_value(line).to_owned() } else { without_password(line) }
}

/// Whether a line is, or may be, within a table of variables. What follows `env = {...}` counts as well, up to the next
/// header: where a value ends cannot be told of a file with a mistake in it.
pub(super) fn in_env(text: &str, number: usize) -> bool {
    let mut inside = false;
    for line in text.lines().take(number + 1).map(str::trim_start) {
        match header(line) {
            Some(path) => inside = is_env(path),
            None => {
                inside |=
                    key(line).is_some_and(is_env) || line.starts_with("defaults") && line.contains("env");
            }
        }
    }
    inside
}

/// The path in a header of a table that npxc knows.
fn header(line: &str) -> Option<&str> {
    let path = line.strip_prefix('[')?.trim_start_matches('[').split(']').next()?.trim();
    let first = path.split('.').next()?.trim().trim_matches(['"', '\'']);
    (first == "env" || TABLES.contains(&first)).then_some(path)
}

/// What stands before the first `=`, if that may be a key.
fn key(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim_end();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c);
    (!key.is_empty() && key.chars().all(is_part)).then_some(key)
}

/// `env`, `defaults.env`, or a key below one.
fn is_env(path: &str) -> bool {
    let mut parts = path.split('.').map(|part| part.trim().trim_matches(['"', '\'']));
    match parts.next() {
        Some("defaults") => parts.next() == Some("env"),
        first => first == Some("env"),
    }
}

/// A line of a table of variables up to its `=`. The names of `env_passthrough` are no secrets.
fn without_value(line: &str) -> &str {
    let start = line.len() - line.trim_start().len();
    match key(line.trim_start()) {
        Some("env_passthrough") => line,
        Some(key) => {
            let end = line.get(start + key.len()..).and_then(|rest| rest.find('=')).unwrap_or(0);
            line.get(..=start + key.len() + end).unwrap_or("")
        }
        None => "",
    }
}

/// A line without the user name and password of a URL in it, every character in its place.
fn without_password(line: &str) -> String {
    let Some(start) = line.find("://").map(|at| at + 3) else { return line.to_owned() };
    let Some(end) = line.rfind('@').filter(|end| *end >= start) else { return line.to_owned() };
    let stars = "*".repeat(line[start..end].chars().count());
    [&line[..start], &stars, &line[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            line("a = 1\nb = http://us:p\u{e4}ss@w@p.example:1 x", 1),
            "b = http://*********@p.example:1 x"
        );
        for plain in ["a = 1", "https://a.example", "a@b", "a@b = \"http://c\""] {
            assert_eq!(line(plain, 0), plain);
        }
    }

    #[test]
    fn of_variables_only_the_name_is_shown() {
        for (text, number, shown) in [
            ("[env]\nTOKEN = \"hunter2", 1, "TOKEN ="),
            (" [ env ] # c\n  \"A-B\" = 'hunter2'", 1, "  \"A-B\" ="),
            ("[defaults.env]\nTOKEN = hunter2", 1, "TOKEN ="),
            ("env = { TOKEN = \"hunter2\", X = 1 }", 0, "env ="),
            ("env = {\n  TOKEN = \"hunter2\" }", 1, "  TOKEN ="),
            ("env.TOKEN = 1", 0, "env.TOKEN ="),
            ("[defaults]\nenv = \"hunter2\"", 1, "env ="),
            ("[defaults]\nenv.TOKEN = 1", 1, "env.TOKEN ="),
            ("defaults = { env = { TOKEN = 1 } }", 0, "defaults ="),
            ("[env]\nKEY = \"\"\"\n[\"a\"]\n\\q hunter2\n\"\"\"", 3, ""),
            ("[env]\nenv_passthrough = [\"A\"]", 1, "env_passthrough = [\"A\"]"),
        ] {
            assert_eq!(line(text, number), shown, "{text}");
        }
        for (text, number) in [
            ("[env]\nA = \"b\"\n[network]\nallow = 1", 3),
            ("[defaults.env]\nA = \"b\"\n[[defaults.mounts]]\nhost = 1", 3),
            ("env_passthrough = 1", 0),
        ] {
            assert_eq!(line(text, number), text.lines().nth(number).unwrap_or(""));
        }
    }
}
