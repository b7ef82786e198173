//! A file that holds what came of one transaction that has not committed yet.
//!
//! In: bytes and where they belong. Out: the same bytes. Always: the file has no name and only we may open it, so that
//! no value stays on the disk once the process has ended, however it ended; it is made with the first bytes. Calls
//! block: they belong where blocking is allowed. Not here: what the bytes are, and how many there may be
//! (`in_progress`). Start at [`Spool`].

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// How often another name is tried if a file of that name exists.
const NAMES_TRIED: u32 = 8;

/// The bytes of one transaction.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Arc<Path>,
    file: OnceLock<File>,
}

impl Spool {
    /// Touches no disk yet.
    pub(super) fn new(folder: Arc<Path>) -> Self {
        Spool { folder, file: OnceLock::new() }
    }

    /// Writes all of these bytes at that place. Not from two threads at once.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let made = nameless(&self.folder)?;
                self.file.get_or_init(|| made)
            }
        };
        file.write_all_at(bytes, at)
    }

    /// Fills the buffer with the bytes from that place on.
    ///
    /// # Errors
    /// If the file has fewer, or cannot be read.
    pub(super) fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.file.get().ok_or(io::ErrorKind::UnexpectedEof)?.read_exact_at(into, at)
    }
}

/// Whether a spool can be kept in this folder.
///
/// # Errors
/// Why not.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    nameless(folder)?.write_all_at(&[0], 0)
}

/// A file that nobody else can open: its name goes before anything is written.
fn nameless(folder: &Path) -> io::Result<File> {
    let mut tried = 0;
    loop {
        let path = folder.join(format!(".sluicegate-{:016x}", fastrand::u64(..)));
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_TRIED => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_took_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().into());
        assert!(spool.file.get().is_none(), "no file before there is something to write");
        spool.write(b"abc", 0).unwrap();
        spool.write(b"de", 3).unwrap();
        let mut back = [0; 4];
        spool.read(&mut back, 1).unwrap();
        assert_eq!(&back, b"bcde");
        assert_eq!(spool.read(&mut back, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let about = spool.file.get().unwrap().metadata().unwrap();
        assert_eq!((about.permissions().mode() & 0o777, about.nlink()), (0o600, 0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        probe(folder.path()).unwrap();
        let missing = folder.path().join("missing");
        assert_eq!(probe(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        let spool = Spool::new(missing.as_path().into());
        assert_eq!(spool.write(b"a", 0).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(spool.read(&mut [0], 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
