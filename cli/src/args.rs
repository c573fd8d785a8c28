// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line, declared once: parsing, help, completions and man pages come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::device::{self, Kind};

/// Run CUDA programs without a GPU, record what they do, and replay it.
///
/// A program's CUDA calls are taken over by libvcuda.so and executed by a worker process, whose
/// CPU device runs the program's own PTX. Start with `vcuda analyze ./program`, then
/// `vcuda run ./program`.
#[derive(Debug, Parser)]
#[command(name = "vcuda", version, propagate_version = true)]
#[command(after_help = "Environment:
  VCUDA_RECORD=FILE        record the program's CUDA calls to FILE
  VCUDA_TRANSPORT=WAY      where the worker is: auto (default: the virtual machine's device if
                           there is one, else this machine), local, device, device:PATH,
                           unix:SOCKET
  VCUDA_WORKER=PATH        the vcuda command that serves as worker
  VCUDA_DEVICE=KIND        what executes commands: cpu (default), nvidia, auto or null
  VCUDA_CUDA_DRIVER=PATH   the driver's library, where it is not where drivers are
  VCUDA_CPU_DEVICES=N      number of CPU devices (default 1)
  VCUDA_CPU_TIME_LIMIT=S   seconds after which a kernel is ended (default: none)
  VCUDA_CHECK=LIST         look for mistakes in kernels: memory, init, race, or all
  CUDA_VISIBLE_DEVICES     which devices a program sees, as in CUDA")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Analyze(Analyze),
    Run(Run),
    Record(Record),
    Replay(Replay),
    Trace(Trace),
    Shims(Shims),
    Serve(Serve),
    Worker(Worker),
    /// Say what vcuda finds on this machine, and whether it works.
    ///
    /// Looks for the library, the worker, shared memory, devices, and starts a worker once. Exit
    /// code 0 if programs can run, 1 if not.
    Doctor,
    Completions(Completions),
    Man(Man),
}

/// Say what a CUDA binary needs, and whether it will run.
///
/// Reads ELF files: the CUDA functions they import or call, the libraries they need, the kernels
/// and architectures that they carry. Exit code 0: all runs; 1: something is missing; 2: not a
/// readable ELF file.
#[derive(Debug, Args)]
pub struct Analyze {
    /// Programs, libraries, or folders that are searched for them.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Print JSON, one array with an object for each file.
    #[arg(long)]
    pub json: bool,
    /// Write Rust skeletons of the functions that are missing, and the shim library, into DIR.
    #[arg(long, value_name = "DIR")]
    pub stubs: Option<PathBuf>,
}

/// What is to be run.
#[derive(Debug, Args)]
pub struct Program {
    /// What executes its commands, where the worker is on this machine.
    #[arg(long, value_enum, default_value = "cpu", env = device::VARIABLE)]
    pub device: Kind,
    /// The program and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    pub line: Vec<OsString>,
}

/// Run a CUDA program.
///
/// Sets LD_PRELOAD to libvcuda.so, puts stand-ins for libcudart and libcuda first on the library
/// path so that the program starts without them, and becomes the program. The exit code is the
/// program's.
#[derive(Debug, Args)]
pub struct Run {
    /// Look for mistakes in kernels, slowly: accesses outside of allocations (memory), reads of
    /// device memory that was never written (init), races in shared and global memory (race).
    ///
    /// Each is told on standard error, with its kernel, source line (of kernels compiled with
    /// -lineinfo) and thread; a summary comes at the end. The exit code is the program's, or 1 if
    /// that is 0 and there were mistakes.
    #[arg(
        long,
        value_name = "memory,init,race",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    pub check: Option<String>,
    #[command(flatten)]
    pub program: Program,
}

/// Run a CUDA program and record its calls to a file.
///
/// Every device command is recorded with the CUDA function that caused it, its thread, time,
/// arguments, result and data. The exit code is the program's. A program that is killed leaves a
/// trace that is good up to its last complete record.
#[derive(Debug, Args)]
pub struct Record {
    /// The trace file to write.
    #[arg(short, long, value_name = "FILE", default_value = "trace.vcuda")]
    pub output: PathBuf,
    #[command(flatten)]
    pub program: Program,
}

