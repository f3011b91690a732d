//! A look at what is next in a pipe, without taking it: what only passes through goes on without being copied.
//!
//! `tee(2)` lets the kernel's pages appear in a second pipe, which is read; `splice(2)` moves them to where they go. That is
//! Linux alone; elsewhere everything is read and written.
//!
//! What was looked at and what goes on are the same pages, and a server may keep some that it sends: those of a file
//! (`splice(2)`; the sandbox refuses `vmsplice(2)`, which nothing needs). By changing one in between it can write a line that
//! was not looked at. Only its own client hears it, to whom it may say anything; nothing is decided about it.

#[cfg(target_os = "linux")]
pub(super) use self::linux::Preview;
#[cfg(not(target_os = "linux"))]
pub(super) use self::none::Preview;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::OwnedFd;

    use rustix::fs::{FileType, fstat};
    use rustix::io::Errno;
    use rustix::pipe::{SpliceFlags, splice, tee};

    /// The second pipe.
    #[derive(Debug)]
    pub(in super::super) struct Preview {
        read: File,
        write: OwnedFd,
    }

    impl Preview {
        /// Of a pipe; of anything else there is none.
        pub(in super::super) fn of(pipe: &File) -> Option<Self> {
            let kind = FileType::from_raw_mode(fstat(pipe).ok()?.st_mode);
            let (read, write) = io::pipe().ok()?;
            (kind == FileType::Fifo)
                .then(|| Self { read: File::from(OwnedFd::from(read)), write: write.into() })
        }

        /// What is next in the pipe: how many bytes of it, and none at its end. Waits for them.
        pub(in super::super) fn look(&mut self, pipe: &File, buffer: &mut [u8]) -> io::Result<usize> {
            let count = tee(pipe, &self.write, buffer.len(), SpliceFlags::empty())?;
            self.read.read_exact(&mut buffer[..count])?;
            Ok(count)
        }

        /// Sends so many bytes on, which the pipe has.
        pub(in super::super) fn pass(pipe: &mut File, to: &mut File, mut count: usize) -> io::Result<()> {
            while count > 0 {
                match splice(&*pipe, None, &*to, None, count, SpliceFlags::MOVE) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(moved) => count -= moved,
                    Err(Errno::INTR) => {}
                    // Files that are only appended to take nothing so, nor do some terminals.
                    Err(Errno::INVAL) => {
                        let mut rest = vec![0; count];
                        pipe.read_exact(&mut rest)?;
                        return to.write_all(&rest);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::fs::File;
    use std::io;

    /// There is none.
    #[derive(Debug)]
    pub(in super::super) enum Preview {}

    impl Preview {
        pub(in super::super) fn of(_: &File) -> Option<Self> {
            None
        }

        pub(in super::super) fn look(&mut self, _: &File, _: &mut [u8]) -> io::Result<usize> {
            match *self {}
        }

        pub(in super::super) fn pass(_: &mut File, _: &mut File, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
