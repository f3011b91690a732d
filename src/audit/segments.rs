//! The files of one log: `NAME.jsonl` and, where logs are rotated, `NAME.2.jsonl`, `NAME.3.jsonl` and so on.
//!
//! Each but the last ends with `log.rotate`, which names the next; the chain of hashes goes on through all of them. Which files
//! belong together is told by their names here; [`chain`] finds out whether they do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use super::chain::{self, Header, MAX_LINE, Verified};
use super::report::{self, Report};

/// The file with this number of the log that begins in `first`, which is number 1.
pub(super) fn numbered(first: &Path, number: u32) -> PathBuf {
    let end = first.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    if number < 2 { first.to_owned() } else { first.with_extension(format!("{number}{end}")) }
}

/// The file in which a log begins, and the number that this file has in it, as far as its name can tell.
pub(super) fn number(path: &Path) -> Option<(PathBuf, u32)> {
    let number = |digits: &OsStr| digits.to_str()?.parse().ok().filter(|number: &u32| *number >= 2);
    let (stem, end) = (Path::new(path.file_stem()?), path.extension()?);
    let (first, number) = match stem.extension().and_then(number) {
        Some(number) => (stem.with_extension(end), number),
        None => (stem.to_owned(), number(end)?),
    };
    let first = path.with_file_name(first);
    (numbered(&first, number) == path).then_some((first, number))
}

/// The name of a file, as it stands in a log.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is there of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    first: PathBuf,
    /// In order, not empty.
    files: Vec<PathBuf>,
}

impl Segments {
    /// Those of the log that a file belongs to.
    ///
    /// # Errors
    /// The directory, or a file in it, cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let first = match number(path) {
            // Whoever named one file did not mean whatever else is there under another name.
            Some((first, _)) if goes_on(path)? && is_plain(&first) => first,
            Some(_) | None => path.to_owned(),
        };
        let mut later = Vec::new();
        let directory =
            first.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        let entries = match directory.read_dir() {
            // Then the file that was named is what there is, and says so where it goes on.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let path = first.with_file_name(entry.file_name());
            if let Some((of, number)) = number(&path)
                && of == first
                && entry.file_type()?.is_file()
                && goes_on(&path)?
            {
                later.push((number, path));
            }
        }
        later.sort_unstable();
        let mut files: Vec<_> = later.into_iter().map(|(_, path)| path).collect();
        // That it cannot be read is said by whoever reads it.
        if first.exists() || files.is_empty() {
            files.insert(0, first.clone());
        }
        Ok(Self { first, files })
    }

    /// The files, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How many bytes they have together.
    ///
    /// # Errors
    /// A file is gone.
    pub fn length(&self) -> io::Result<u64> {
        self.files.iter().map(|path| Ok(path.metadata()?.len())).sum()
    }

    /// What they say from this byte on, as one log.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, start: u64) -> io::Result<Report> {
        let mut files = self.files.clone().into_iter();
        let file = files.next().map(File::open).transpose()?;
        let mut joined = BufReader::new(Joined { file, files, last: b'\n' });
        io::copy(&mut joined.by_ref().take(start), &mut io::sink())?;
        report::read(joined)
    }

    /// Checks them all, as one log.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn verify(&self) -> io::Result<Verified> {
        let mut check = chain::Check::default();
        if self.files.first() != Some(&self.first) {
            check.begins_without(&name(&self.first));
        }
        for path in &self.files {
            if self.files.len() > 1 {
                check.file(&name(path));
            }
            check.read(BufReader::new(File::open(path)?))?;
        }
        Ok(check.finish())
    }
}

/// Whether it is a file, or not there.
fn is_plain(path: &Path) -> bool {
    path.symlink_metadata()
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |found| found.is_file())
}

/// Whether a file does not begin a log of its own, and is none of anybody else's; an empty one is none yet.
fn goes_on(path: &Path) -> io::Result<bool> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).take(MAX_LINE).read_until(b'\n', &mut line)?;
    let begins = serde_json::from_slice::<Header>(&line).is_ok_and(|header| header.prev == chain::START);
    Ok(line.starts_with(b"{\"v\":") && !begins)
}

/// Files one after the other; one that was cut off does not run into the next.
struct Joined {
    file: Option<File>,
    files: std::vec::IntoIter<PathBuf>,
    last: u8,
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = &mut self.file {
            let count = file.read(buffer)?;
            if let Some(last) = buffer.get(..count).and_then(<[u8]>::last) {
                self.last = *last;
                return Ok(count);
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            self.file = self.files.next().map(File::open).transpose()?;
            if self.file.is_some()
                && self.last != b'\n'
                && let Some(place) = buffer.first_mut()
            {
                (*place, self.last) = (b'\n', b'\n');
                return Ok(1);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
