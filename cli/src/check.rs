// SPDX-License-Identifier: MIT OR Apache-2.0
//! How `vcuda run --check` learns what its program's workers found: each writes a line to a file
//! that it holds a lock on while it works.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use vcuda_replayer::devices::cpu::Checker;

/// Names the file.
pub const REPORT: &str = "VCUDA_CHECK_REPORT";

/// A worker's check, from its start to its end.
pub struct Check {
    checker: Arc<Checker>,
    report: Option<File>,
}

impl Check {
    /// What the environment asks for.
    pub fn from_env() -> anyhow::Result<Option<Check>> {
        let checker = Checker::from_env()?.map(Arc::new);
        checker.map(Check::begin).transpose()
    }

    pub fn checker(&self) -> Arc<Checker> {
        self.checker.clone()
    }

    fn begin(checker: Arc<Checker>) -> anyhow::Result<Check> {
        let report = std::env::var_os(REPORT).map(|path| {
            let file = OpenOptions::new()
                .append(true)
                .open(&path)
                .and_then(|file| file.lock_shared().map(|()| file));
            file.with_context(|| format!("{} cannot be written", Path::new(&path).display()))
        });
        Ok(Check {
            checker,
            report: report.transpose()?,
        })
    }

    /// Says what was found.
    pub fn end(self) {
        self.checker.summary();
        if let Some(mut report) = self.report {
            // `vcuda run` may be gone: nobody else reads it.
            let _ = report.write_all(format!("{}\n", self.checker.count()).as_bytes());
        }
    }
}

/// The file, while `vcuda run --check` waits for its program.
pub struct Report(PathBuf);

impl Report {
    pub fn new() -> anyhow::Result<Report> {
        let name = format!("vcuda-check-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        File::create_new(&path).with_context(|| format!("{} cannot be created", path.display()))?;
        Ok(Report(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What all workers found.
    pub fn mistakes(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(&self.0)?;
        Ok(text
            .lines()
            .filter_map(|line| line.parse::<u64>().ok())
            .sum())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // What is left of it does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}
