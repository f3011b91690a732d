//! What a package wrote into a layer that ends with its session, in words for whoever loses it.
//!
//! The directory is the guest's work: it is read through descriptors, follows no link, opens no file, and is bounded.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, statat};

/// Names that are said; the rest is a number.
const MOST_NAMES: usize = 3;
/// Entries that are looked at: counting more says nothing more, and takes a session's end longer.
const MOST_ENTRIES: usize = 20_000;
/// Directories that are kept open to be looked at.
const MOST_OPEN: usize = 64;
/// Directories whose content is made again by whoever wants it. Nobody misses it.
const CACHES: [&str; 12] = [
    ".cache",
    "cache",
    "caches",
    ".npm",
    ".vite",
    ".turbo",
    ".parcel-cache",
    "__pycache__",
    "node-compile-cache",
    ".tmp",
    "tmp",
    "temp",
];

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Names of the first files, as the guest chose them: they may be hostile.
    pub names: Vec<String>,
    /// Files.
    pub files: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// There is more than was looked at.
    pub more: bool,
}

impl Written {
    /// Looks at `upper`, whose guest has ended.
    pub fn of(upper: OwnedFd) -> io::Result<Self> {
        let mut written = Self::default();
        let (mut pending, mut left) = (VecDeque::from([upper]), MOST_ENTRIES);
        while let Some(directory) = pending.pop_front() {
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                if [&b"."[..], b".."].contains(&name.to_bytes()) {
                    continue;
                }
                if left == 0 {
                    written.more = true;
                    return Ok(written);
                }
                left -= 1;
                let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory if is_cache(name) => {}
                    FileType::Directory if pending.len() == MOST_OPEN => written.more = true,
                    FileType::Directory => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                            Ok(below) => pending.push_back(below),
                            // The guest may have taken its own right to read it away.
                            Err(_) => written.more = true,
                        }
                    }
                    FileType::RegularFile if stat.st_size > 0 => {
                        written.add(name, u64::try_from(stat.st_size).unwrap_or(0));
                    }
                    // Links and empty files hold nothing; devices are the kernel's notes on what was removed.
                    _ => {}
                }
            }
        }
        Ok(written)
    }

    fn add(&mut self, name: &CStr, bytes: u64) {
        if self.names.len() < MOST_NAMES {
            self.names.push(name.to_string_lossy().into_owned());
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The sentence for `package`; `None` when nothing is lost that anybody would miss.
    pub fn words(&self, package: &str) -> Option<String> {
        if self.files == 0 {
            return None;
        }
        let names = self.names.join(", ");
        let more = match self.files - self.names.len() {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let (least, size) = (if self.more { "at least " } else { "" }, size(self.bytes));
        Some(format!("what {package} wrote into its own folder is lost: {names}{more}, {least}{size}"))
    }
}

fn is_cache(name: &CStr) -> bool {
    let name = name.to_string_lossy();
    CACHES.iter().any(|cache| name.eq_ignore_ascii_case(cache)) || name.starts_with("v8-compile-cache")
}

fn size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
