//! Finds the paths in one message of the client's: the strings in its positions, in JSON inside strings, and in command
//! lines.

use std::ops::Range;

use super::envelope::keys;
use super::positions::{MessageKind, Role};
use crate::rpc::identify::{
    Configured, Named, Reason, ToolSchema, by_shape, embedded, identify, shape, within,
};
use crate::rpc::json::{Kind, Scanner, text};

/// Paths in one line; more are left as they are.
const MOST_PATHS: usize = 1024;
/// Longest string that is looked into for JSON or for a command, bytes: it is decoded.
const MOST_INSIDE: usize = 256 << 10;

/// A path, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The path.
    pub(super) named: Named,
    /// Where it is written in the line.
    pub(super) span: Range<usize>,
    /// How many strings it stands in.
    pub(super) levels: usize,
    /// The id of its request, if it is in one.
    pub(super) id: Option<Range<usize>>,
    /// Whether its request can be refused for it.
    pub(super) decides: bool,
    /// Which of the line's messages it is in.
    pub(super) message: usize,
    /// Only what has been named before is meant.
    pub(super) known: bool,
}

/// What one message is judged by.
pub(super) struct Message<'a> {
    pub(super) kind: MessageKind,
    pub(super) configured: &'a Configured,
    pub(super) schema: Option<&'a ToolSchema>,
    /// The tool's or prompt's name.
    pub(super) tool: &'a str,
    pub(super) id: Option<Range<usize>>,
    pub(super) index: usize,
    /// The line's long strings.
    pub(super) long: &'a [Range<usize>],
}

