//! The program that is the first process of a container, which npxc carries with it: built by `build.rs`.

/// The program, static, for Linux on the architecture that npxc runs on. Empty where it could not be built.
pub fn guest_binary() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/npxc-guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_carried_along() {
        assert!(guest_binary().starts_with(b"\x7fELF"), "build.rs has said why it is missing");
    }
}
