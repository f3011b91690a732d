//! What `/proc/self/mountinfo` says about a directory that is to be mounted into a container.

use std::ffi::OsString;
use std::path::Path;

/// Whether a file system is mounted somewhere below `directory`, by `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
pub(super) fn has_mounts_below(directory: &Path, mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| {
        let point = unescape(point);
        let point = Path::new(&point);
        point != directory && point.starts_with(directory)
    })
}

/// Octal escapes of white space and backslashes.
fn unescape(text: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_are_seen() {
        let info =
            "22 1 0:20 / /proc rw - proc proc rw\n30 1 8:1 / /data/with\\040space/x rw - ext4 /dev/sda rw\n";
        assert!(has_mounts_below(Path::new("/data"), info));
        assert!(has_mounts_below(Path::new("/data/with space"), info));
        assert!(!has_mounts_below(Path::new("/data/with space/x"), info));
        assert!(!has_mounts_below(Path::new("/dat"), info));
        assert!(!has_mounts_below(Path::new("/proc"), info));
    }
}
