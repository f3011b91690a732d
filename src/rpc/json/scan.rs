//! One pass over a JSON text: its strings, scalars and brackets with their spans and positions.
//!
//! No tree, no recursion, no validation beyond what positions need: brackets that match, strings that end, keys
//! with their colon, nothing behind the value. Numbers, literals and escapes are not looked at.

use std::ops::Range;

use memchr::memchr2;

/// Levels whose positions are kept; deeper ones are only counted. Memory is bounded by it, whatever is sent.
const MOST_LEVELS: usize = 64;

/// Strings of at least so many bytes need not be scanned twice.
pub const LONG: usize = 4096;

/// Long parts of a text that have no quote and no backslash, in order: whoever looks for a string's end need not look there.
pub type Plain = [Range<usize>];

/// The text is not one whole JSON value, as far as was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
    /// A string before a colon.
    Key,
    /// A string as a value.
    String,
    /// A number or a literal, or something that stands where one could.
    Scalar,
}

/// A part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands; of strings what is between the quotes.
    pub span: Range<usize>,
    /// Containers around it.
    pub depth: usize,
}

impl Token {
    /// Whether it is a string that a second scan of the same text should not read again.
    pub fn is_long(&self) -> bool {
        matches!(self.kind, Kind::Key | Kind::String) && self.span.len() >= LONG
    }
}

/// One level of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// In an object: where the key is written, once it has been read.
    Object(Option<Range<usize>>),
    /// In an array.
    Array,
}

/// The scanner. [`next`](Self::next) until it gives `None`; then the text was whole.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    /// Levels below those that `levels` has.
    deeper: usize,
    /// Where no string ends that has begun, in order, as far as it is still to come.
    jumps: &'a [Range<usize>],
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, levels: Vec::new(), deeper: 0, jumps: &[] }
    }

    /// The same, of a text of which is known where it is plain.
    pub fn knowing(text: &'a [u8], plain: &'a Plain) -> Self {
        Self { jumps: plain, ..Self::new(text) }
    }

    /// A scanner of one value in a text that has been scanned; `long` are the strings of the text that were
    /// [`is_long`](Token::is_long), in order.
    pub fn again(text: &'a [u8], value: Range<usize>, long: &'a [Range<usize>]) -> Self {
        let jumps = long.get(long.partition_point(|one| one.start < value.start)..).unwrap_or_default();
        Self { at: value.start, jumps, ..Self::new(text.get(..value.end).unwrap_or_default()) }
    }

    /// The containers around a token that was just returned; `None` deeper than positions are kept.
    pub fn position(&self, token: &Token) -> Option<&[Level]> {
        self.levels.get(..token.depth)
    }

    /// The next part.
    ///
    /// # Errors
    /// [`Malformed`]; there is nothing more to be had then.
    #[allow(clippy::should_implement_trait)] // an iterator could not be asked for the position meanwhile
    pub fn next(&mut self) -> Result<Option<Token>, Malformed> {
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return if self.depth() == 0 { Ok(None) } else { Err(Malformed) };
            };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b',' => {
                    if let (0, Some(Level::Object(key))) = (self.deeper, self.levels.last_mut()) {
                        *key = None;
                    }
                    if self.depth() == 0 {
                        return Err(Malformed);
                    }
                    self.at += 1;
                }
                b'{' => return self.open(Level::Object(None)).map(Some),
                b'[' => return self.open(Level::Array).map(Some),
                b'}' | b']' => return self.close(byte == b'}').map(Some),
                b'"' => return self.string().map(Some),
                _ => return self.scalar().map(Some),
            }
        }
    }

    fn depth(&self) -> usize {
        self.levels.len() + self.deeper
    }

    fn open(&mut self, level: Level) -> Result<Token, Malformed> {
        self.value_fits()?;
        let token = Token { kind: Kind::Open, span: self.at..self.at + 1, depth: self.depth() };
        if self.levels.len() < MOST_LEVELS && self.deeper == 0 {
            self.levels.push(level);
        } else {
            self.deeper += 1;
        }
        self.at += 1;
        Ok(token)
    }

    fn close(&mut self, object: bool) -> Result<Token, Malformed> {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if matches!(self.levels.pop().ok_or(Malformed)?, Level::Object(_)) != object {
            return Err(Malformed);
        }
        let token = Token { kind: Kind::Close, span: self.at..self.at + 1, depth: self.depth() };
        self.at += 1;
        self.ends()?;
        Ok(token)
    }

    fn string(&mut self) -> Result<Token, Malformed> {
        let start = self.at + 1;
        let end = self.string_end(start)?;
        let depth = self.depth();
        let mut after = end + 1;
        while matches!(self.text.get(after), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            after += 1;
        }
        let colon = self.text.get(after) == Some(&b':');
        let is_key = match (self.deeper, self.levels.last_mut()) {
            (0, Some(Level::Object(key @ None))) => {
                *key = Some(start..end);
                true
            }
            (0, _) => false,
            // What is around it is not known there.
            (_, _) => colon,
        };
        if is_key != colon {
            return Err(Malformed);
        }
        self.at = if is_key { after + 1 } else { end + 1 };
        self.ends()?;
        Ok(Token { kind: if is_key { Kind::Key } else { Kind::String }, span: start..end, depth })
    }

    /// Where the string that starts here has its closing quote.
    fn string_end(&mut self, start: usize) -> Result<usize, Malformed> {
        let mut at = start;
        loop {
            let known = loop {
                match self.jumps.split_first() {
                    Some((jump, rest)) if jump.end <= at => self.jumps = rest,
                    Some((jump, _)) if jump.start <= at => at = jump.end,
                    Some((jump, _)) => break jump.start.min(self.text.len()),
                    None => break self.text.len(),
                }
            };
            let unknown = self.text.get(at..known).ok_or(Malformed)?;
            match memchr2(b'"', b'\\', unknown).map(|found| at + found) {
                Some(end) if self.text[end] == b'"' => return Ok(end),
                Some(escape) => at = escape + 2,
                None if known < self.text.len() => at = known,
                None => return Err(Malformed),
            }
        }
    }

    fn scalar(&mut self) -> Result<Token, Malformed> {
        self.value_fits()?;
        let start = self.at;
        let stops = |byte: &u8| {
            matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n')
        };
        let length = self.text[start..].iter().position(stops).unwrap_or(self.text.len() - start);
        if length == 0 {
            return Err(Malformed);
        }
        self.at += length;
        self.ends()?;
        Ok(Token { kind: Kind::Scalar, span: start..self.at, depth: self.depth() })
    }

    /// A value in an object stands behind a key.
    fn value_fits(&self) -> Result<(), Malformed> {
        match self.levels.last() {
            Some(Level::Object(None)) if self.deeper == 0 => Err(Malformed),
            Some(_) | None => Ok(()),
        }
    }

    /// Behind the outermost value there are only blanks.
    fn ends(&self) -> Result<(), Malformed> {
        if self.depth() > 0 {
            return Ok(());
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.trim_ascii().is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
