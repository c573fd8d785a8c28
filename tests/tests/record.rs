// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda record`, `vcuda trace` and `vcuda replay`, as a user meets them.

use std::fs;
use std::path::{Path, PathBuf};

use vcuda_tests::trace::Trace;
use vcuda_tests::{Finished, Run, library, program, record, temporary_folder, wait_until};

fn info(trace: &Path) -> Finished {
    Run::vcuda(["trace", "info"]).arg(trace).run()
}

fn replay(trace: &Path) -> Finished {
    Run::vcuda(["replay", "--device", "cpu"]).arg(trace).run()
}

#[track_caller]
fn expect_equal_replay(trace: &Path) {
    replay(trace)
        .expect_code(0)
        .expect_stdout("The replay is equal to the recording.");
}

mod what_a_recording_shows {
    use super::*;

    #[test]
    fn info_names_the_program_and_counts_its_calls() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "vector_add", &["1000"]);
        info(&trace)
            .expect_code(0)
            .expect_stdout("vector_add 1000\n")
            .expect_stdout("         5  cudaMalloc\n")
            .expect_stdout("         3  cudaMemcpy\n")
            .expect_stdout("         1  Launch\n")
            .expect_stdout("4000 bytes out")
            .expect_stdout("The recording was ended in good order.");
    }

    #[test]
    fn calls_has_a_line_for_each_command_in_their_order() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "vector_add", &["1000"]);
        let calls = Run::vcuda(["trace", "calls"]).arg(&trace).run();
        calls.expect_code(0);
        let numbers: Vec<usize> = calls
            .stdout
            .lines()
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert!(numbers.len() > 10, "{}", calls.stdout);
        assert!(numbers.iter().copied().eq(1..=numbers.len()));
        let launch = calls.stdout.lines().find(|line| line.contains("Launch("));
        let launch = launch.expect("a launch was recorded");
        assert!(launch.contains("grid={x=4, y=1, z=1}"), "{launch}");
        assert!(launch.contains("block={x=256, y=1, z=1}"), "{launch}");
        calls.expect_stdout("name=_Z3addPKfS0_Pfm");
    }

    #[test]
    fn the_nodes_of_a_graph_are_commands_of_its_launch_and_what_is_captured_is_none() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "graphs", &[]);
        let json = Run::vcuda(["trace", "json"]).arg(&trace).run();
        json.expect_code(0);
        let records = (json.stdout.lines())
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let launches: Vec<String> = records
            .filter(|record| record["command"].to_string().contains("Launch"))
            .map(|record| record["function"].as_str().unwrap().to_owned())
            .collect();
        assert!(launches.len() > 40, "{launches:?}");
        assert!(
            launches.iter().all(|f| f == "cudaGraphLaunch"),
            "{launches:?}"
        );
    }

    #[test]
    fn json_has_an_object_on_each_line() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "vector_add", &["1000"]);
        let json = Run::vcuda(["trace", "json"]).arg(&trace).run();
        json.expect_code(0);
        let records: Vec<serde_json::Value> = json
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let commands = records.iter().filter(|r| r["record"] == "command");
        let functions: Vec<&str> = commands.map(|c| c["function"].as_str().unwrap()).collect();
        let copies = functions.iter().filter(|f| **f == "cudaMemcpy").count();
        assert_eq!(copies, 3, "{functions:?}");
        assert_eq!(records[0]["record"], "properties");
        assert_eq!(records.last().unwrap()["record"], "end");
    }

    #[test]
    fn the_calls_of_all_threads_are_there() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "threads_streams", &["5", "3"]);
        info(&trace).expect_stdout("on 6 threads");
        expect_equal_replay(&trace);
    }

    /// docs/trace-format.md, read by someone else.
    #[test]
    fn the_file_is_as_documented() {
        let folder = temporary_folder();
        let trace = Trace::read(&record(folder.path(), "seed", &[]));
        assert!(trace.bytes.starts_with(b"\x89vcuda\r\n\x01\x00"));
        let blocks = trace.blocks();
        assert_eq!(blocks.first().unwrap().kind, "PROP");
        let done = blocks.last().unwrap();
        assert_eq!(done.kind, "DONE");
        assert_eq!(done.payload.end, trace.bytes.len());
        let commands = blocks.iter().filter(|b| b.kind == "CMND").count();
        assert_eq!(trace.bytes[done.payload.start] as usize, commands);
    }
}

mod replays {
    use super::*;

