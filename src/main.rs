//! npxc, the program.
fn main() {
    npxc_guest::dispatch();
}
