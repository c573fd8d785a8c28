// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda worker`: one program's commands, executed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{layout, output};
use vcuda_replayer::devices::Device;
use vcuda_replayer::guest::Channel;
use vcuda_replayer::recorder::{self, Existing};
use vcuda_replayer::worker::{Guest, Hangup, serve};
use vcuda_replayer::{Observer, Recorder, Window};
use vcuda_transport::{Futex, accept, say, wait_for_hangup};

use crate::args::Worker;
use crate::check::Check;
use crate::{device, in_full};

/// Set by `vcuda record`: a recording that is there is one of the same run.
pub const KEEP: &str = "VCUDA_RECORD_KEEP";

pub fn worker(args: Worker) -> anyhow::Result<ExitCode> {
    let socket = take_socket().context(
        "A worker is started by libvcuda.so or `vcuda serve`, with the session's socket as its standard input",
    )?;
    if !args.foreground {
        detach()?;
    }
    let mut check = None;
    let (guest, program) = match args.guest {
        true => guest(&args, socket, &mut check)?,
        false => local(&args, socket, &mut check)?,
    };
    let end = serve(guest);
    if let Some(check) = check {
        check.end();
    }
    end.with_context(|| format!("The session of {program} is ended"))?;
    // A GPU's driver has something to do at a process's end that may wait for kernels which never
    // end. The operating system ends them with the process.
    // SAFETY: nothing is left to be written; what this process held is given back by its end.
    unsafe { libc::_exit(0) }
}

/// A session that is over for so long will not end by itself: its thread is stuck in a driver that
/// waits for a kernel.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Greets a client of this machine.
fn local(
    args: &Worker,
    socket: UnixStream,
    check: &mut Option<Check>,
) -> anyhow::Result<(Guest, String)> {
    let greeting = accept(&socket)?;
    let prepared = (|| {
        let hello = &greeting.hello;
        anyhow::ensure!(
            hello.window_len > layout::STAGING_LEN,
            "The client's window of {} bytes has no room behind its staging area.",
            hello.window_len
        );
        let window = Window {
            base: hello.window_base,
            memory: greeting.window.map(Some(hello.window_base))?.shared(),
            backing: None,
        };
        let control = greeting.control.map(None)?.shared();
        let (devices, observer) = prepare(args, hello, &window, &control, check)?;
        Ok((window, control, devices, observer))
    })();
    let (window, control, devices, observer) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            greeting.refuse(&socket, in_full(&error))?;
            return Err(error);
        }
    };
    greeting.welcome(&socket, devices.len() as u32)?;
    let hangup = Hangup::new();
    beside({
        let hangup = hangup.clone();
        move || {
            wait_for_hangup(&socket);
            hangup.hang_up();
            std::thread::sleep(LAST_WORDS);
            say!("The session does not end; its worker does.");
            // SAFETY: what this process held is given back by its end.
            unsafe { libc::_exit(i32::from(crate::FAILED)) }
        }
    })?;
    let guest = Guest {
        control,
        window,
        notify: Arc::new(Futex),
        devices,
        observer,
        memory: None,
        hangup,
    };
    Ok((guest, greeting.hello.program))
}

/// Greets a client in a virtual machine, by way of the daemon.
fn guest(
    args: &Worker,
    socket: UnixStream,
    check: &mut Option<Check>,
) -> anyhow::Result<(Guest, String)> {
    let mut channel = Channel::new(socket)?;
    let greeted = channel.greeting()?;
    let prepared = prepare(
        args,
        &greeted.hello,
        &greeted.window,
        &greeted.control,
        check,
    );
    let (devices, observer) = prepared.inspect_err(|error| {
        let reason = in_full(error);
        channel.welcome(&greeted, &Welcome::Refused { reason });
    })?;
    channel.welcome(&greeted, &Welcome::accepted(devices.len() as u32));
    let hangup = Hangup::new();
    beside({
        let hangup = hangup.clone();
        move || channel.run(&hangup)
    })?;
    let guest = Guest {
        control: greeted.control,
        window: greeted.window,
        notify: greeted.notify,
        devices,
        observer,
        memory: Some(greeted.memory),
        hangup,
    };
    Ok((guest, greeted.hello.program))
}

