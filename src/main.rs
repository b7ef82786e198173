//! The binary; everything is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    share_one_arena();
    sluicegate::cli::main()
}

/// Makes all threads allocate from the same memory, so that what one gives back another can use: glibc would keep it
/// apart for each. Measured in docs/decisions/0002-one-arena.md. Other allocators are left alone.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe wrapper of mallopt exists, and memory is to stay near its budget")]
fn share_one_arena() {
    // SAFETY: mallopt(3) reads its two numbers and nothing else, and no other thread runs yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(not(target_env = "gnu"))]
fn share_one_arena() {}
