//! JSON as editors' settings have it: with comments, commas behind the last member, and a byte order mark. Pure.
//!
//! Stricter than the scanner of messages (`rpc::json`), because what is changed here is a person's file: what does not
//! parse is refused with its place. What a client would take all the same (half of a surrogate pair, a name twice) is
//! taken.

use super::value::{BOM, Fault, Kind, Value};
use crate::rpc::json::text::decode;

/// Deepest nesting that is read: a settings file has about five levels.
const MOST_DEEP: usize = 128;

/// Reads a text. One without any value (an empty file) is an empty table.
///
/// # Errors
/// The first place where it is not JSON with comments.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let mut parser = Parser { text, at: if text.starts_with(BOM) { BOM.len() } else { 0 } };
    parser.blank()?;
    if parser.peek().is_none() {
        return Ok(Value { span: parser.at..parser.at, kind: Kind::Table(Vec::new()) });
    }
    let value = parser.value(0)?;
    parser.blank()?;
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.fault("something stands behind the outermost value")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::new(self.at, what)
    }

    /// Passes blanks and comments.
    fn blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with([' ', '\t', '\r', '\n']) {
                self.at += 1;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let length = rest.find("*/").ok_or_else(|| self.fault("this comment does not end"))?;
                self.at += length + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > MOST_DEEP {
            return Err(self.fault("this is nested deeper than any configuration"));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.table(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => self.string()?.map_or(Kind::Other, Kind::Text),
            Some(_) => self.scalar()?,
            None => return Err(self.fault("the file ends where a value is expected")),
        };
        Ok(Value { span: start..self.at, kind })
    }

    fn table(&mut self, depth: usize) -> Result<Kind, Fault> {
        let open = self.at;
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some(b'}') => break,
                Some(b'"') => {}
                Some(_) => return Err(self.fault("expected a name in quotes, or `}`")),
                None => return Err(Fault::new(open, "this `{` is not closed")),
            }
            let raw = self.at + 1;
            let name = self.string()?;
            // A name that stands for no text is nobody's; it is kept as it is written.
            let name = name.unwrap_or_else(|| self.text[raw..self.at - 1].to_owned());
            self.blank()?;
            if self.peek() != Some(b':') {
                return Err(self.fault("expected `:` behind the name"));
            }
            self.at += 1;
            self.blank()?;
            members.push((name, self.value(depth + 1)?));
            self.comma(b'}', open)?;
        }
        self.at += 1;
        Ok(Kind::Table(members))
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Fault> {
        let open = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some(b']') => break,
                Some(_) => items.push(self.value(depth + 1)?),
                None => return Err(Fault::new(open, "this `[` is not closed")),
            }
            self.comma(b']', open)?;
        }
        self.at += 1;
        Ok(Kind::List(items))
    }

    /// Behind a member: a comma, or the end, which is not passed.
    fn comma(&mut self, close: u8, open: usize) -> Result<(), Fault> {
        self.blank()?;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(())
            }
            Some(byte) if byte == close => Ok(()),
            Some(_) => Err(self.fault(&format!("expected `,` or `{}`", char::from(close)))),
            None => Err(Fault::new(open, format!("this is not closed by `{}`", char::from(close)))),
        }
    }

    /// A string; `None` if it stands for no text.
    fn string(&mut self) -> Result<Option<String>, Fault> {
        let start = self.at + 1;
        let mut end = start;
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(b'\n' | b'\r') | None => {
                    return Err(self.fault("this string does not end on its line"));
                }
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        Ok(decode(&self.text.as_bytes()[start..end]).map(std::borrow::Cow::into_owned))
    }

    fn scalar(&mut self) -> Result<Kind, Fault> {
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let is_number = rest.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if !is_number && !matches!(&rest[..length], "true" | "false" | "null") {
            return Err(self.fault("expected a value"));
        }
        let kind = if &rest[..length] == "null" { Kind::Null } else { Kind::Other };
        self.at += length;
        Ok(kind)
    }
}
