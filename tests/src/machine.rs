// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual machines: a guest with the driver in it, and the daemon that serves its device.
//!
//! Kernels, emulators and the driver are built by the scripts in scripts/vm and kept in the cache; the first test that
//! needs one waits for it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::{
    Finished, Run, Running, cpu_driver, library, program, repository, temporary_folder, vcuda,
    wait_until,
};

/// What a guest is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// User-mode Linux, which sees the host's files.
    Uml,
    /// Debian's kernel under Debian's QEMU, with a stand-in device.
    Debian,
    /// Debian's kernel under the QEMU of qemu-patch/.
    Patched,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Uml => "uml",
            Kind::Debian => "debian",
            Kind::Patched => "qemu",
        }
    }

    fn kernel(self) -> PathBuf {
        match self {
            Kind::Uml => script("uml.sh", ["fast"]),
            Kind::Debian | Kind::Patched => script("kernel.sh", ["6.1"]),
        }
    }
}

/// Runs a script of scripts/vm; gives the path that it prints.
fn script<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> PathBuf {
    let path = repository().join("scripts/vm").join(name);
    let output = Command::new(&path)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{} could not be started: {error}.", path.display()));
    assert!(
        output.status.success(),
        "{} failed; it says why.",
        path.display()
    );
    String::from_utf8_lossy(&output.stdout).trim_end().into()
}

/// A folder with stand-ins for libcudart and libcuda, made once.
pub fn shims() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = temporary_folder();
        Run::vcuda(["shims"])
            .arg(folder.path())
            .run()
            .expect_code(0);
        folder
    });
    folder.path()
}

/// A guest that can be booted any number of times: its initial file system.
#[derive(Debug)]
pub struct Guest {
    kind: Kind,
    folder: tempfile::TempDir,
}

impl Guest {
    /// A guest with the driver. `packed` programs are in it; one of User-mode Linux sees all of the host's.
    pub fn new(kind: Kind, packed: &[&Path]) -> Self {
        let folder = temporary_folder();
        let kernel = kind.kernel();
        let module = script("module.sh", [&kernel]);
        // The first bring the libraries that others need too; /bin/true is what a test program executes.
        let mut files = vec![library(), program("threads_streams"), "/bin/true".into()];
        files.extend(packed.iter().map(|path| path.to_path_buf()));
        let status = Command::new(repository().join("scripts/vm/initramfs.sh"))
            .arg(folder.path().join("initramfs"))
            .arg("--kernel")
            .arg(&kernel)
            .arg("--module")
            .arg(&module)
            .args(&files)
            // The programs' libraries are looked for where the stand-ins are.
            .env("LD_LIBRARY_PATH", shims())
            .status()
            .expect("the script can be started");
        assert!(status.success(), "The initial file system was not made.");
        Guest { kind, folder }
    }

    /// A file of the host that a guest of User-mode Linux sees under the same path, if there is one.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Boots the guest and runs a line of shell in it. In its environment are `$PROGRAMS`, and `$LIBRARY` to preload.
    pub fn boot(&self, daemon: &Daemon, line: &str) -> Run {
        let root = repository();
        let programs = program("seed");
        let programs = programs.parent().expect("it lies in a folder");
        let line = format!(
            "export PROGRAMS={} LIBRARY={} LD_LIBRARY_PATH={}\n{line}",
            programs.display(),
            library().display(),
            shims().display()
        );
        let mut run = Run::new(root.join("scripts/vm/boot.sh"))
            .arg(self.kind.name())
            .arg("--initramfs")
            .arg(self.folder.path().join("initramfs"))
            .arg("--socket")
            .arg(&daemon.socket);
        if self.kind == Kind::Uml {
            for share in [
                self.folder.path(),
                root,
                programs,
                shims(),
                library().parent().expect("a folder"),
            ] {
                run = run.arg("--share").arg(share);
            }
        }
        run.args(["--memory", "768", "--time", "1180", "--", "sh", "-c", &line])
            .patience(Duration::from_secs(1200))
    }
}

/// A line of shell that runs a test program in a guest.
pub fn under_vcuda(line: &str) -> String {
    format!("LD_PRELOAD=$LIBRARY {line}")
}

/// `vcuda serve --vhost-user`.
#[derive(Debug)]
pub struct Daemon {
    pub running: Running,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

fn on_nvidia(daemon: Run) -> Run {
    daemon
        .args(["--device", "nvidia"])
        .env("VCUDA_CUDA_DRIVER", cpu_driver())
}

impl Daemon {
    /// Starts the daemon with further arguments, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Daemon::start_by("--vhost-user", |run| run.args(arguments))
    }

    /// One that serves programs of this machine: those that are run `VCUDA_TRANSPORT=`[`Daemon::transport`].
    /// It has the NVIDIA device, over a CUDA driver that executes on the CPU device.
    pub fn start_for_programs(arguments: &[&str]) -> Self {
        Daemon::start_by("--unix", |run| on_nvidia(run).args(arguments))
    }

    /// What programs use to reach it.
    pub fn transport(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The same with the NVIDIA device, over a CUDA driver that executes on the CPU device.
    pub fn start_on_nvidia() -> Self {
        Daemon::start_by("--vhost-user", on_nvidia)
    }

    fn start_by(how: &str, prepare: impl FnOnce(Run) -> Run) -> Self {
        let folder = temporary_folder();
        let socket = folder.path().join("vcuda.sock");
        let run = Run::new(vcuda())
            .args(["serve", how])
            .arg(&socket)
            .patience(Duration::from_secs(1200));
        let running = prepare(run).start();
        wait_until("the daemon listens", || socket.exists());
        Daemon {
            running,
            socket,
            _folder: folder,
        }
    }

    /// The workers that the daemon has started and that live.
    pub fn workers(&self) -> Vec<u32> {
        self.running.workers().ids()
    }

    /// Ends it as Ctrl-C does. It must remove its socket, and leave no worker.
    pub fn stop(self) -> Finished {
        self.running.interrupt();
        let workers = self.running.workers();
        let finished = self.running.wait();
        workers.expect_gone();
        assert!(!self.socket.exists(), "The socket was left behind.");
        finished
    }
}
