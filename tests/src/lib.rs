// SPDX-License-Identifier: MIT OR Apache-2.0
//! End-to-end tests: real CUDA programs, made by real CUDA compilers, under the built `vcuda`.
//!
//! This crate builds what is tested ([`vcuda`], [`library`], [`program`]) and runs it ([`Run`]) with a limit of
//! time, so that a hang is a failure and not a test that never ends. It knows vcuda from outside alone: the command, the
//! library, files. No crate of the workspace is a dependency of it.
//!
//! ```no_run
//! use vcuda_tests::{Run, program};
//!
//! let result = Run::vcuda(["run"]).arg(program("vector_add")).arg("1000").run();
//! result.expect_pass("vector_add");
//! ```

pub mod machine;
pub mod trace;

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a program may take. The slowest take a few seconds; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
}

/// The folder with the `vcuda` command and libvcuda.so, built in the profile of the tests.
///
/// `VCUDA_BIN` names another folder, for instance that of an installation.
pub fn installation() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("VCUDA_BIN") {
            return folder.into();
        }
        build(&["vcuda", "vcuda-cli"])
    })
}

/// The `vcuda` command.
pub fn vcuda() -> PathBuf {
    installation().join("vcuda")
}

/// libvcuda.so.
pub fn library() -> PathBuf {
    installation().join("libvcuda.so")
}

/// A CUDA driver that executes on the CPU device, for `VCUDA_CUDA_DRIVER`.
pub fn cpu_driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| build(&["vcuda-cpu-driver"]).join("libvcuda_cpu_driver.so"))
}

/// Builds packages in the profile of the tests, and gives the folder that they are in then.
fn build(packages: &[&str]) -> PathBuf {
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--profile", profile])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .current_dir(repository())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "{packages:?} do not build: {status}.");
    // This test is TARGET/PROFILE/deps/NAME.
    let test = std::env::current_exe().expect("the test knows its path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("the test lies in a target folder");
    folder.to_owned()
}

/// A program of tests/programs, built. The first call builds all that are not.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let script = repository().join("tests/build.sh");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("{} could not be started: {error}.", script.display()))?;
        if !output.status.success() {
            return Err(format!(
                "The test programs could not be built; {} says why.",
                script.display()
            ));
        }
        Ok(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim_end(),
        ))
    });
    match folder {
        Ok(folder) => {
            let path = folder.join(name);
            assert!(
                path.exists(),
                "There is no program {name} in tests/programs."
            );
            path
        }
        Err(reason) => panic!("{reason}"),
    }
}

/// A folder of its own, which goes when the value does.
pub fn temporary_folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Records a test program, which must pass, into a file in the folder.
pub fn record(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let trace = folder.join(format!("{name}.vcuda"));
    Run::vcuda(["record", "-o"])
        .arg(&trace)
        .arg(program(name))
        .args(arguments)
        .run()
        .expect_pass(name)
        .expect_stderr("commands recorded to");
    trace
}

/// Waits until the condition holds. If it never does, the test fails.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "In vain waited until {what}.");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process to run, with a limit of time.
#[derive(Debug)]
pub struct Run {
    command: Command,
    patience: Duration,
    mark: String,
}

/// The environment variable by which the processes of one [`Run`] are told from others.
const MARK: &str = "VCUDA_TESTS_MARK";

impl Run {
    /// `path` itself, without vcuda.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}.{number}", std::process::id());
        let mut command = Command::new(path);
        command.env(MARK, &mark);
        Self {
            command,
            patience: PATIENCE,
            mark,
        }
    }

    /// A line of shell, as a user types it: `vcuda` is in the PATH, and the test programs are in the folder `$PROGRAMS`.
    pub fn shell(script: &str) -> Self {
        let mut path = installation().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let programs = program("vector_add");
        Self::new("/bin/sh")
            .args(["-c", script])
            .env("PATH", path)
            .env("PROGRAMS", programs.parent().expect("it lies in a folder"))
    }

    /// The `vcuda` command with these arguments.
    pub fn vcuda<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut run = Self::new(vcuda());
        run.command.args(arguments);
        run
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// One environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The working directory.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Another limit of time than [`PATIENCE`].
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the process and leaves it running.
    pub fn start(mut self) -> Running {
        // Files and not pipes: a process that the program leaves behind would keep a pipe open.
        let stdout = tempfile::tempfile().expect("a temporary file can be made");
        let stderr = tempfile::tempfile().expect("a temporary file can be made");
        self.command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().expect("a file can be duplicated"))
            .stderr(stderr.try_clone().expect("a file can be duplicated"))
            .process_group(0);
        // SAFETY: signal is async-signal-safe, and SIG_DFL is a valid disposition.
        unsafe {
            self.command.pre_exec(|| {
                // Where the tests run in the background, a shell may have made them ignore it.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut attempts = 0;
        let child = loop {
            match self.command.spawn() {
                Ok(child) => break child,
                // A test that runs at the same time has forked while this one had the program that
                // it just copied open for writing; that is over in a moment.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && attempts < 100 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => panic!("{:?} could not be started: {error}.", self.command),
            }
        };
        Running {
            what: format!("{:?}", self.command),
            child,
            patience: self.patience,
            mark: self.mark,
            stdout,
            stderr,
        }
    }

    /// Runs the process to its end. One that takes too long is killed, and the test fails.
    pub fn run(self) -> Finished {
        self.start().wait()
    }
}

/// A process that was started. Killed, with the processes it started, when dropped.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    patience: Duration,
    mark: String,
    stdout: File,
    stderr: File,
}

