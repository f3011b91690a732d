//! What the pure core promises, apart from what it decides.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod core {
    mod purity;
}
