//! What a session's package may make the host's files grow by, all of them together: what it writes to its copies costs
//! nothing where it leaves holes, and on the host it would be whole blocks.

use crate::rpc::translate::Refusal;

/// Bytes that a session brings to the host beyond those of the files that it was given: as many as it may be given.
pub(super) const MOST: u64 = 2 << 30;

/// One session's, bytes.
#[derive(Debug, Default)]
pub(super) struct Growth(u64);

impl Growth {
    /// Whether so many more are within the bound.
    pub(super) fn admits(&self, bytes: u64) -> Result<(), Refusal> {
        // What makes nothing larger is none of this bound's.
        if bytes == 0 || self.0.saturating_add(bytes) <= MOST {
            return Ok(());
        }
        let reason =
            format!("was not written: the package made more than {} GiB in this session", MOST >> 30);
        let hint = "start npxc with --mount DIRECTORY:rw to let it write as much as it wants";
        Err(Refusal { code: "not-saved", reason, hint: Some(hint.to_owned()) })
    }

    /// So many were written.
    pub(super) fn add(&mut self, bytes: u64) {
        self.0 = self.0.saturating_add(bytes);
    }

    /// How many were written.
    pub(super) fn bytes(&self) -> u64 {
        self.0
    }
}
