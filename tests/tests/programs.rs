// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program of tests/programs passes under `vcuda run`.

use std::collections::BTreeSet;
use std::fs;

use vcuda_tests::{Run, program, repository};

fn passes(name: &str, arguments: &[&str]) {
    let result = Run::vcuda(["run"]).arg(program(name)).args(arguments).run();
    result.expect_pass(name);
}

/// A test for each program, and the list of them.
macro_rules! programs {
    ($($name:ident)*) => {
        const PROGRAMS: &[&str] = &[$(stringify!($name)),*];
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
    device_functions device_launch device_limits device_malloc device_printf device_query double_precision
    driver_api driver_arrays driver_dlopen driver_edges driver_graphs driver_kernels dynamic_shared errors
    exit_without_cleanup float_functions fork_before_cuda fork_program forward_progress graph_releases graphs group_collectives
    half_atomics half_precision histogram_atomics host_functions host_functions_meet indirect_calls
    integer_functions invalid_driver_handles invalid_handles kernel_parameters lane_locks large_sizes
    launch_api library_synchronization machine_code_only managed managed_variable mandelbrot many_launches
    matmul_tiled memcpy_2d_3d memory_hints memset_kinds mistakes nbody never_ends newer_architecture
    occupancy per_thread_stream pinned_memory reduction_shuffle registered_memory runtime_and_driver seed
    separate_compilation several_devices simd_video special_registers stencil sticky_errors stream_capture streams_events
    surfaces symbols tensor_cores texture_descriptions textures threads_streams thrust_algorithms
    two_modules unsupported_api unsupported_instruction vector_add visible_devices wide_integers
}

#[test]
fn every_program_has_a_test() {
    let programs = repository().join("tests/programs");
    let mut found = BTreeSet::new();
    for folder in ["", "vcuda_only", "clang", "driver"] {
        for entry in fs::read_dir(programs.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "cu" || e == "cpp") {
                found.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let tested: BTreeSet<_> = PROGRAMS.iter().map(|name| name.to_string()).collect();
    assert_eq!(found, tested);
}

#[test]
fn a_reset_brings_a_device_back_after_an_error_that_stays() {
    passes("sticky_errors", &["reset", "0"]);
}

#[test]
fn several_devices_are_used_at_once() {
    let run = Run::vcuda(["run"]).arg(program("several_devices"));
    run.env("VCUDA_CPU_DEVICES", "3")
        .run()
        .expect_pass("several_devices");
}

#[test]
fn sizes_given_as_arguments_are_used() {
    passes("vector_add", &["1"]);
    passes("vector_add", &["1000000"]);
    passes("matmul_tiled", &["1"]);
    passes("big_copy", &["1"]);
}

#[test]
fn the_device_has_the_compute_capability_that_it_is_given() {
    let run = |capability: &str, name: &str| {
        Run::vcuda(["run"])
            .arg(program(name))
            .env("VCUDA_CPU_COMPUTE_CAPABILITY", capability)
            .run()
    };
    for capability in ["8.0", "9.0", "12.0"] {
        run(capability, "device_limits").expect_pass("device_limits");
        run(capability, "device_query").expect_pass("device_query");
    }
    // The program has PTX for 8.0 alone.
    run("7.5", "device_limits").expect_code(1);
}

#[test]
fn a_failed_assertion_says_what_and_where_as_cuda_does() {
    let result = Run::vcuda(["run"])
        .arg(program("sticky_errors"))
        .arg("assertion")
        .run();
    result
        .expect_pass("sticky_errors")
        .expect_stderr("void assertion(int *): block: [0,0,0], thread: [0,0,0] Assertion `pointer == nullptr` failed.");
}

#[test]
fn exit_in_another_thread_leaves_code_0() {
    passes("exit_without_cleanup", &["thread"]);
}

#[test]
fn cuda_can_be_called_by_exit_handlers_and_static_destructors() {
    passes("exit_without_cleanup", &["atexit"]);
}

#[test]
fn exit_without_handlers_leaves_code_0() {
    passes("exit_without_cleanup", &["_exit"]);
}

#[test]
fn exit_while_a_thread_waits_for_the_device_leaves_code_0() {
    passes("exit_without_cleanup", &["waiting"]);
}

#[test]
fn exit_while_a_function_of_a_stream_runs_leaves_code_0() {
    passes("exit_without_cleanup", &["function"]);
}

#[test]
fn a_function_that_is_not_implemented_names_itself_once() {
    let result = Run::vcuda(["run"]).arg(program("unsupported_api")).run();
    result
        .expect_pass("unsupported_api")
        .expect_stderr("link the program with `--cudart shared`");
    assert_eq!(
        result
            .stderr
            .matches("cudaGraphMemFreeNodeGetParams")
            .count(),
        1,
        "{}",
        result.stderr
    );
    assert_eq!(
        result
            .stderr
            .matches("cudaGraphicsUnregisterResource")
            .count(),
        1,
        "{}",
        result.stderr
    );
}

/// Runs a kernel of `unsupported_instruction` on a device of a compute capability.
fn refused(kernel: &str, capability: &str, instruction: &str) {
    let result = Run::vcuda(["run"])
        .arg(program("unsupported_instruction"))
        .arg(kernel)
        .env("VCUDA_CPU_COMPUTE_CAPABILITY", capability)
        .run();
    result
        .expect_pass("unsupported_instruction")
        .expect_stderr(&format!(
            "{kernel}Pj: unsupported instruction `{instruction}"
        ))
        .expect_stderr(": PTX line ");
}

#[test]
fn an_instruction_that_is_not_supported_is_named_with_its_kernel() {
    refused("multisample", "8.6", "tex.2dms.v4.u32.s32");
}

#[test]
fn matrix_products_of_four_warps_are_refused() {
    refused("warpgroup", "9.0", "wgmma.fence.sync.aligned");
}

#[test]
fn matrix_products_with_memory_of_their_own_are_refused() {
    refused("tensor_memory", "10.0", "tcgen05.alloc");
}

#[test]
fn copies_of_tensors_are_refused() {
    refused("tensor_copy", "9.0", "cp.async.bulk.tensor.2d");
}

#[test]
fn clusters_of_blocks_are_refused() {
    refused("cluster", "9.0", "barrier.cluster.arrive");
}

#[test]
fn machine_code_alone_is_refused_with_what_to_compile_with() {
    let result = Run::vcuda(["run"]).arg(program("machine_code_only")).run();
    result
        .expect_pass("machine_code_only")
        .expect_stderr("holds SASS for sm_86")
        .expect_stderr("-gencode arch=compute_80,code=compute_80");
}

#[test]
fn kernels_that_launch_kernels_are_refused() {
    let result = Run::vcuda(["run"]).arg(program("device_launch")).run();
    result
        .expect_pass("device_launch")
        .expect_stderr("__cudaCDP2GetParameterBufferV2")
        .expect_stderr("in launches: ")
        .expect_stderr("__cudaCDP2LaunchDeviceV2");
}
