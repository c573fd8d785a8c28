// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file that is recorded to: made with care, locked while it is written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use vcuda_protocol::trace::{Writer, block::MAGIC};

use super::to_io;

/// What becomes of a trace that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place.
    Replace,
    /// It stays, and the new one goes beside it: another process of the same run has written it.
    Keep,
}

/// Opens an empty file that this process has locked, at `path` or beside it.
///
/// The lock (flock(2), exclusive) is held until the file is closed. Who waits for it knows that the
/// recording is complete.
pub(super) fn create(path: &Path, pid: u32, existing: Existing) -> io::Result<(File, PathBuf)> {
    if let Some(file) = lock(path, existing)? {
        return Ok((file, path.to_owned()));
    }
    let beside = beside(path, pid);
    match lock(&beside, existing)? {
        Some(file) => {
            vcuda_transport::say!(
                "{} is another process's recording; process {pid} records to {}.",
                path.display(),
                beside.display()
            );
            Ok((file, beside))
        }
        None => Err(io::Error::other(format!(
            "{} and {} are recordings of other processes",
            path.display(),
            beside.display()
        ))),
    }
}

/// The file, emptied, or nothing if it is to stay or another process has locked it.
fn lock(path: &Path, existing: Existing) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if !file.metadata()?.is_file() || !is_replaceable(&mut file)? {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{} is there already and is not a vcuda trace, so it is not replaced; \
                 remove it or choose another name",
                path.display()
            ),
        ));
    }
    if existing == Existing::Keep && file.metadata()?.len() > 0 {
        return Ok(None);
    }
    file.set_len(0)?;
    io::Seek::rewind(&mut file)?;
    Ok(Some(file))
}

/// Whether a file is a trace or empty.
fn is_replaceable(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == MAGIC)
}

/// `name.PID.ending` for `name.ending`.
fn beside(path: &Path, pid: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{pid}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Ends the trace in good order.
pub(super) fn finish(writer: Writer<File>) -> io::Result<()> {
    writer.finish().map_err(to_io)?.flush()
}

/// Cuts off what was written of a block that did not get to its end.
pub(super) fn cut(writer: Writer<File>, good: u64) {
    // The disk is in trouble already: a reader copes with a file that could not be cut.
    let _ = writer.into_inner().set_len(good);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_a_trace_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thesis.tex");
        std::fs::write(&path, "years of work").unwrap();
        let refusal = create(&path, 1, Existing::Replace).unwrap_err().to_string();
        assert!(refusal.contains("thesis.tex"), "{refusal}");
        assert_eq!(std::fs::read(&path).unwrap(), b"years of work");
    }

    #[test]
    fn a_trace_of_the_same_run_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.vcuda");
        std::fs::write(&path, b"\x89vcuda\r\n and so on").unwrap();
        let (_, used) = create(&path, 77, Existing::Keep).unwrap();
        assert_eq!(used, folder.path().join("t.77.vcuda"));
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
    }

    #[test]
    fn an_old_trace_and_an_empty_file_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.vcuda");
        for old in [&b""[..], b"\x89vcuda\r\n and so on"] {
            std::fs::write(&path, old).unwrap();
            let (_, used) = create(&path, 1, Existing::Replace).unwrap();
            assert_eq!(used, path);
            assert_eq!(std::fs::read(&path).unwrap(), b"");
        }
    }

    #[test]
    fn a_second_recorder_of_one_name_writes_beside_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.vcuda");
        let (_first, _) = create(&path, 1, Existing::Replace).unwrap();
        let (_second, beside) = create(&path, 77, Existing::Replace).unwrap();
        assert_eq!(beside, folder.path().join("t.77.vcuda"));
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(create(&folder.path().join("no/t.vcuda"), 1, Existing::Replace).is_err());
    }
}
