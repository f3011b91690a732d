//! The shell of path B: moves the client's stdin, the guest's stdout and its stderr, each on a thread of its own.
//!
//! Threads and blocking calls on purpose: npxc's stdio may be a terminal or a pipe that it shares with others,
//! so its descriptors must not be made non-blocking (nor blocking, where they are not), and a thread that reads and writes is
//! backpressure in both directions without a queue.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::event::PollFlags;
use tokio::sync::mpsc::UnboundedSender;

use super::translate::{Files, Translator};
use super::wire::{Inward, Outward, Wire};
use crate::patient::{Patient, wait};

/// Bytes moved at once: a pipe's capacity, so that one read empties it (pipe(7)).
const CHUNK: usize = 64 * 1024;

/// Of each thread, bytes: a list of tools may be nested as deep as its reader allows (128 levels), in a build that is not
/// optimized, too.
const STACK: usize = 2 << 20;

/// npxc's ends of the guest's pipes.
#[derive(Debug)]
pub struct GuestEnds {
    /// Written by npxc.
    pub stdin: OwnedFd,
    /// Read by npxc.
    pub stdout: OwnedFd,
    /// Read by npxc.
    pub stderr: OwnedFd,
}

impl GuestEnds {
    /// Pipes, with the guest's ends of them: its stdin, stdout and stderr.
    pub fn pipes() -> io::Result<(Self, [OwnedFd; 3])> {
        let ((stdin, to_guest), (from_guest, stdout), (errors, stderr)) =
            (io::pipe()?, io::pipe()?, io::pipe()?);
        let guest = [stdin.into(), stdout.into(), stderr.into()];
        let ends = Self { stdin: to_guest.into(), stdout: from_guest.into(), stderr: errors.into() };
        Ok((ends, guest))
    }
}

/// What the session has to know about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Its stdin has ended.
    StdinEnded(Source),
    /// Nobody reads npxc's stdout any more.
    StdoutClosed,
}

/// Who wrote to npxc's stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A JSON-RPC client: when it closes stdin the session is over.
    Client,
    /// A file, a terminal, `/dev/null` or another program's output: the package ends when it is done.
    Other,
}

/// Those that have something left to deliver when the guest has ended.
#[derive(Debug)]
pub struct Proxy {
    outputs: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts moving bytes between npxc's own stdio and the guest.
    /// `translator` and `files` look after the paths in messages.
    pub fn start(
        guest: GuestEnds,
        translator: Translator,
        files: Box<dyn Files>,
        notices: UnboundedSender<Notice>,
    ) -> io::Result<Self> {
        let stdin = File::from(take_stdin()?);
        let stdout = File::from(rustix::io::dup(rustix::stdio::stdout())?);
        let stderr = File::from(rustix::io::dup(rustix::stdio::stderr())?);
        let wire = Wire::new(translator, files, stdout);
        let mut inward = Inward::new(&wire, File::from(guest.stdin));
        let mut outward = Outward::new(&wire);
        let ended = notices.clone();
        spawn("stdin", move || {
            let source = forward_stdin(stdin, &mut inward);
            // Before the guest can see it: one that ends at once must not seem to have ended by itself. The
            // receiver is gone only when the session is.
            let _ = ended.send(Notice::StdinEnded(source));
            drop(inward);
        })?;
        let hung_up = notices.clone();
        let watched = rustix::io::dup(rustix::stdio::stdout())?;
        spawn("hangup", move || {
            if wait_for_hangup(&watched).is_ok() {
                let _ = hung_up.send(Notice::StdoutClosed);
            }
        })?;
        let out = spawn("stdout", move || {
            if forward_stdout(File::from(guest.stdout), &mut outward).is_err() {
                let _ = notices.send(Notice::StdoutClosed);
            }
        })?;
        let err = spawn("stderr", move || {
            // Words for nobody: the guest must not stall because npxc's stderr is closed.
            let _ = forward_or_discard(File::from(guest.stderr), Patient(stderr));
        })?;
        Ok(Self { outputs: vec![out, err] })
    }

