//! A server's stdout on its way to the client, and whether its first lines are messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

/// How much of a line is kept.
const KEPT: usize = 400;

/// A stream that tells of the first line which is no message, unless a message came before it.
pub(super) struct Watched<R> {
    inner: R,
    line: Vec<u8>,
    /// Where to tell; nowhere once there was something to tell or nothing more can be.
    words: Option<watch::Sender<Option<String>>>,
}

impl<R> Watched<R> {
    /// The stream, and the words once there are some.
    pub(super) fn new(inner: R) -> (Self, watch::Receiver<Option<String>>) {
        let (words, received) = watch::channel(None);
        (Self { inner, line: Vec::new(), words: Some(words) }, received)
    }

    fn look(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(words) = &self.words else { return };
            if *byte != b'\n' {
                if self.line.len() < KEPT {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_owned();
            self.line.clear();
            match line.as_bytes().first() {
                None => {}
                Some(b'{' | b'[') => self.words = None,
                Some(_) => {
                    words.send_replace(Some(line));
                    self.words = None;
                }
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(read) = buffer.filled().get(before..) {
            self.look(read);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn words(bytes: &[u8]) -> Option<String> {
        let (mut stream, words) = Watched::new(bytes);
        let mut through = Vec::new();
        stream.read_to_end(&mut through).await.unwrap();
        assert_eq!(through, bytes);
        words.borrow().clone()
    }

    #[tokio::test]
    async fn what_is_no_message_is_told_once_and_never_behind_a_message() {
        assert_eq!(words(b"\n Listening on 8080 \nand more\n").await.unwrap(), "Listening on 8080");
        assert_eq!(words(b"{\"jsonrpc\":\"2.0\"}\nwords\n").await, None);
        assert_eq!(words(b"no end yet").await, None);
        assert_eq!(words(&[b'x'; 3 * KEPT]).await, None);
    }
}
