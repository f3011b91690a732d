//! npxc, the program: everything is in the library, this only hands the arguments over.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Inside the sandbox this same file is the trusted first process; then this call never returns.
    npxc_guest::dispatch();
    // Or in a container engine's network namespace.
    #[cfg(target_os = "linux")]
    npxc::runtime::engine::dispatch();
    npxc::cli::main(&std::env::args_os().collect::<Vec<_>>()).into()
}
