// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NVIDIA device, over a CUDA driver that executes on the CPU device: every program passes, and
//! recordings go both ways. On a real GPU, scripts/gpu.sh does the same.

use std::path::Path;

use vcuda_tests::machine::Daemon;
use vcuda_tests::{Finished, Run, cpu_driver, program, temporary_folder};

fn on_nvidia(run: Run) -> Run {
    run.env("VCUDA_DEVICE", "nvidia")
        .env("VCUDA_CUDA_DRIVER", cpu_driver())
}

fn passes(name: &str, arguments: &[&str]) {
    let run = Run::vcuda(["run"]).arg(program(name)).args(arguments);
    on_nvidia(run).run().expect_pass(name);
}

/// Not among them are those whose code only a GPU's driver executes or links (`managed_variable`,
/// `memory_hints`, `separate_compilation`, `device_launch`), and those that state what the CPU device watches for
/// or refuses (`mistakes`, `never_ends`, `machine_code_only`).
macro_rules! programs {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                passes(stringify!($name), &[]);
            }
        )*
    };
}

programs! {
    abi_10 abi_11 abi_12 async_allocation async_copies barrier_objects big_copy bindless_textures
    classic_kernels concurrent_waits constructor_calls cooperative_grid cross_thread_sync cub_algorithms
    device_functions device_limits device_malloc device_printf device_query double_precision driver_api
    driver_arrays driver_dlopen driver_edges driver_graphs driver_kernels dynamic_shared errors exit_without_cleanup
    float_functions fork_before_cuda fork_program forward_progress graph_releases graphs group_collectives half_atomics
    half_precision histogram_atomics host_functions host_functions_meet indirect_calls integer_functions
    invalid_driver_handles invalid_handles kernel_parameters lane_locks large_sizes launch_api
    library_synchronization managed mandelbrot many_launches matmul_tiled memcpy_2d_3d
    memset_kinds nbody newer_architecture occupancy per_thread_stream pinned_memory reduction_shuffle
    registered_memory runtime_and_driver seed several_devices simd_video special_registers stencil
    sticky_errors stream_capture streams_events surfaces symbols tensor_cores texture_descriptions textures threads_streams
    thrust_algorithms two_modules unsupported_api unsupported_instruction vector_add visible_devices
    wide_integers
}

#[test]
fn the_command_line_chooses_the_device() {
    let run = || Run::vcuda(["run", "--device", "nvidia"]).arg(program("vector_add"));
    let with_driver = run().env("VCUDA_CUDA_DRIVER", cpu_driver()).run();
    with_driver.expect_pass("vector_add");
    let without = run().env("VCUDA_CUDA_DRIVER", "/no/such/driver").run();
    without.expect_code(1).expect_stderr("/no/such/driver");
}

#[test]
fn exit_while_work_goes_on_leaves_code_0() {
    for how in ["thread", "atexit", "_exit", "waiting", "function"] {
        passes("exit_without_cleanup", &[how]);
    }
}

#[test]
fn two_devices_have_memory_and_objects_of_their_own() {
    for name in ["visible_devices", "bindless_textures"] {
        let run = Run::vcuda(["run"]).arg(program(name));
        let run = on_nvidia(run).env("VCUDA_CPU_DEVICES", "2");
        run.run().expect_pass(name);
    }
}

#[test]
fn an_error_that_stays_leaves_the_process_without_a_gpu() {
    for devices in ["1", "2"] {
        let run = Run::vcuda(["run"]).arg(program("sticky_errors"));
        let run = on_nvidia(run).env("VCUDA_CPU_DEVICES", devices);
        run.args(["reset", "46"]).run().expect_pass("sticky_errors");
    }
}

#[test]
fn devices_copy_from_each_other_whether_they_reach_each_other_or_not() {
    let several = || {
        let run = Run::vcuda(["run"]).arg(program("several_devices"));
        on_nvidia(run).env("VCUDA_CPU_DEVICES", "2")
    };
    several().run().expect_pass("several_devices");
    let apart = several().env("VCUDA_TEST_APART", "1");
    apart.run().expect_pass("several_devices");
}

fn replay(trace: &Path, device: &str) -> Finished {
    let run = Run::vcuda(["replay", "--device", device]).arg(trace);
    run.env("VCUDA_CUDA_DRIVER", cpu_driver()).run()
}

#[test]
fn a_recording_replays_on_the_device_that_it_was_made_on_and_on_another() {
    let folder = temporary_folder();
    for name in [
        "vector_add",
        "pinned_memory",
        "streams_events",
        "stream_capture",
        "graphs",
        "host_functions",
        "memcpy_2d_3d",
        "textures",
        "surfaces",
        "bindless_textures",
    ] {
        for made_on in ["nvidia", "cpu"] {
            let trace = folder.path().join(format!("{name}.{made_on}"));
            Run::vcuda(["record", "-o"])
                .arg(&trace)
                .arg(program(name))
                .env("VCUDA_DEVICE", made_on)
                .env("VCUDA_CUDA_DRIVER", cpu_driver())
                .run()
                .expect_pass(name);
            for device in ["nvidia", "cpu"] {
                replay(&trace, device).expect_code(0);
            }
        }
    }
}

mod without_a_driver {
    use super::*;

    const NOWHERE: &str = "/nowhere/libcuda.so.1";

    #[test]
    fn the_program_has_no_device_and_a_sentence_says_why() {
        Run::vcuda(["run"])
            .arg(program("vector_add"))
            .env("VCUDA_DEVICE", "nvidia")
            .env("VCUDA_CUDA_DRIVER", NOWHERE)
            .run()
            .expect_code(1)
            .expect_stderr("The CUDA driver /nowhere/libcuda.so.1 could not be loaded")
            .expect_stderr("cudaErrorNoDevice");
    }

    #[test]
    fn auto_takes_the_processor_and_says_so() {
        let finished = Run::vcuda(["run"])
            .arg(program("vector_add"))
            .env("VCUDA_DEVICE", "auto")
            .env("VCUDA_CUDA_DRIVER", NOWHERE)
            .run();
        finished
            .expect_pass("vector_add")
            .expect_stderr("The processor executes the kernels.");
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }

    #[test]
    fn auto_takes_a_driver_that_is_there() {
        let run = Run::vcuda(["run"]).arg(program("device_query"));
        let run = on_nvidia(run).env("VCUDA_DEVICE", "auto");
        let finished = run.run();
        finished.expect_pass("device_query");
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn a_memory_limit_is_what_a_served_program_gets_of_a_gpu() {
    let daemon = Daemon::start_for_programs(&["--memory-limit", "64M"]);
    let run = |program: &Path, arguments: &[&str]| {
        Run::vcuda(["run"])
            .arg(program)
            .args(arguments)
            .env("VCUDA_TRANSPORT", daemon.transport())
            .run()
    };
    // Two allocations of this many MiB.
    run(&program("big_copy"), &["30"]).expect_pass("big_copy");
    let refused = run(&program("big_copy"), &["40"]);
    assert!(!refused.status.success());
    refused.expect_stderr("cudaErrorMemoryAllocation");
    // Of which what it had is back.
    run(&program("big_copy"), &["30"]).expect_pass("big_copy");
    run(&program("textures"), &[]).expect_pass("textures");
    daemon.stop();
}
