//! How many bytes must wait in the kernel before a reader is woken.
//!
//! Linux only; elsewhere, and on unix sockets, nothing is set and reads are never held off. See `pace` for when.

use std::io;

use tokio::net::TcpStream;

/// Bounds the receive buffer. The kernel doubles the number for its own bookkeeping.
///
/// # Errors
/// Whatever the kernel says.
pub(super) fn bound_buffer(tcp: &TcpStream, bytes: usize) -> io::Result<()> {
    socket2::SockRef::from(tcp).set_recv_buffer_size(bytes)
}

/// Sets `SO_RCVLOWAT` (socket(7)): the socket counts as readable once that many bytes wait, or the connection ended.
/// When the mark goes down and enough bytes wait already, the reader is woken at once. The kernel takes half the
/// receive buffer at most, which must be bounded: it would grow with the mark.
///
/// # Errors
/// Whatever the kernel says.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no safe wrapper of SO_RCVLOWAT exists, and eager reads more than halve the server's speed"
)]
pub(super) fn set(tcp: &TcpStream, bytes: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let size = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `tcp` is borrowed; the value is an i32 on our stack, and `size` is its
    // size, so the kernel reads nothing but these bytes and keeps no pointer to them.
    let result = unsafe {
        libc::setsockopt(tcp.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, std::ptr::from_ref(&bytes).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Not available here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_: &TcpStream, _: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_high_mark_holds_the_reader_and_a_low_one_lets_it_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut writer, _) = listener.accept().await.unwrap();
        set(&reader, 1000).unwrap();
        writer.write_all(&[1; 999]).await.unwrap();
        // Only the absence of a wake-up can be waited for; a machine too slow to deliver within it passes too.
        let woken = tokio::time::timeout(Duration::from_millis(50), reader.readable()).await;
        assert!(woken.is_err(), "woken below the mark");
        set(&reader, 1).unwrap();
        let mut bytes = [0; 2000];
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 999);
        set(&reader, 1000).unwrap();
        drop(writer);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0, "the end is told in spite of the mark");
    }
}
