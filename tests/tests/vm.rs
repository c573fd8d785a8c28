// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA programs in virtual machines that have neither GPU nor NVIDIA driver.

use std::fs;

use vcuda_tests::machine::{Daemon, Guest, Kind, shims, under_vcuda};
use vcuda_tests::{Finished, Run, library, program, temporary_folder, vcuda, wait_until};

fn names() -> Vec<String> {
    let folder = program("seed");
    let folder = folder.parent().unwrap();
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A boot takes all of a core.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs programs in one guest, which all have to pass, and a line behind them.
fn all_pass(daemon: &Daemon, names: &[String], behind: &str) -> Finished {
    let guest = Guest::new(Kind::Uml, &[]);
    let line = format!(
        "cd /tmp; for name in {}; do LD_PRELOAD=$LIBRARY timeout 240 $PROGRAMS/$name >output 2>&1 </dev/null; \
         status=$?; grep -q \"^PASS $name\" output && [ $status = 0 ] && echo \"passed: $name\" || \
         {{ echo \"failed: $name with $status\"; tail -n 5 output; }}; done; {behind}",
        names.join(" ")
    );
    let result = guest.boot(daemon, &line).run();
    let passed = names.iter().filter(|name| {
        result
            .stdout
            .lines()
            .any(|l| l == format!("passed: {name}"))
    });
    let passed = passed.count();
    assert_eq!(passed, names.len(), "{}\n{}", result.stdout, result.stderr);
    result
}

#[test]
fn every_program_passes_as_it_does_locally() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    all_pass(&daemon, &names(), "");
    daemon.stop();
}

#[test]
fn a_gpu_uses_the_guests_pages_and_lets_go_of_them() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start_on_nvidia();
    let names = [
        "async_copies",
        "big_copy",
        "host_functions",
        "managed",
        "memcpy_2d_3d",
        "pinned_memory",
        "registered_memory",
    ];
    let doctor = format!("{} doctor", vcuda().display());
    let result = all_pass(&daemon, &names.map(String::from), &doctor);
    result.expect_stdout(" 0 pages pinned");
    daemon.stop();
}

#[test]
fn bulk_data_is_not_copied_by_the_guests_kernel() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    let guest = Guest::new(Kind::Uml, &[]);
    let line = format!(
        "{} && {} doctor",
        under_vcuda("$PROGRAMS/big_copy 64"),
        vcuda().display()
    );
    let result = guest.boot(&daemon, &line).run();
    result.expect_stdout("PASS big_copy");
    let device = result
        .stdout
        .lines()
        .find(|line| line.contains("virtual device"))
        .unwrap_or_else(|| panic!("{}{}", result.stdout, result.stderr));
    assert!(
        device.contains(" 0 of them copied by the kernel"),
        "{device}"
    );
    assert!(device.contains(" 0 pages pinned"), "{device}");
    let transferred: u64 = device
        .split(", ")
        .find_map(|part| part.strip_suffix(" bytes transferred"))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{device}"));
    assert!(transferred >= 64 << 20, "{device}");
    daemon.stop();
}

#[test]
fn a_recording_is_taken_on_the_host_and_replays_there() {
    let _guard = one_at_a_time();
    let folder = temporary_folder();
    let traces = folder.path().to_str().unwrap();
    let daemon = Daemon::start(&["--record", traces]);
    let guest = Guest::new(Kind::Uml, &[]);
    let line = under_vcuda("$PROGRAMS/matmul_tiled && LD_PRELOAD=$LIBRARY $PROGRAMS/big_copy 3");
    guest.boot(&daemon, &line).run().expect_code(0);
    daemon.stop();
    let recorded: Vec<_> = fs::read_dir(traces)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(recorded.len(), 2, "{recorded:?}");
    for trace in recorded {
        Run::vcuda(["replay"]).arg(trace).run().expect_code(0);
    }
}

#[test]
fn a_memory_limit_is_what_the_program_can_have() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&["--memory-limit", "32M"]);
    let guest = Guest::new(Kind::Uml, &[]);
    let line = format!(
        "{}; {}",
        under_vcuda("$PROGRAMS/big_copy 64"),
        under_vcuda("$PROGRAMS/vector_add")
    );
    let result = guest.boot(&daemon, &line).run();
    result
        .expect_code(0)
        .expect_stdout("cudaErrorMemoryAllocation")
        .expect_stdout("PASS vector_add");
    daemon.stop();
}

/// A program whose one kernel runs for minutes.
const LONG: &str = "$PROGRAMS/mandelbrot 3000 100000000";

