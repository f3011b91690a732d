//! The other end: finds running sessions, and asks them.

use std::fs::DirEntry;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::{MAX_LINE, Reply, Request, Status, UNREADY, short, socket};

/// How long a session may take to answer: it answers between other work.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sessions that run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Those that say what they are, the oldest first.
    pub sessions: Vec<Status>,
    /// Those that listen, and do not answer.
    pub silent: Vec<Uuid>,
}

/// Looks for sessions. Sockets of those that were killed are taken away.
///
/// # Errors
/// The directory cannot be read.
pub fn sessions(directory: &Path) -> io::Result<Running> {
    let mut found = Running::default();
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if is_abandoned(&entry) {
            let _ = std::fs::remove_file(entry.path());
        }
        let id = name.to_str().and_then(|name| name.strip_suffix(".sock")?.parse::<Uuid>().ok());
        let Some(id) = id else { continue };
        match ask(directory, id, &Request::Status) {
            Ok(Reply::Status(status)) if status.session == id => found.sessions.push(*status),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(socket(directory, id));
            }
            // It ended just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => found.silent.push(id),
        }
    }
    found.sessions.sort_unstable_by_key(|status| status.session);
    found.silent.sort_unstable();
    Ok(found)
}

/// Whether a session was killed before it had given its socket its name: that takes no time.
fn is_abandoned(entry: &DirEntry) -> bool {
    let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
    entry.path().extension().is_some_and(|end| end == UNREADY) && age().is_some_and(|age| age > PATIENCE)
}

/// Asks one session.
///
/// # Errors
/// It is not there, or does not answer.
pub fn ask(directory: &Path, session: Uuid, request: &Request) -> io::Result<Reply> {
    let (address, _open) = short(&socket(directory, session))?;
    let mut stream = UnixStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}