    /// Waits until everything the guest wrote is delivered. The guest must have ended.
    pub fn finish(self) {
        for output in self.outputs {
            // A thread that panicked has nothing left to deliver.
            let _ = output.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}

/// Takes stdin over, so that closing it is seen by whoever writes to it.
fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = rustix::io::dup(rustix::stdio::stdin())?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    Ok(stdin)
}

fn forward_stdin(mut from: File, to: &mut Inward) -> Source {
    let mut buffer = vec![0; CHUNK];
    let mut reads = true;
    loop {
        let long = if reads { to.continuation(CHUNK) } else { None };
        let read = match long {
            Some(message) => {
                let before = message.len();
                rustix::io::read(&from, rustix::buffer::spare_capacity(message))
                    .map(|count| (count, Some(before)))
                    .map_err(io::Error::from)
            }
            None => from.read(&mut buffer).map(|count| (count, None)),
        };
        match read {
            Ok((0, _)) => break,
            Ok((_, Some(before))) => reads = to.appended(before).is_ok(),
            Ok((count, None)) => {
                reads = reads && to.push(&buffer[..count]).is_ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match wait(&from, PollFlags::IN) {
                Ok(()) => continue,
                Err(_) => break,
            },
            Err(_) => break,
        }
        // The guest reads no more. A client has not left for that: its own end is waited for. To a
        // program that only writes, a closed pipe says it.
        if !reads && !to.is_spoken() {
            break;
        }
    }
    if reads {
        // The guest's own affair, as above.
        let _ = to.end();
    }
    if to.is_spoken() { Source::Client } else { Source::Other }
}

fn forward_stdout(mut from: File, to: &mut Outward) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.end(),
            Ok(count) => to.push(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The guest's end; not the client's fault.
            Err(_) => return to.end(),
        }
    }
}

fn forward(mut from: File, mut to: Patient<File>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The guest's end; not the client's fault.
            Err(_) => return Ok(()),
        }
    }
}

fn forward_or_discard(from: File, to: Patient<File>) -> io::Result<()> {
    let rest = from.try_clone()?;
    if forward(from, to).is_err() {
        io::copy(&mut { rest }, &mut io::sink())?;
    }
    Ok(())
}

