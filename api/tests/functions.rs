// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the list of functions promises.

use vcuda_api::{
    Function, FunctionId, Library, NODES, Node, Returns, Status, Version, all, driver_entry, find,
    id, name,
};

fn function(name: &str) -> &'static Function {
    find(name).unwrap_or_else(|| panic!("{name} is not in the table"))
}

#[test]
fn every_function_is_found_under_its_name_and_its_number() {
    for (index, function) in all().iter().enumerate() {
        let number = u16::try_from(index).expect("numbers have 16 bits");
        let id = FunctionId::new(number).expect("the number is in the table");
        assert_eq!(function.id, id);
        assert_eq!(id.number(), number);
        assert_eq!(name(id), function.name);
        assert_eq!(find(function.name).map(|found| found.id), Some(id));
    }
}

#[test]
fn unknown_names_and_numbers_are_not_found() {
    assert!(find("cudaMallocEverything").is_none());
    assert!(find("").is_none());
    assert!(FunctionId::new(u16::MAX).is_none());
    assert!(FunctionId::new(u16::try_from(all().len()).expect("16 bits")).is_none());
}

#[test]
fn constants_carry_the_number_of_their_name() {
    assert_eq!(name(id::cudaMalloc), "cudaMalloc");
    assert_eq!(name(id::__cudaRegisterFatBinary), "__cudaRegisterFatBinary");
    assert_eq!(name(id::cuMemcpyHtoD_v2_ptds), "cuMemcpyHtoD_v2_ptds");
    assert_eq!(
        name(id::cudaGetDeviceProperties__v11),
        "cudaGetDeviceProperties"
    );
}

/// Counted with `nm -D` in NVIDIA's libraries.
#[test]
fn each_release_has_as_many_runtime_names_as_its_library_exports() {
    let exports = [
        (9, 0, 239),
        (10, 0, 288),
        (10, 1, 288),
        (10, 2, 294),
        (11, 2, 364),
        (11, 7, 389),
        (11, 8, 395),
        (12, 0, 392),
        (12, 1, 393),
        (12, 2, 399),
        (12, 3, 413),
        (12, 4, 416),
        (12, 5, 418),
        (12, 6, 418),
        (12, 8, 435),
        (12, 9, 435),
        (13, 0, 422),
        (13, 1, 444),
        (13, 2, 452),
        (13, 3, 457),
        (13, 4, 458),
        (13, 5, 458),
    ];
    for (major, minor, count) in exports {
        let release = Version::new(major, minor);
        let names = all()
            .iter()
            .filter(|function| function.library == Library::Runtime && function.is_in(release));
        assert_eq!(names.count(), count, "CUDA {release}");
    }
}

#[test]
fn the_runtime_names_of_all_releases_are_511() {
    let runtime = all()
        .iter()
        .filter(|function| function.library == Library::Runtime);
    assert_eq!(runtime.count(), 511);
}

#[test]
fn every_question_that_the_runtime_of_cuda_13_asks_the_driver_has_an_answer() {
    let queries = include_str!("data/cudart-13.0-queries.txt");
    let mut asked = 0;
    for line in queries.lines().filter(|line| !line.starts_with('#')) {
        let [base, version, flags] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} is not a name, a version and flags");
        };
        let version = version.parse().expect("a version number");
        let entry = driver_entry(base, version, flags == "2");
        let entry = entry.unwrap_or_else(|| panic!("no driver function for {line:?}"));
        assert!(entry.name.starts_with(base), "{line:?} gave {}", entry.name);
        asked += 1;
    }
    assert_eq!(asked, 439);
}

#[test]
fn the_driver_entry_is_the_signature_that_the_release_knew() {
    let entry =
        |base, version, per_thread| driver_entry(base, version, per_thread).map(|found| found.name);
    assert_eq!(entry("cuCtxCreate", 13000, false), Some("cuCtxCreate_v4"));
    assert_eq!(entry("cuCtxCreate", 12000, false), Some("cuCtxCreate_v3"));
    assert_eq!(entry("cuCtxCreate", 11000, false), Some("cuCtxCreate_v2"));
    assert_eq!(
        entry("cuStreamSynchronize", 13000, true),
        Some("cuStreamSynchronize_ptsz")
    );
    assert_eq!(entry("cuInit", 13000, true), Some("cuInit"));
    assert_eq!(
        entry("cuGraphInstantiate", 11040, false),
        Some("cuGraphInstantiate_v2")
    );
    assert_eq!(
        entry("cuGraphInstantiate", 12000, false),
        Some("cuGraphInstantiateWithFlags")
    );
    assert_eq!(entry("cudaMalloc", 13000, false), None);
}

