//! What the sections share: records, gates, and how they are shown.

pub mod gates;
pub mod machine;
pub mod picture;
pub mod process;
pub mod record;
pub mod report;
pub mod scale;