    #[test]
    fn programs_of_all_kinds_replay_equally() {
        let folder = temporary_folder();
        for name in [
            "seed",
            "matmul_tiled",
            "memcpy_2d_3d",
            "symbols",
            "async_allocation",
            "managed",
            "cooperative_grid",
            "cross_thread_sync",
            "runtime_and_driver",
            "newer_architecture",
            "graphs",
            "stream_capture",
        ] {
            let trace = record(folder.path(), name, &[]);
            expect_equal_replay(&trace);
        }
    }

    /// A synchronous copy and then a launch on a stream that does not wait for the default one.
    #[test]
    fn the_order_of_a_program_does_not_depend_on_the_speed_of_its_replay() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "driver_kernels", &[]);
        for _ in 0..40 {
            expect_equal_replay(&trace);
        }
    }

    #[test]
    fn quiet_says_nothing_of_equality() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "seed", &[]);
        let quiet = Run::vcuda(["replay", "--device", "cpu", "--quiet"])
            .arg(&trace)
            .run();
        quiet.expect_code(0);
        assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
    }

    /// Of the numbers that the program of four elements got back, the last: 3 + 3 * 0.25.
    const LAST: [u8; 4] = 3.75f32.to_le_bytes();

    fn with_another_result(folder: &Path, last: f32) -> PathBuf {
        let path = record(folder, "vector_add", &["4"]);
        let mut trace = Trace::read(&path);
        trace.replace("ANSW", &LAST, &last.to_le_bytes());
        trace.write(&path);
        path
    }

    #[test]
    fn a_result_that_differs_is_named_with_its_call() {
        let folder = temporary_folder();
        let trace = with_another_result(folder.path(), -3.75);
        replay(&trace)
            .expect_code(1)
            .expect_stdout("The replay differs.")
            .expect_stdout("from cudaMemcpy on thread")
            .expect_stdout("at byte 15")
            .expect_stdout("Copy {");
    }

    #[test]
    fn a_tolerance_accepts_what_is_near_and_nothing_else() {
        let folder = temporary_folder();
        let trace = with_another_result(folder.path(), 3.750001);
        replay(&trace).expect_code(1);
        let with = |tolerance: &str| {
            Run::vcuda(["replay", "--device", "cpu", "--tolerance", tolerance])
                .arg(&trace)
                .run()
        };
        with("1e-5").expect_code(0);
        with("1e-9")
            .expect_code(1)
            .expect_stdout("at byte 12")
            .expect_stdout("f32");
    }

    #[test]
    fn an_answer_that_differs_is_named_with_its_call() {
        let folder = temporary_folder();
        let trace = folder.path().join("t.vcuda");
        let fails = Run::vcuda(["record", "-o"])
            .arg(&trace)
            .arg(program("vector_add"))
            .env("VCUDA_DEVICE", "null")
            .run();
        fails.expect_code(1);
        info(&trace)
            .expect_code(0)
            .expect_stdout("vcuda null device");
        replay(&trace)
            .expect_code(1)
            .expect_stdout("The recording was made on \"vcuda null device\"")
            .expect_stdout("The replay differs.");
    }
}

mod ways_to_record {
    use super::*;

