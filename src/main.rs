//! The binary; everything is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::allocator::set_up();
    sluicegate::cli::main()
}
