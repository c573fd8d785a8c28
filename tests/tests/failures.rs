// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program and its user see when something is wrong: with the worker, the machine, or the program's end.

use std::fs;
use std::time::{Duration, Instant};

use vcuda_tests::{Run, Running, library, program, temporary_folder, wait_until};

/// `vcuda run` of a program whose one kernel runs for minutes, in that kernel.
fn in_a_long_kernel() -> Running {
    let running = Run::vcuda(["run"])
        .arg(program("mandelbrot"))
        .args(["3000", "100000000"])
        .start();
    running.workers().wait_until_one_computes();
    running
}

mod a_kernel_that_never_ends {
    use super::*;

    #[test]
    fn because_of_a_barrier_is_reported_with_block_barrier_and_who_waits() {
        let result = Run::vcuda(["run"]).arg(program("never_ends")).run();
        result
            .expect_pass("never_ends")
            .expect_stderr("barrier 0 can never complete; 64 of 96 threads arrived")
            .expect_stderr("block (0,0,0)")
            .expect_stderr("lanes 0xffffffff of warp 1 wait at barrier 1");
    }

    #[test]
    fn because_of_a_shuffle_is_reported_with_the_lanes_that_are_missing() {
        let result = Run::vcuda(["run"])
            .arg(program("never_ends"))
            .arg("shuffle")
            .run();
        result
            .expect_pass("never_ends")
            .expect_stderr("wait for lanes 0xffff0000");
    }

    #[test]
    fn is_ended_by_the_time_limit() {
        let result = Run::vcuda(["run"])
            .arg(program("never_ends"))
            .arg("endless")
            .env("VCUDA_CPU_TIME_LIMIT", "1")
            .run();
        result
            .expect_pass("never_ends")
            .expect_stderr("ran longer than 1s");
    }
}

mod a_worker {
    use super::*;

    #[test]
    fn that_is_killed_gives_its_program_an_error_at_once() {
        let running = in_a_long_kernel();
        running.workers().kill();
        let start = Instant::now();
        let result = running.wait();
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "The kernel would have run for minutes."
        );
        result
            .expect_code(1)
            .expect_stderr("cudaErrorDevicesUnavailable");
        let sentences: Vec<_> = result
            .stderr
            .lines()
            .filter(|line| line.starts_with("vcuda: "))
            .collect();
        assert_eq!(sentences.len(), 1, "{}", result.stderr);
        assert!(sentences[0].contains("worker"), "{}", sentences[0]);
    }

    #[test]
    fn ends_with_a_program_that_is_killed() {
        let mut running = in_a_long_kernel();
        let workers = running.workers();
        running.kill();
        running.wait();
        workers.expect_gone();
    }

    #[test]
    fn ends_with_a_program_that_ends() {
        let running = Run::vcuda(["run"]).arg(program("seed")).start();
        let workers = running.workers();
        running.wait().expect_code(0);
        workers.expect_gone();
    }

    #[test]
    fn ends_with_a_program_that_is_interrupted() {
        let running = in_a_long_kernel();
        let workers = running.workers();
        running.interrupt();
        let result = running.wait();
        assert_eq!(result.status.code(), None, "{result:?}");
        workers.expect_gone();
    }

    #[test]
    fn of_an_interrupted_program_finishes_its_recording() {
        let folder = vcuda_tests::temporary_folder();
        let trace = folder.path().join("t.vcuda");
        let running = Run::vcuda(["record", "-o"])
            .arg(&trace)
            .arg(program("cross_thread_sync"))
            .arg("100000000")
            .start();
        let workers = running.workers();
        wait_until("something is recorded", || {
            fs::metadata(&trace).is_ok_and(|file| file.len() > 10_000)
        });
        running.interrupt();
        running
            .wait()
            .expect_code(128 + 2)
            .expect_stderr("the program was ended by signal 2")
            .expect_stderr("commands recorded to");
        workers.expect_gone();
        Run::vcuda(["replay"]).arg(&trace).run().expect_code(0);
    }

    #[test]
    fn is_no_child_of_its_program_and_in_no_process_group_of_it() {
        let running = in_a_long_kernel();
        let program = running.id();
        let children = fs::read_to_string(format!("/proc/{program}/task/{program}/children"));
        assert_eq!(children.unwrap(), "", "wait(2) would see it");
        for worker in running.workers().ids() {
            // SAFETY: getpgid takes no pointers.
            let group = unsafe { libc::getpgid(worker as libc::pid_t) };
            assert_ne!(group, program as libc::pid_t, "Ctrl-C would end it");
        }
    }

    #[test]
    fn that_is_not_there_is_named_with_what_to_do() {
        Run::vcuda(["run"])
            .arg(program("vector_add"))
            .env("VCUDA_WORKER", "/nonexistent/vcuda")
            .run()
            .expect_code(1)
            .expect_stderr("vcuda: The worker /nonexistent/vcuda could not be started")
            .expect_stderr("Set VCUDA_WORKER")
            .expect_stderr("cudaErrorNoDevice");
    }

    #[test]
    fn that_is_another_program_is_named() {
        for impostor in ["/bin/true", "/bin/cat"] {
            Run::vcuda(["run"])
                .arg(program("vector_add"))
                .env("VCUDA_WORKER", impostor)
                .run()
                .expect_code(1)
                .expect_stderr(&format!(
                    "vcuda: The worker {impostor} did not accept the session"
                ))
                .expect_stderr("cudaErrorNoDevice");
        }
    }

    #[test]
    fn with_a_device_that_does_not_exist_says_which_there_are() {
        let folder = temporary_folder();
        let shims = folder.path().join("shims");
        Run::vcuda(["shims"]).arg(&shims).run().expect_code(0);
        let by_command = Run::vcuda(["run"]).arg(program("vector_add"));
        let by_library = Run::new(program("vector_add"))
            .env("LD_PRELOAD", library())
            .env("LD_LIBRARY_PATH", &shims);
        for (run, code) in [(by_command, 2), (by_library, 1)] {
            run.env("VCUDA_DEVICE", "abacus")
                .run()
                .expect_code(code)
                .expect_stderr("abacus")
                .expect_stderr("cpu, nvidia, auto, null");
        }
    }

    #[test]
    fn with_a_check_of_what_is_not_the_cpu_device_does_not_start() {
        Run::vcuda(["run", "--check", "--device", "null"])
            .arg(program("vector_add"))
            .run()
            .expect_code(1)
            .expect_stderr("checked on the CPU device only, and this is to be the device `null`");
    }

    #[test]
    fn started_by_hand_says_who_starts_it() {
        Run::vcuda(["worker"])
            .run()
            .expect_code(2)
            .expect_stderr("A worker is started by libvcuda.so");
    }
}

