//! A secret, looked for in files and in the memory of other processes.

use super::Attempts;

/// Looks for a secret (given with every bit turned over, so that it is nowhere by that) in all that can be read.
pub(super) fn secrets(seen: &mut Attempts) {
    let given = std::env::var("HOSTILE_TARGETS").unwrap();
    let given = given.trim();
    let secret: Vec<u8> =
        (0..given.len() / 2).map(|at| !u8::from_str_radix(&given[2 * at..][..2], 16).unwrap()).collect();
    let own = std::process::id().to_string();
    let mut pending: Vec<std::path::PathBuf> =
        ["/etc", "/run", "/tmp", "/home", "/dev/shm", "/opt", "/root", "/var"].map(Into::into).into();
    // What is npxc's own in a container.
    let own_places = std::fs::read_dir("/").into_iter().flatten().flatten();
    pending.extend(
        own_places
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"npxc"))
            .map(|entry| entry.path()),
    );
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok() && name != own {
            pending.extend(
                ["environ", "cmdline", "auxv", "stack", "fd", "map_files"]
                    .map(|file| entry.path().join(file)),
            );
            seen.0.insert(format!("memory of {name}"), memory(&entry.path(), &secret));
        }
    }
    let (mut files, mut found) = (0, Vec::new());
    while let Some(path) = pending.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            pending
                .extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if metadata.is_file()
            && let Ok(content) = std::fs::read(&path)
        {
            files += 1;
            if holds(&content, &secret) {
                found.push(path.display().to_string());
            }
        }
    }
    seen.0.insert("files".to_owned(), files.to_string());
    seen.0.insert("found".to_owned(), found.join(" "));
}

/// Reads another process's memory, if it may; whether the secret is there.
fn memory(process: &std::path::Path, secret: &[u8]) -> String {
    let Ok(maps) = std::fs::read_to_string(process.join("maps")) else { return "unreadable".to_owned() };
    let Ok(file) = std::fs::File::open(process.join("mem")) else { return "unreadable".to_owned() };
    let found = writable(&maps).into_iter().any(|(start, length)| {
        let mut content = vec![0; length];
        let count = std::os::unix::fs::FileExt::read_at(&file, &mut content, start).unwrap_or(0);
        holds(&content[..count], secret)
    });
    if found { "done" } else { "without it" }.to_owned()
}

/// Start and length of what a process can write, out of `/proc/PID/maps`.
pub(crate) fn writable(maps: &str) -> Vec<(u64, usize)> {
    let parse = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let length = usize::try_from(u64::from_str_radix(end, 16).ok()? - start).ok()?;
        (rest.starts_with("rw") && length <= 64 << 20).then_some((start, length))
    };
    maps.lines().filter_map(parse).collect()
}

/// Whether it is in there, as it is or in digits.
fn holds(content: &[u8], secret: &[u8]) -> bool {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let has = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
    has(secret) || has(digits.as_bytes())
}