/// Runs what listens to the other side while the session is served.
fn beside(listen: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("vcuda-listen".into())
        .spawn(listen)?;
    Ok(())
}

type Prepared = (Vec<Arc<dyn Device>>, Option<Arc<dyn Observer>>);

/// The devices of a session, and the recorder if there is to be one.
fn prepare(
    args: &Worker,
    hello: &Hello,
    window: &Window,
    control: &SharedMemory,
    check: &mut Option<Check>,
) -> anyhow::Result<Prepared> {
    anyhow::ensure!(
        hello.functions == vcuda_api::TABLE_HASH,
        "The library and the worker have different lists of CUDA functions: they come from different builds. Install both from one build."
    );
    if args.served {
        send_output_to(control.clone());
    }
    *check = Check::from_env()?;
    let checker = check.as_ref().map(Check::checker);
    let devices = device::make(args.device, window, args.memory_limit, checker)?;
    let recording = match (&args.record, &hello.record) {
        (Some(folder), _) => Some(recording_in(folder, hello)),
        // A client of the daemon must not write files in its name.
        (None, Some(_)) if args.served => {
            say!(
                "Recordings are made on the host here (`vcuda serve --record`), not by VCUDA_RECORD."
            );
            None
        }
        (None, Some(path)) => Some(path.into()),
        (None, None) => None,
    };
    let observer = recording.and_then(|path| {
        record(&path, args, hello, &devices)
            // The program did not ask for it, and runs as well without.
            .inspect_err(|error| {
                say!(
                    "{} The program goes on without a recording.",
                    in_full(error)
                )
            })
            .ok()
    });
    Ok((devices, observer))
}

/// How long kernels that print wait for a program that does not read what they print.
const PATIENCE: Duration = Duration::from_secs(1);

/// What kernels print goes through the control memory, as this process does not have the program's
/// standard output.
fn send_output_to(control: SharedMemory) {
    let one_at_a_time = Mutex::new(());
    vcuda_transport::redirect(Box::new(move |channel, text| {
        let _guard = one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
        let late = Instant::now() + PATIENCE;
        let mut rest = output::write(&control, channel, text);
        while !rest.is_empty() && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(1));
            rest = output::write(&control, channel, rest);
        }
    }));
}

/// A file for a session's recording, named by program, process and time.
fn recording_in(folder: &Path, hello: &Hello) -> PathBuf {
    let program = Path::new(&hello.program).file_name().unwrap_or_default();
    let program: String = program
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!("{program}-{}-{}.vcuda", hello.pid, time.as_nanos());
    folder.join(name)
}

fn record(
    path: &Path,
    args: &Worker,
    hello: &Hello,
    devices: &[Arc<dyn Device>],
) -> anyhow::Result<Arc<dyn Observer>> {
    let infos: Vec<_> = devices.iter().map(|d| d.info()).collect();
    let existing = match std::env::var_os(KEEP) {
        Some(_) => Existing::Keep,
        None => Existing::Replace,
    };
    let mut properties = recorder::properties(hello, &infos);
    if !args.served {
        recorder::add_arguments(&mut properties, hello.pid);
    }
    let recorder = Recorder::create(path, hello.pid, existing, &properties)
        .with_context(|| format!("The recording {} cannot be written", path.display()))?;
    Ok(Arc::new(recorder))
}

/// The socket that is standard input, which is left to /dev/null: nothing here reads input, and
/// the socket must close when the session ends.
fn take_socket() -> anyhow::Result<UnixStream> {
    let stdin = std::io::stdin();
    let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

/// Leaves the program's family of processes: its `wait` must not see the worker, and a Ctrl-C for
/// the program must not end the worker before it has written what it recorded.
fn detach() -> anyhow::Result<()> {
    // SAFETY: no other thread runs yet, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("The worker could not be forked"),
        0 => {
            rustix::process::setsid()?;
            Ok(())
        }
        // SAFETY: the parent ends at once, without running what belongs to the child.
        _ => unsafe { libc::_exit(0) },
    }
}