/// Execute a trace on a device and compare the results with the recording.
///
/// Every returned value and every buffer that was copied to the host is compared. Exit code 0: all
/// equal; 1: something differs (the first call that does is named); 2: the trace cannot
/// be read, or not to its end.
#[derive(Debug, Args)]
pub struct Replay {
    /// The trace file.
    pub trace: PathBuf,
    /// Compare buffers that differ as floating-point numbers, and accept a difference of T relative
    /// to the larger number (below 1: absolute).
    #[arg(long, value_name = "T")]
    pub tolerance: Option<f64>,
    /// What buffers are taken to consist of where a tolerance is given.
    #[arg(long, value_enum, default_value = "f32", requires = "tolerance")]
    pub element: FloatType,
    /// What executes the commands.
    #[arg(long, value_enum, default_value = "cpu", env = device::VARIABLE)]
    pub device: Kind,
    /// Say nothing but differences.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Floating-point numbers in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloatType {
    F32,
    F64,
}

/// Print what a trace holds.
#[derive(Debug, Args)]
pub struct Trace {
    #[command(subcommand)]
    pub what: TraceCommand,
}

#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// What was recorded, when, and how much: counts by function, data, how the trace ends.
    Info { trace: PathBuf },
    /// Each command on a line: number, time, thread, function, arguments, result.
    Calls { trace: PathBuf },
    /// Each record as a line of JSON.
    Json { trace: PathBuf },
}

/// Write stand-ins for libcudart and libcuda into a folder.
///
/// With the folder first in LD_LIBRARY_PATH, programs that need libcudart.so.N start without it
/// and use vcuda.
#[derive(Debug, Args)]
pub struct Shims {
    /// The folder; it is made if it is not there.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Execute one program's commands. libvcuda.so and `vcuda serve` start this by themselves.
///
/// Standard input is the Unix socket of the session.
#[derive(Debug, Args)]
pub struct Worker {
    /// Stay in the foreground, as a child of whoever started it (for debuggers).
    #[arg(long)]
    pub foreground: bool,
    /// What executes the commands.
    #[arg(long, value_enum, default_value = "cpu", env = device::VARIABLE)]
    pub device: Kind,
    /// The program runs in a virtual machine; the socket is the daemon's.
    #[arg(long, hide = true, requires = "served")]
    pub guest: bool,
    /// A daemon started this: output goes to the program through the session.
    #[arg(long, hide = true)]
    pub served: bool,
    /// Bytes of device memory that the program may have.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,
    /// Record to a file in DIR.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// Serve programs in a virtual machine, or of this machine.
///
/// One worker process for each program executes its commands, so that what goes wrong in one stays
/// there. Ctrl-C or SIGTERM ends the sessions and removes the sockets.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("socket").required(true).multiple(true))]
pub struct Serve {
    /// Serve the vcuda device of a virtual machine: the vhost-user socket that its monitor
    /// connects to.
    #[arg(long, value_name = "SOCKET", group = "socket")]
    pub vhost_user: Option<PathBuf>,
    /// Serve programs of this machine that run with VCUDA_TRANSPORT=unix:SOCKET.
    #[arg(long, value_name = "SOCKET", group = "socket")]
    pub unix: Option<PathBuf>,
    /// What executes the commands.
    #[arg(long, value_enum, default_value = "cpu", env = device::VARIABLE)]
    pub device: Kind,
    /// Bytes of device memory that each program may have, such as 512M or 8G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,
    /// Programs that may be served at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_sessions: u32,
    /// Record each program's calls to a file in DIR, without its help.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// A number of bytes: 4096, 512K, 512M, 8G, 1T.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        Some(b'T' | b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .filter(|&n| n > 0)
        .ok_or_else(|| format!("\"{text}\" is no size; sizes are like 4096, 512M or 8G"))
}

/// Print a shell's completion script.
#[derive(Debug, Args)]
pub struct Completions {
    pub shell: Shell,
}

/// Write man pages into a folder.
#[derive(Debug, Args)]
pub struct Man {
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_consistent() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(super::size("4096"), Ok(4096));
        assert_eq!(super::size("512M"), Ok(512 << 20));
        assert_eq!(super::size("8g"), Ok(8 << 30));
        for wrong in ["", "M", "0", "-1", "1.5G", "99999999T", "8GB"] {
            assert!(super::size(wrong).is_err(), "{wrong}");
        }
    }
}