mod limits {
    use super::*;

    #[test]
    fn too_little_address_space_is_said_to_be_that() {
        Run::shell("ulimit -v 100000; vcuda run $PROGRAMS/vector_add 10")
            .run()
            .expect_code(1)
            .expect_stderr("ulimit -v")
            .expect_stderr("cudaErrorNoDevice");
    }

    #[test]
    fn address_space_for_a_small_device_is_enough() {
        Run::shell("ulimit -v 4000000; vcuda run $PROGRAMS/vector_add 10")
            .run()
            .expect_pass("vector_add");
    }

    #[test]
    fn too_few_file_descriptors_are_said_to_be_that() {
        Run::shell("ulimit -n 5; exec vcuda run $PROGRAMS/vector_add 10")
            .run()
            .expect_code(1)
            .expect_stderr("Too many open files")
            .expect_stderr("cudaErrorNoDevice");
    }
}

mod streams_of_the_program {
    use super::*;

    #[test]
    fn standard_input_and_output_are_its_own() {
        let result = Run::shell(
            "printf 'one\\ntwo\\n' |
             vcuda run sh -c '$PROGRAMS/vector_add 10 >&2; read line; echo got $line; cat' | tr a-z A-Z",
        )
        .run();
        result.expect_code(0).expect_stderr("PASS vector_add");
        assert_eq!(result.stdout, "GOT ONE\nTWO\n");
    }

    #[test]
    fn a_reader_at_the_end_of_a_pipe_sees_its_end_when_the_program_ends() {
        // A worker that kept the pipe open would keep `cat` waiting for longer than the program runs.
        Run::shell("vcuda run $PROGRAMS/vector_add 10 2>&1 | cat")
            .patience(Duration::from_secs(60))
            .run()
            .expect_pass("vector_add");
    }

    #[test]
    fn may_be_closed() {
        for closed in ["<&-", "2>&-", "<&- 2>&-"] {
            Run::shell(&format!("vcuda run $PROGRAMS/vector_add 10 {closed}"))
                .run()
                .expect_pass("vector_add");
        }
        Run::shell("vcuda run $PROGRAMS/vector_add 10 >&- 2>&- <&-")
            .run()
            .expect_code(0);
    }

    #[test]
    fn may_be_closed_when_vcuda_has_something_to_say() {
        for closed in ["2>&-", "<&- 2>&-", "2>/dev/full"] {
            Run::shell(&format!("vcuda run $PROGRAMS/unsupported_api {closed}"))
                .run()
                .expect_pass("unsupported_api");
        }
        Run::shell("vcuda run $PROGRAMS/unsupported_instruction 2>/dev/full")
            .run()
            .expect_pass("unsupported_instruction");
    }

    #[test]
    fn may_be_closed_before_the_first_call_without_harm_to_files_that_follow() {
        // With 0 to 2 free, the next files that anyone opens get these numbers.
        Run::shell("exec 0<&- 1>&- 2>&-; vcuda run $PROGRAMS/unsupported_api")
            .run()
            .expect_code(0);
    }
}