impl Running {
    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9` of the process alone: what it started lives on.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
    }

    /// Ctrl-C: SIGINT for the process and all in its group.
    pub fn interrupt(&self) {
        // SAFETY: kill takes no pointers. The group is the child's own, which has not been waited for.
        unsafe { libc::kill(-(self.id() as libc::pid_t), libc::SIGINT) };
    }

    /// `kill -9` of the process and all that it started, wherever they went.
    pub fn kill_all(self) {
        let mark = format!("{MARK}={}", self.mark);
        let processes = std::fs::read_dir("/proc").expect("there is /proc");
        for id in processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            if environment.split(|&b| b == 0).any(|v| v == mark.as_bytes()) {
                // SAFETY: kill takes no pointers; the process is one that this run started.
                unsafe { libc::kill(id, libc::SIGKILL) };
            }
        }
    }

    /// The workers that serve this process and its descendants.
    pub fn workers(&self) -> Workers {
        Workers {
            mark: format!("{MARK}={}", self.mark),
        }
    }

    /// Waits for the end. A process that takes too long is killed, and the test fails.
    pub fn wait(mut self) -> Finished {
        let start = Instant::now();
        let mut pause = Duration::from_micros(500);
        let status = loop {
            match self
                .child
                .try_wait()
                .expect("the process can be waited for")
            {
                Some(status) => break status,
                None if start.elapsed() > self.patience => {
                    let (stdout, stderr) = (contents(&self.stdout), contents(&self.stderr));
                    let (what, patience) = (self.what.clone(), self.patience);
                    drop(self);
                    panic!(
                        "{what} was not finished after {patience:?}, and was killed.\n{stdout}{stderr}"
                    );
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let finished = Finished {
            what: self.what.clone(),
            status,
            stdout: contents(&self.stdout),
            stderr: contents(&self.stderr),
        };
        assert!(
            !finished.stderr.contains("panicked at"),
            "{} panicked.\n{}",
            finished.what,
            finished.stderr
        );
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: kill takes no pointers. The group is the child's own, which has not been waited for.
            unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

/// The `vcuda worker` processes of one [`Run`].
#[derive(Debug)]
pub struct Workers {
    mark: String,
}

impl Workers {
    /// The ids of those that live.
    pub fn ids(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("there is /proc");
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&id| self.has(id))
            .collect()
    }

    /// A process that ends meanwhile, or belongs to another user, is none. Nor is one that was killed and not yet waited
    /// for: its command line is empty.
    fn has(&self, id: u32) -> bool {
        let list = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let is_worker = list("cmdline").split(|&b| b == 0).nth(1) == Some(b"worker");
        is_worker
            && list("environ")
                .split(|&b| b == 0)
                .any(|variable| variable == self.mark.as_bytes())
    }

    /// Waits until one of them computes: nothing else shows from outside that a kernel has begun. A session that has only
    /// been set up uses a fraction of this time.
    #[track_caller]
    pub fn wait_until_one_computes(&self) {
        wait_until("a worker computes", || {
            self.ids()
                .into_iter()
                .any(|id| processor_time(id) >= Duration::from_secs(1))
        });
    }

    /// `kill -9` of all.
    pub fn kill(&self) {
        for id in self.ids() {
            // SAFETY: kill takes no pointers; the process is one that this run started.
            unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
        }
    }

    /// They must end soon, though nobody tells them to.
    #[track_caller]
    pub fn expect_gone(&self) {
        let start = Instant::now();
        while !self.ids().is_empty() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "The workers {:?} outlive their program.",
                self.ids()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a process has had of the processors; nothing if it is gone (proc(5), /proc/PID/stat, fields 14 and 15).
fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // Linux counts in hundredths of a second here on every architecture that CUDA has.
    Duration::from_millis(ticks * 10)
}

/// What the file holds, read without moving the offset that the process writes at.
fn contents(file: &File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().map_or(0, |m| m.len() as usize)];
    file.read_exact_at(&mut bytes, 0)
        .expect("the output can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on standard output.
    pub stdout: String,
    /// What it wrote on standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code must be `code`.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        let ended = match self.status.signal() {
            Some(signal) => format!("by signal {signal}"),
            None => format!("with code {}", self.status.code().unwrap_or(-1)),
        };
        assert!(
            self.status.code() == Some(code),
            "{} ended {ended}, not with code {code}.\n{}{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The test program `name` must have passed.
    #[track_caller]
    pub fn expect_pass(&self, name: &str) -> &Self {
        self.expect_code(0);
        assert!(
            self.stdout
                .lines()
                .any(|line| line == format!("PASS {name}")),
            "{} did not say that it passed.\n{}{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output must contain `text`.
    #[track_caller]
    pub fn expect_stdout(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text),
            "{} did not say '{text}' on standard output.\n{}{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard error must contain `text`.
    #[track_caller]
    pub fn expect_stderr(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "{} did not say '{text}' on standard error.\n{}",
            self.what,
            self.stderr
        );
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Run {
        Run::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn output_and_exit_code_are_kept_apart() {
        let result = shell("echo out; echo err >&2; exit 3").run();
        result.expect_code(3).expect_stderr("err\n");
        assert_eq!(result.stdout, "out\n");
    }

    #[test]
    #[should_panic(expected = "was not finished after 100ms")]
    fn a_process_that_hangs_is_a_failure() {
        shell("sleep 60").patience(Duration::from_millis(100)).run();
    }

    #[test]
    fn a_process_left_behind_does_not_hold_up_the_test() {
        let start = Instant::now();
        shell("sleep 20 & exit 0").run().expect_code(0);
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    #[should_panic(expected = "by signal 9")]
    fn a_signal_is_no_exit_code() {
        shell("kill -9 $$").run().expect_code(0);
    }

    #[test]
    #[should_panic(expected = "did not say that it passed")]
    fn exit_code_0_alone_is_not_enough() {
        shell("echo PASS other").run().expect_pass("vector_add");
    }
}
