//! Every file operation of the journal, behind two small traits.
//!
//! The traits let a test use a disk that fails, fills up or loses power at a chosen place. They know nothing about
//! segments. Called from the journal's threads, and for writes to the page cache from any thread that waits for one.

#[cfg(test)]
pub mod sim;

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::files;

/// A file system, as far as the journal uses one. Changes of names are durable after `sync_dir`.
pub trait Disk: Debug + Send + Sync {
    /// Makes the directory, durably, if it is missing.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names and sizes of the files in a directory, in arbitrary order.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// All bytes of a file, in place of what the buffer held.
    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()>;
    /// A new, empty file; replaces an existing one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The size of the volume that a directory is on, and the free bytes of it; `None` if that is not known.
    fn space(&self, _dir: &Path) -> Option<Space> {
        None
    }
}

/// The bytes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all bytes at the offset, or fails having written some, none or all of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written so far durable (`fdatasync`). After a failure nothing is known about any of it.
    fn sync(&self) -> io::Result<()>;
    /// Fills the buffer from the offset on, as far as the file goes. Returns how many bytes there were.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// The disk of the machine.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for file in fs::read_dir(dir)? {
            let file = file?;
            let metadata = file.metadata()?;
            if metadata.is_file() {
                files.push((file.file_name().to_string_lossy().into_owned(), metadata.len()));
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        File::open(path)?.read_to_end(bytes).map(drop)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        // it holds data: only its owner may read it
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        files::sync_folder(dir)
    }

    fn space(&self, dir: &Path) -> Option<Space> {
        let volume = rustix::fs::statvfs(dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Some(Space { total: bytes(volume.f_blocks), free: bytes(volume.f_bavail) })
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
