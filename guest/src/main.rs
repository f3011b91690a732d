//! The first process of a container; everything is in the library.

fn main() {
    std::process::exit(npxc_guest::program(&std::env::args_os().collect::<Vec<_>>()));
}