impl Message<'_> {
    /// The paths in `region` of the line: the message's `params`, or its `result`.
    pub(super) fn paths(&self, line: &[u8], region: Range<usize>, out: &mut Vec<Found>) {
        let completed = match self.kind {
            MessageKind::Completion => Completed::read(line.get(region.clone()).unwrap_or_default()),
            _ => Completed::default(),
        };
        let mut scanner = Scanner::again(line, region, self.long);
        while let Ok(Some(token)) = scanner.next() {
            if !matches!(token.kind, Kind::String | Kind::Key) || out.len() >= MOST_PATHS {
                continue;
            }
            let Some(raw) = line.get(token.span.clone()).filter(|raw| raw.len() <= MOST_INSIDE) else {
                continue;
            };
            let Some(position) = scanner.position(&token) else { continue };
            let keys = keys(line, position);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let Some(role) = self.kind.role(&keys, token.kind) else { continue };
            let Some(value) = text::decode(raw) else { continue };
            let literal = Literal { raw, start: token.span.start, levels: 1 };
            match role {
                Role::Argument => {
                    let keys = keys.get(1..).unwrap_or_default();
                    self.argument(&literal, keys, token.kind, &value, out);
                }
                Role::Resource => self.uri(&literal, Reason::Shape, &value, out),
                Role::Root => self.uri(&literal, Reason::Root, &value, out),
                Role::Unfinished => {
                    let name = match keys[..] {
                        ["context", .., name] => name,
                        _ => completed.argument.as_str(),
                    };
                    let named = by_shape(self.configured, &completed.prompt, &[name], &value);
                    self.put(&literal, named, false, out);
                }
                Role::Value => {
                    let keys =
                        keys.get(keys.iter().position(|key| *key == "content").map_or(0, |at| at + 1)..);
                    self.value(&literal, keys.unwrap_or_default(), token.kind, &value, out);
                }
                Role::Words => self.words(&literal, &value, out),
            }
        }
    }

    /// An argument: a path, JSON with paths in it, a command with paths in it.
    fn argument(&self, literal: &Literal<'_>, keys: &[&str], kind: Kind, value: &str, out: &mut Vec<Found>) {
        let Self { configured, schema, tool, .. } = *self;
        if kind == Kind::Key {
            let named = keys.split_last().and_then(|(_, above)| by_shape(configured, tool, above, value));
            return self.put(literal, named, true, out);
        }
        let named =
            shape::is_short(literal.raw).then(|| identify(configured, schema, tool, keys, value)).flatten();
        let by_shape = named.as_ref().is_none_or(|named| named.reason == Reason::Shape);
        if by_shape && value.contains(char::is_whitespace) {
            let inside = within(configured, tool, keys, value);
            if !inside.is_empty() {
                return self.put_inside(literal, inside, false, out);
            }
        }
        match named {
            Some(named) => self.put(literal, Some(named), true, out),
            None if literal.levels == 1 && value.trim_start().starts_with(['{', '[']) => {
                self.json(literal, keys, value, out);
            }
            None => {}
        }
    }

    /// The arguments in a string that holds JSON.
    fn json(&self, literal: &Literal<'_>, above: &[&str], value: &str, out: &mut Vec<Found>) {
        let line = value.as_bytes();
        let before = out.len();
        let mut scanner = Scanner::new(line);
        let mut offsets = text::Offsets::new(literal.raw);
        loop {
            match scanner.next() {
                Ok(Some(token)) => {
                    let strings = matches!(token.kind, Kind::String | Kind::Key) && out.len() < MOST_PATHS;
                    let Some(raw) = line.get(token.span.clone()).filter(|_| strings) else { continue };
                    let (Some(value), Some(position)) = (text::decode(raw), scanner.position(&token)) else {
                        continue;
                    };
                    let keys = keys(line, position);
                    let keys: Vec<&str> =
                        above.iter().copied().chain(keys.iter().map(String::as_str)).collect();
                    if keys.contains(&super::OPAQUE) {
                        continue;
                    }
                    let start = offsets.find(token.span.start);
                    let end = text::Offsets::new(&literal.raw[start..]).find(raw.len()) + start;
                    let inner =
                        Literal { raw: &literal.raw[start..end], start: literal.start + start, levels: 2 };
                    self.argument(&inner, &keys, token.kind, &value, out);
                }
                Ok(None) => return,
                Err(_) => return out.truncate(before),
            }
        }
    }

    /// A value of an answer: nobody can be refused for it.
    fn value(&self, literal: &Literal<'_>, keys: &[&str], kind: Kind, value: &str, out: &mut Vec<Found>) {
        if !shape::is_short(literal.raw) {
            return;
        }
        // A tool's schema says nothing of what a form in its call was filled in with.
        let form = self.schema.filter(|_| self.kind == MessageKind::Answer);
        let named = match (kind, form) {
            (Kind::String, Some(schema)) => identify(self.configured, Some(schema), self.tool, keys, value),
            (Kind::Key, _) => {
                keys.split_last().and_then(|(_, above)| by_shape(self.configured, self.tool, above, value))
            }
            _ => by_shape(self.configured, self.tool, keys, value),
        };
        self.put(literal, named, false, out);
    }

    fn uri(&self, literal: &Literal<'_>, reason: Reason, value: &str, out: &mut Vec<Found>) {
        let named = Named::read(value, reason).filter(|named| named.written.uri);
        self.put(literal, named, false, out);
    }

    fn words(&self, literal: &Literal<'_>, value: &str, out: &mut Vec<Found>) {
        self.put_inside(literal, embedded::named(value), true, out);
    }

    /// `decides` if the request can be refused for it.
    fn put(&self, literal: &Literal<'_>, named: Option<Named>, decides: bool, out: &mut Vec<Found>) {
        let Some(named) = named else { return };
        // What only looks like a path may be one of another machine, or a resource's that the server knows better.
        let remote = named.reason == Reason::Shape && self.schema.is_some_and(ToolSchema::is_remote);
        out.push(Found {
            named,
            span: literal.start..literal.start + literal.raw.len(),
            levels: literal.levels,
            id: self.id.clone(),
            decides: decides && !remote,
            message: self.index,
            known: false,
        });
    }

    /// What was found inside a text. It may mean anything else as well: nobody is refused for it.
    fn put_inside(
        &self,
        literal: &Literal<'_>,
        inside: Vec<(Named, Range<usize>)>,
        known: bool,
        out: &mut Vec<Found>,
    ) {
        let middle = text::decode(literal.raw).filter(|_| literal.levels == 2);
        let mut inner = middle.as_ref().map(|text| text::Offsets::new(text.as_bytes()));
        let mut outer = text::Offsets::new(literal.raw);
        let mut find = |at| literal.start + outer.find(inner.as_mut().map_or(at, |inner| inner.find(at)));
        for (named, span) in inside {
            let span = find(span.start)..find(span.end);
            out.push(Found {
                named,
                span,
                levels: literal.levels,
                id: self.id.clone(),
                decides: false,
                message: self.index,
                known,
            });
        }
    }
}

/// What is being completed.
#[derive(Default)]
struct Completed {
    prompt: String,
    argument: String,
}

impl Completed {
    /// From the `params`; the names may stand behind the value.
    fn read(params: &[u8]) -> Self {
        let mut out = Self::default();
        let mut scanner = Scanner::new(params);
        while let Ok(Some(token)) = scanner.next() {
            if token.kind != Kind::String || token.depth != 2 {
                continue;
            }
            let keys = keys(params, scanner.position(&token).unwrap_or_default());
            let name = match keys.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["ref", "name"] => &mut out.prompt,
                ["argument", "name"] => &mut out.argument,
                _ => continue,
            };
            *name = params.get(token.span).and_then(text::decode).unwrap_or_default().into_owned();
        }
        out
    }
}

/// Where a string is written.
struct Literal<'a> {
    raw: &'a [u8],
    start: usize,
    levels: usize,
}