#[test]
fn no_driver_name_has_had_more_signatures_than_the_lookup_tries() {
    for function in all()
        .iter()
        .filter(|function| function.library == Library::Driver)
    {
        let base = function
            .name
            .trim_end_matches("_ptsz")
            .trim_end_matches("_ptds");
        if let Some((_, generation)) = base.rsplit_once("_v") {
            let generation: u32 = generation.parse().expect("a generation");
            assert!((2..=4).contains(&generation), "{}", function.name);
        }
    }
}

#[test]
fn a_name_that_never_changed_has_one_body_under_its_own_name() {
    assert_eq!(function("cudaMalloc").meanings.len(), 0);
    assert_eq!(
        function("cudaMalloc").bodies().collect::<Vec<_>>(),
        ["cudaMalloc"]
    );
}

#[test]
fn a_name_that_changed_has_a_body_for_each_meaning() {
    assert_eq!(
        function("cudaGetDeviceProperties")
            .bodies()
            .collect::<Vec<_>>(),
        [
            "cudaGetDeviceProperties__v9",
            "cudaGetDeviceProperties__v10",
            "cudaGetDeviceProperties__v11",
            "cudaGetDeviceProperties__v13"
        ]
    );
    assert_eq!(
        function("cudaStreamBeginCapture")
            .bodies()
            .collect::<Vec<_>>(),
        [
            "cudaStreamBeginCapture__v10",
            "cudaStreamBeginCapture__v10_1"
        ]
    );
}

#[test]
fn the_version_node_that_a_program_asks_for_decides_the_meaning() {
    let since =
        |name: &str, node: &str| function(name).meaning_in(node).map(|meaning| meaning.since);
    // A program of CUDA 12 that imports the plain name was built for the structure of CUDA 11: 12's headers say _v2.
    let properties = "cudaGetDeviceProperties";
    assert_eq!(
        since(properties, "libcudart.so.9.2"),
        Some(Version::new(9, 0))
    );
    assert_eq!(
        since(properties, "libcudart.so.12"),
        Some(Version::new(11, 0))
    );
    assert_eq!(
        since(properties, "libcudart.so.13"),
        Some(Version::new(13, 0))
    );
    assert_eq!(since(properties, "libcudart.so.14"), None);
}

#[test]
fn the_meanings_of_a_name_cover_every_node_that_has_it() {
    for function in all() {
        let covered: Vec<Node> = function
            .meanings
            .iter()
            .flat_map(|meaning| meaning.nodes())
            .copied()
            .collect();
        if covered.is_empty() {
            continue;
        }
        assert_eq!(function.library, Library::Runtime, "{}", function.name);
        let first = NODES
            .iter()
            .rposition(|node| node.version <= function.first)
            .expect("no function is older than the oldest node");
        let last = function.last.expect("runtime names have a last release");
        let end = NODES.partition_point(|node| node.version <= last);
        assert_eq!(covered, NODES[first..end], "{}", function.name);
    }
}

#[test]
fn the_driver_functions_of_32_bit_addresses_are_stubs() {
    for name in [
        "cuMemAlloc",
        "cuMemcpyHtoD",
        "cuDeviceTotalMem",
        "cuMemGetInfo",
    ] {
        assert_eq!(function(name).status, Status::Stub, "{name}");
        assert_eq!(
            function(&format!("{name}_v2")).status,
            Status::Implemented,
            "{name}_v2"
        );
    }
}

#[test]
fn functions_that_return_no_error_code_say_what_they_return() {
    assert_eq!(function("__cudaRegisterFunction").returns, Returns::Void);
    assert_eq!(
        function("__cudaRegisterFatBinary").returns,
        Returns::Pointer
    );
    assert_eq!(function("cudaGetErrorString").returns, Returns::String);
    assert_eq!(function("__cudaInitModule").returns, Returns::Flag);
    assert_eq!(
        function("cudaGraphCreate").returns,
        Returns::Error {
            unless_implemented: 801
        }
    );
}
