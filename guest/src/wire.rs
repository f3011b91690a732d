//! Frames over the control socket: a length (u32, little endian), JSON, and descriptors beside it.
//!
//! Both ends are npxc's own code, but every length is bounded all the same.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

/// Longest frame. A specification carries whole files (a certificate bundle is about 1 MiB as JSON numbers).
const MAX_FRAME: usize = 64 << 20;
/// Most descriptors in one message: the workload's three, with room to spare.
const MAX_FDS: usize = 8;
/// How much is read at once.
const CHUNK: usize = 16 << 10;

// macOS knows neither: there the standard library ignores SIGPIPE, and no descriptor crosses to a virtual machine.
#[cfg(target_os = "linux")]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: SendFlags = SendFlags::empty();
#[cfg(target_os = "linux")]
const RECEIVE_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE_FLAGS: RecvFlags = RecvFlags::empty();

/// One end of the control socket.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    buffer: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// Takes over one end of a connected unix stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: Vec::new(), descriptors: VecDeque::new() }
    }

    /// Sends one frame; the socket may be blocking, or the frame has to be small.
    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Wiped when dropped: a specification may carry keys.
        let body = Zeroizing::new(serde_json::to_vec(message)?);
        let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut frame = Zeroizing::new(Vec::with_capacity(body.len() + 4));
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&body);

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match rustix::net::sendmsg(&self.socket, &[IoSlice::new(rest)], &mut ancillary, SEND_FLAGS) {
                Ok(sent) => {
                    rest = &rest[sent..];
                    ancillary.clear();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for one frame; `None` at the end of file.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            match self.fill() {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once into the buffer: how many bytes came, 0 at the end of file.
    pub fn fill(&mut self) -> io::Result<usize> {
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut self.buffer[start..])],
            &mut ancillary,
            RECEIVE_FLAGS,
        );
        self.buffer.truncate(start + received.as_ref().map_or(0, |message| message.bytes));
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                self.descriptors.extend(rights);
            }
        }
        match received {
            Ok(message) => Ok(message.bytes),
            // The other end closed without reading everything: that is its end, too.
            Err(rustix::io::Errno::CONNRESET) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// A frame that is complete in the buffer.
    pub fn buffered<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)?;
        self.buffer[..4 + length].zeroize();
        self.buffer.drain(..4 + length);
        Ok(Some(message))
    }

    /// The oldest descriptor received and not yet taken.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::new(ours.into()), theirs)
    }

    #[test]
    fn a_frame_arrives_whole_however_it_is_cut() {
        let (mut channel, mut other) = pair();
        let mut bytes = 7_u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"\"hello\"");
        for byte in &bytes {
            assert_eq!(channel.buffered::<String>().unwrap(), None);
            other.write_all(&[*byte]).unwrap();
            channel.fill().unwrap();
        }
        assert_eq!(channel.buffered::<String>().unwrap().as_deref(), Some("hello"));
        drop(other);
        assert_eq!(channel.receive::<String>().unwrap(), None);
    }

    #[test]
    fn a_length_out_of_bounds_and_bytes_that_are_no_message_are_errors() {
        let (mut channel, mut other) = pair();
        other.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(channel.receive::<String>().is_err());
        let (mut channel, mut other) = pair();
        other.write_all(b"\x01\0\0\0{").unwrap();
        assert!(channel.receive::<String>().is_err());
    }

    #[test]
    fn descriptors_and_large_frames_pass() {
        let (sender, other) = pair();
        let mut receiver = Channel::new(other.into());
        let large = vec![7_u8; 300_000];
        let mut file = tempfile();
        let sent = large.clone();
        let thread = std::thread::spawn(move || {
            sender.send(&sent, &[file.as_fd(), sender.as_fd()]).unwrap();
            file.write_all(b"written after it was sent").unwrap();
        });
        assert_eq!(receiver.receive::<Vec<u8>>().unwrap(), Some(large));
        thread.join().unwrap();
        let mut received = fs_file(receiver.take_descriptor().unwrap());
        received.rewind().unwrap();
        let mut content = String::new();
        received.read_to_string(&mut content).unwrap();
        assert_eq!(content, "written after it was sent");
        assert!(receiver.take_descriptor().is_some());
        assert!(receiver.take_descriptor().is_none());
    }

    fn tempfile() -> std::fs::File {
        fs_file(rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap())
    }

    fn fs_file(descriptor: OwnedFd) -> std::fs::File {
        descriptor.into()
    }
}
