//! What the translator asks of the workspace.

use super::{Refusal, Unsaved, Write};
use crate::rpc::identify::Named;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It stays as it is: the guest has it under this name, or it is not the client's to begin with.
    Leave,
    /// The guest has it under another path.
    At(String),
    /// A copy lies at [`GUEST_DIRECTORY`](super::GUEST_DIRECTORY)`/place/name`.
    Shared {
        /// Number of the directory.
        place: usize,
        /// The client's name for the directory.
        directory: String,
        /// The file's name, or its path below the directory.
        name: String,
        /// The guest may write to it: what it has written is collected before the call's reply goes on.
        writable: bool,
    },
    /// It cannot be had.
    Refused(Refusal),
}

/// Who decides about paths and makes them visible.
pub trait Files: Send + Sync {
    /// Makes what is named visible for the guest, as it is now.
    fn share(&self, named: &Named) -> Answer;

    /// Brings to the client's files what the guest has written to these copies; returns what could not be.
    fn collect(&self, written: &[Write]) -> Vec<Unsaved>;

    /// Tells a person; whoever calls does not wait until it is read.
    fn say(&self, words: &str);
}