    fn traces_in(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn without_the_command_through_the_environment() {
        let folder = temporary_folder();
        let shims = folder.path().join("shims");
        let trace = folder.path().join("t.vcuda");
        Run::vcuda(["shims"]).arg(&shims).run().expect_code(0);
        Run::new(program("vector_add"))
            .env("LD_PRELOAD", library())
            .env("LD_LIBRARY_PATH", &shims)
            .env("VCUDA_RECORD", &trace)
            .run()
            .expect_pass("vector_add");
        info(&trace).expect_code(0);
        expect_equal_replay(&trace);
    }

    #[test]
    fn a_relative_name_is_one_in_the_folder_where_the_program_starts() {
        let folder = temporary_folder();
        Run::shell("VCUDA_RECORD=t.vcuda vcuda run $PROGRAMS/seed")
            .current_dir(folder.path())
            .run()
            .expect_code(0);
        info(&folder.path().join("t.vcuda")).expect_code(0);
    }

    #[test]
    fn the_default_name_is_trace_vcuda() {
        let folder = temporary_folder();
        Run::shell("vcuda record $PROGRAMS/seed && vcuda replay trace.vcuda")
            .current_dir(folder.path())
            .run()
            .expect_code(0);
    }

    #[test]
    fn an_old_recording_is_replaced() {
        let folder = temporary_folder();
        record(folder.path(), "vector_add", &["100000"]);
        let trace = record(folder.path(), "vector_add", &["4"]);
        info(&trace).expect_code(0).expect_stdout("vector_add 4\n");
    }

    #[test]
    fn processes_that_record_at_once_each_get_a_file() {
        let folder = temporary_folder();
        let result = Run::shell(
            "vcuda record -o t.vcuda sh -c '
                 $PROGRAMS/cross_thread_sync 20000 & $PROGRAMS/cross_thread_sync 20000 & wait'",
        )
        .current_dir(folder.path())
        .run();
        result
            .expect_code(0)
            .expect_stderr("is another process's recording");
        let traces = traces_in(folder.path());
        assert_eq!(traces.len(), 2, "{traces:?}");
        for trace in traces {
            info(&trace).expect_code(0);
        }
    }

    #[test]
    fn processes_that_record_one_after_the_other_each_get_a_file() {
        let folder = temporary_folder();
        let script = "vcuda record -o t.vcuda sh -c '
            $PROGRAMS/vector_add 10; $PROGRAMS/vector_add 20; $PROGRAMS/vector_add 30'";
        Run::shell(script)
            .current_dir(folder.path())
            .run()
            .expect_code(0);
        info(&folder.path().join("t.vcuda")).expect_stdout("vector_add 10\n");
        let traces = traces_in(folder.path());
        assert_eq!(traces.len(), 3, "{traces:?}");
        for trace in traces {
            expect_equal_replay(&trace);
        }
    }

    #[test]
    fn children_that_use_cuda_are_recorded_as_their_parent_is() {
        let folder = temporary_folder();
        record(folder.path(), "fork_before_cuda", &[]);
        let traces = traces_in(folder.path());
        assert_eq!(traces.len(), 4, "{traces:?}");
        for trace in traces {
            expect_equal_replay(&trace);
        }
    }

    #[test]
    fn a_child_of_fork_leaves_the_recording_of_its_parent_alone() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "fork_program", &[]);
        info(&trace).expect_code(0);
        expect_equal_replay(&trace);
    }

    #[test]
    fn a_program_without_cuda_is_said_to_be_one() {
        let folder = temporary_folder();
        Run::shell("vcuda record -o t.vcuda echo hello")
            .current_dir(folder.path())
            .run()
            .expect_code(0)
            .expect_stdout("hello\n")
            .expect_stderr("nothing was recorded to t.vcuda: the program made no CUDA call");
        assert!(!folder.path().join("t.vcuda").exists());
    }
}

mod programs_that_are_killed {
    use super::*;

    fn long(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|file| file.len() > 100_000)
    }

    #[test]
    fn leave_a_recording_in_good_order() {
        let folder = temporary_folder();
        let trace = folder.path().join("t.vcuda");
        // vcuda becomes the program.
        let mut running = Run::vcuda(["run"])
            .arg(program("cross_thread_sync"))
            .arg("100000000")
            .env("VCUDA_RECORD", &trace)
            .start();
        let workers = running.workers();
        wait_until("much is recorded", || long(&trace));
        running.kill();
        running.wait();
        workers.expect_gone();
        // The worker outlives its program by as much as it takes to end the recording.
        info(&trace)
            .expect_code(0)
            .expect_stdout("The recording was ended in good order.");
        expect_equal_replay(&trace);
    }

    #[test]
    fn are_reported_by_record_with_the_exit_code_of_a_shell() {
        let folder = temporary_folder();
        let trace = folder.path().join("t.vcuda");
        Run::shell("vcuda record -o t.vcuda sh -c '$PROGRAMS/cross_thread_sync 100; kill -9 $$'")
            .current_dir(folder.path())
            .run()
            .expect_code(128 + 9)
            .expect_stderr("the program was ended by signal 9")
            .expect_stderr("t.vcuda (");
        expect_equal_replay(&trace);
    }

    #[test]
    fn together_with_their_worker_leave_a_recording_that_replays_to_its_end() {
        let folder = temporary_folder();
        let trace = folder.path().join("t.vcuda");
        let mut running = Run::vcuda(["run"])
            .arg(program("cross_thread_sync"))
            .arg("100000000")
            .env("VCUDA_RECORD", &trace)
            .start();
        wait_until("much is recorded", || long(&trace));
        running.workers().kill();
        running.kill();
        running.wait();
        let cut = info(&trace);
        cut.expect_code(1);
        assert!(
            cut.stdout.contains("The recording has no end")
                || cut.stdout.contains("The trace is cut off"),
            "{}",
            cut.stdout
        );
        let replay = replay(&trace);
        assert!(
            replay.stdout.contains("equal to the recording")
                || replay.stderr.contains("equal to what could be read"),
            "{}{}",
            replay.stdout,
            replay.stderr
        );
    }
}

