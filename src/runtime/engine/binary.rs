//! The guest's program, which npxc carries with it.

/// The static program that runs as the first process of a container, for this machine's architecture; empty where the
/// build could not make one.
pub fn guest_binary() -> &'static [u8] {
    &[]
}
