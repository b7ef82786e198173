//! Keeps what the system's allocator holds near what is in use.
//!
//! Always: does nothing where the system's allocator is not glibc's, whose habits it is about. How the numbers were found:
//! docs/decisions/0002-one-arena.md and 0003-allocator.md. Not here: how much may be in use (`model::Budget`), and when it
//! is quiet enough to give memory back (`engine`).

/// Memory asked for in one piece of at least this size is mapped by itself, and goes back when it is freed. Larger than
/// the buffers of the hot path, which would else be mapped anew for each read.
#[cfg(target_env = "gnu")]
const MAPPED_LEAST: libc::c_int = 4 << 20;

/// So much free memory at the end of the heap is kept.
#[cfg(target_env = "gnu")]
const SPARE: libc::c_int = 4 << 20;

/// Sets the allocator up; to be called before any other thread runs. All threads allocate from the same memory, so
/// that what one gives back another can use: glibc would keep it apart for each. And the bounds stay as they are: glibc
/// would raise them with each large piece that is freed, and after one row of 20 MB keep twice as much for good.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe wrapper of mallopt exists, and memory is to stay near its budget")]
pub fn set_up() {
    // SAFETY: mallopt(3) reads its two numbers and nothing else, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_LEAST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE);
    }
}

/// Gives the system back what is free between what is in use. Takes some milliseconds in which nobody can allocate.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe wrapper of malloc_trim exists, and memory is to go back after much has flowed")]
pub fn give_back() {
    // SAFETY: malloc_trim(3) touches free memory alone, and takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Sets the allocator up; to be called before any other thread runs.
#[cfg(not(target_env = "gnu"))]
pub fn set_up() {}

/// Gives the system back what is free between what is in use.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
