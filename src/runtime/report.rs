//! What trying a runtime's steps came to, for `npxc doctor`.

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The step, for people.
    pub step: &'static str,
    /// How it went.
    pub outcome: Outcome,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works; what is worth knowing about it, perhaps nothing.
    Passed(String),
    /// npxc can do without.
    Warning {
        /// What is missing.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The runtime does not work.
    Failed {
        /// What is missing.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
}
