//! npxc, the program.
fn main() {}