/// Returns when the reader of a pipe or socket has gone. Other kinds of files have none: then this never returns
/// or fails.
fn wait_for_hangup(fd: &OwnedFd) -> io::Result<()> {
    use rustix::event::{PollFd, poll};
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    if !matches!(kind, rustix::fs::FileType::Fifo | rustix::fs::FileType::Socket) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Nothing;

    impl Files for Nothing {
        fn share(&self, _: &super::super::identify::Named) -> super::super::translate::Answer {
            super::super::translate::Answer::Leave
        }

        fn collect(&self, _: &[super::super::translate::Write]) -> Vec<super::super::translate::Unsaved> {
            Vec::new()
        }

        fn say(&self, _: &str) {}
    }

    fn inward(to: File) -> Inward {
        let out = File::options().write(true).open("/dev/null").unwrap();
        Inward::new(&Wire::new(Translator::default(), Box::new(Nothing), out), to)
    }

    #[test]
    fn a_reader_that_leaves_is_noticed() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        wait_for_hangup(&write).unwrap();
    }

    #[test]
    fn stdin_is_forwarded_byte_for_byte() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let (from_read, from_write) = rustix::pipe::pipe().unwrap();
        let (to_read, to_write) = rustix::pipe::pipe().unwrap();
        let sent = bytes.clone();
        let writer = std::thread::spawn(move || File::from(from_write).write_all(&sent).unwrap());
        let moved = std::thread::spawn(move || {
            forward_stdin(File::from(from_read), &mut inward(File::from(to_write)))
        });
        let mut received = Vec::new();
        File::from(to_read).read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert_eq!(moved.join().unwrap(), Source::Other);
        assert_eq!(received, bytes);
    }

    /// Long lines, short ones, and one without an end.
    fn output() -> Vec<u8> {
        let long = |kind: u8| vec![kind; 200_000];
        let mut all =
            [b"short\n{".to_vec(), long(b'a'), b"}\n{\"id\":1}\nwords ".to_vec(), long(b'b')].concat();
        all.extend(
            (0..90_000_u32).flat_map(|n| if n % 70 == 0 { *b"\n{" } else { [(n * 7 % 251) as u8; 2] }),
        );
        all.extend(long(b'c'));
        all
    }

    #[test]
    fn stdout_is_forwarded_byte_for_byte_to_whatever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let open =
            |name: &str, append| File::options().create(true).append(append).write(true).open(path(name));
        for name in ["written", "appended to"] {
            let mut out = open(name, name == "appended to").unwrap();
            out.write_all(b"before\n").unwrap();
            assert!(forwarded(out, &mut std::io::empty()).is_empty());
            let expected = [b"before\n".to_vec(), output()].concat();
            assert!(std::fs::read(path(name)).unwrap() == expected, "{name}");
        }
        let (mut read, write) = std::io::pipe().unwrap();
        assert!(forwarded(File::from(OwnedFd::from(write)), &mut read) == output(), "a pipe");
        let (mut read, write) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(forwarded(File::from(OwnedFd::from(write)), &mut read) == output(), "a socket");
        // Less than one write: the next one finds no room.
        let (mut read, write) = std::io::pipe().unwrap();
        #[cfg(target_os = "linux")]
        rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        assert!(forwarded(File::from(OwnedFd::from(write)), &mut read) == output(), "a non-blocking pipe");
    }

    #[test]
    fn stderr_may_be_non_blocking() {
        let (mut read, write) = std::io::pipe().unwrap();
        #[cfg(target_os = "linux")]
        rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        let (from, mut guest) = std::io::pipe().unwrap();
        let moved = std::thread::spawn(move || {
            forward_or_discard(File::from(OwnedFd::from(from)), Patient(File::from(OwnedFd::from(write))))
        });
        let writer = std::thread::spawn(move || guest.write_all(&output()).unwrap());
        let mut received = Vec::new();
        read.read_to_end(&mut received).unwrap();
        assert!(received == output());
        writer.join().unwrap();
        moved.join().unwrap().unwrap();
    }

    #[test]
    fn a_non_blocking_stdin_has_not_ended_when_it_is_empty() {
        let (from, mut client) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&from, true).unwrap();
        let (mut guest, to) = std::io::pipe().unwrap();
        let moved = std::thread::spawn(move || {
            forward_stdin(File::from(OwnedFd::from(from)), &mut inward(File::from(OwnedFd::from(to))))
        });
        // It is empty again and again.
        for byte in 0..100 {
            let mut seen = [255];
            client.write_all(&[byte]).unwrap();
            guest.read_exact(&mut seen).unwrap();
            assert_eq!(seen, [byte]);
        }
        drop(client);
        assert_eq!(moved.join().unwrap(), Source::Other);
    }

    /// What comes out of `read` when the output goes to `out`.
    fn forwarded(out: File, read: &mut impl Read) -> Vec<u8> {
        let (guest, to_npxc) = std::io::pipe().unwrap();
        let mut to_npxc = File::from(OwnedFd::from(to_npxc));
        let writer = std::thread::spawn(move || {
            // Neither a pipe's capacity nor a part of it.
            output().chunks(70_001).for_each(|chunk| to_npxc.write_all(chunk).unwrap());
        });
        let moved = std::thread::spawn(move || {
            let wire = Wire::new(Translator::default(), Box::new(Nothing), out);
            forward_stdout(File::from(OwnedFd::from(guest)), &mut Outward::new(&wire))
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).unwrap();
        moved.join().unwrap().unwrap();
        writer.join().unwrap();
        received
    }
}