#[test]
fn a_worker_that_is_killed_ends_its_program_and_no_other() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    let guest = Guest::new(Kind::Uml, &[]);
    let line = format!(
        "{}; echo the program ended with $?; {}",
        under_vcuda(LONG),
        under_vcuda("$PROGRAMS/vector_add")
    );
    let machine = guest.boot(&daemon, &line).start();
    daemon.running.workers().wait_until_one_computes();
    daemon.running.workers().kill();
    machine
        .wait()
        .expect_code(0)
        .expect_stdout("cudaErrorDevicesUnavailable")
        .expect_stdout("the program ended with 1")
        .expect_stdout("PASS vector_add");
    daemon.stop();
}

#[test]
fn a_daemon_that_is_killed_ends_the_guests_waits_and_lets_the_driver_go() {
    let _guard = one_at_a_time();
    let mut daemon = Daemon::start(&[]);
    let guest = Guest::new(Kind::Uml, &[]);
    let line = format!(
        "{}; echo the program ended with $?; rmmod vcuda && echo the driver is gone",
        under_vcuda(LONG)
    );
    let machine = guest.boot(&daemon, &line).start();
    daemon.running.workers().wait_until_one_computes();
    let workers = daemon.running.workers();
    daemon.running.kill();
    machine
        .wait()
        .expect_stdout("the program ended with 1")
        .expect_stdout("the driver is gone");
    workers.expect_gone();
}

#[test]
fn a_guest_that_is_killed_leaves_no_worker_and_the_next_one_is_served() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    let guest = Guest::new(Kind::Uml, &[]);
    let machine = guest.boot(&daemon, &under_vcuda(LONG)).start();
    wait_until("there is a worker", || daemon.workers().len() == 1);
    machine.kill_all();
    wait_until("the worker is gone", || daemon.workers().is_empty());
    let line = under_vcuda("$PROGRAMS/vector_add");
    guest.boot(&daemon, &line).run().expect_code(0);
    daemon.stop();
}

#[test]
fn a_program_that_is_killed_leaves_no_worker() {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    let guest = Guest::new(Kind::Uml, &[]);
    // How fast the guest is does not matter: each side waits until the other has seen what it has to see.
    let (kill, end) = (guest.file("kill"), guest.file("end"));
    let line = format!(
        "({}) & until [ -e {} ]; do sleep 1; done; killall -9 mandelbrot; wait; until [ -e {} ]; do sleep 1; done",
        under_vcuda(LONG),
        kill.display(),
        end.display()
    );
    let machine = guest.boot(&daemon, &line).start();
    daemon.running.workers().wait_until_one_computes();
    fs::write(kill, "").unwrap();
    wait_until("the worker is gone", || daemon.workers().is_empty());
    fs::write(end, "").unwrap();
    machine.wait().expect_code(0);
    daemon.stop();
}

/// The seed program and a bulk copy under QEMU, which has no folder of the host.
fn a_machine_of_qemu(kind: Kind) {
    let _guard = one_at_a_time();
    let daemon = Daemon::start(&[]);
    let (seed, big_copy) = (program("seed"), program("big_copy"));
    let guest = Guest::new(kind, &[&seed, &big_copy, shims(), &library()]);
    let line = format!(
        "{} && {}",
        under_vcuda("$PROGRAMS/seed"),
        under_vcuda("$PROGRAMS/big_copy 16")
    );
    guest
        .boot(&daemon, &line)
        .run()
        .expect_code(0)
        .expect_stdout("PASS seed")
        .expect_stdout("PASS big_copy");
    daemon.stop();
}

#[test]
fn the_distributions_qemu_carries_the_device_by_a_stand_in() {
    a_machine_of_qemu(Kind::Debian);
}

/// The patched QEMU takes minutes to build: where it is not there, only the full set of tests builds it.
#[test]
fn the_patched_qemu_has_the_device() {
    let asked = std::env::var_os("VCUDA_TEST_ALL").is_some();
    let cache = std::env::var_os("VCUDA_CACHE")
        .map_or_else(|| vcuda_tests::repository().join(".cache"), Into::into);
    let is_there = fs::read_dir(cache).is_ok_and(|mut entries| {
        entries.any(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("qemu-") && path.join("qemu-system-x86_64").exists()
        })
    });
    if !asked && !is_there {
        eprintln!("The patched QEMU is not in the cache; VCUDA_TEST_ALL=1 builds it.");
        return;
    }
    a_machine_of_qemu(Kind::Patched);
}