mod places_that_cannot_be_recorded_to {
    use super::*;

    /// `vcuda record` says so before it starts the program.
    fn expect_no_start(folder: &Path, output: &str, sentence: &str) {
        let result = Run::shell(&format!("vcuda record -o {output} sh -c 'touch started'"))
            .current_dir(folder)
            .run();
        result.expect_code(2).expect_stderr(sentence);
        assert!(!folder.join("started").exists());
    }

    #[test]
    fn a_folder_that_does_not_exist() {
        let folder = temporary_folder();
        expect_no_start(folder.path(), "no/such/t.vcuda", "cannot be written");
        expect_no_start(folder.path(), ".", "is not a vcuda trace");
    }

    #[test]
    fn an_old_recording_stays_when_the_program_cannot_be_started() {
        let folder = temporary_folder();
        let trace = record(folder.path(), "seed", &[]);
        let before = fs::read(&trace).unwrap();
        Run::vcuda(["record", "-o"])
            .arg(&trace)
            .arg("./nonexistent")
            .current_dir(folder.path())
            .run()
            .expect_code(2);
        assert_eq!(fs::read(&trace).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_not_a_trace() {
        let folder = temporary_folder();
        let thesis = folder.path().join("thesis.tex");
        fs::write(&thesis, "years of work").unwrap();
        expect_no_start(folder.path(), "thesis.tex", "is not a vcuda trace");
        assert_eq!(fs::read(&thesis).unwrap(), b"years of work");
    }

    #[test]
    fn a_recording_that_is_being_made() {
        let folder = temporary_folder();
        let trace = folder.path().join("t.vcuda");
        let running = Run::vcuda(["record", "-o"])
            .arg(&trace)
            .arg(program("cross_thread_sync"))
            .arg("100000000")
            .start();
        wait_until("something is recorded", || {
            fs::metadata(&trace).is_ok_and(|file| file.len() > 1000)
        });
        expect_no_start(folder.path(), "t.vcuda", "is being recorded to");
        running.interrupt();
        running.wait().expect_code(128 + 2);
        expect_equal_replay(&trace);
    }

    #[test]
    fn a_device_or_a_pipe() {
        let folder = temporary_folder();
        Run::shell("mkfifo pipe")
            .current_dir(folder.path())
            .run()
            .expect_code(0);
        expect_no_start(folder.path(), "/dev/full", "is not a vcuda trace");
        expect_no_start(folder.path(), "pipe", "is not a vcuda trace");
    }

    /// A recording that cannot be made harms no program.
    #[test]
    fn named_by_the_environment_stop_no_program() {
        let folder = temporary_folder();
        fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        for place in ["no/such/t.vcuda", "/dev/full", "thesis.tex", "."] {
            Run::vcuda(["run"])
                .arg(program("vector_add"))
                .env("VCUDA_RECORD", place)
                .current_dir(folder.path())
                .run()
                .expect_pass("vector_add")
                .expect_stderr("cannot be written")
                .expect_stderr("The program goes on without a recording.");
        }
    }

    #[test]
    fn a_disk_that_gets_full_ends_the_recording_and_not_the_program() {
        let folder = temporary_folder();
        let result = Run::shell(
            "unshare --mount sh -c '
                 mount -t tmpfs -o size=64k none . || exit 77
                 cd .
                 vcuda record -o $PWD/t.vcuda $PROGRAMS/vector_add 100000
                 code=$?
                 vcuda trace info $PWD/t.vcuda || vcuda replay $PWD/t.vcuda || exit 9
                 exit $code' || exit 77",
        )
        .current_dir(folder.path())
        .run();
        if result.status.code() == Some(77) {
            eprintln!(
                "Skipped: a small file system cannot be mounted here.\n{}",
                result.stderr
            );
            return;
        }
        result
            .expect_pass("vector_add")
            .expect_stderr("has stopped")
            .expect_stderr("No space left on device")
            .expect_stdout("The recording has no end")
            .expect_stdout("The replay is equal to the recording.");
    }
}
