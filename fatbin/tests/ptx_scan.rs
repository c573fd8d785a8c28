// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameter layouts from PTX text.

use vcuda_fatbin::{Error, KernelInfo, ptx};

/// (offset, size) of each parameter.
fn layout(kernel: &KernelInfo) -> Vec<(u32, u32)> {
    kernel
        .params
        .iter()
        .map(|param| (param.offset, param.size))
        .collect()
}

fn one(text: &str) -> KernelInfo {
    let [kernel] = ptx::kernels(text.as_bytes()).unwrap().try_into().unwrap();
    kernel
}

#[test]
fn scalars_are_placed_by_their_own_size() {
    let kernel = one(".entry k(.param .u8 a, .param .f64 b, .param .b16 c, .param .f32 d) {}");
    assert_eq!(layout(&kernel), [(0, 1), (8, 8), (16, 2), (20, 4)]);
    assert_eq!(kernel.param_bytes, 24);
}

#[test]
fn align_places_structures() {
    let kernel = one(
        ".entry k(.param .u8 a, .param .align 16 .b8 b[20], .param .align 1 .b8 c[3], .param .v2 .f32 d) {}",
    );
    assert_eq!(layout(&kernel), [(0, 1), (16, 20), (36, 3), (40, 8)]);
}

#[test]
fn alignment_of_what_a_pointer_leads_to_does_not_move_the_pointer() {
    let kernel = one(
        ".entry k(.param .u32 n, .param .u64 .ptr .global .align 256 p, .param .u64 .ptr .align 32 q) {}",
    );
    assert_eq!(layout(&kernel), [(0, 4), (8, 8), (16, 8)]);
}

#[test]
fn a_kernel_may_have_no_parameters() {
    for text in [
        ".entry k { ret; }",
        ".entry k() { ret; }",
        ".visible .entry k (\n) .minnctapersm 2 { ret; }",
    ] {
        assert_eq!((one(text).name.as_str(), one(text).param_bytes), ("k", 0));
    }
}

#[test]
fn launch_bounds_are_read() {
    assert_eq!(
        one(".entry k() .maxntid 128, 2, 1 .minnctapersm 3 {}").max_threads,
        Some([128, 2, 1])
    );
    assert_eq!(
        one(".entry k() .reqntid 64 {}").max_threads,
        Some([64, 1, 1])
    );
    assert_eq!(one(".entry k() {}").max_threads, None);
}

#[test]
fn comments_and_strings_hide_what_they_hold() {
    let text = r#"
        // .entry a() {}
        /* .entry b() {} */
        .file 1 ".entry c() { \" .entry d() {}"
        .visible /* here */ .entry // the name comes next
            e(.param /* a type */ .u32 x) {}
    "#;
    assert_eq!(one(text).name, "e");
}

#[test]
fn labels_and_directives_that_only_begin_like_entry_are_no_kernels() {
    assert_eq!(
        ptx::kernels(b".entry_point x; .entryway(); a.entry.b").unwrap(),
        []
    );
}

#[test]
fn a_declaration_without_a_body_is_no_kernel() {
    assert_eq!(
        one(".extern .entry k(.param .u32 a);\n.entry k(.param .u32 a) {}").name,
        "k"
    );
}

#[test]
fn names_may_hold_dollar_and_percent() {
    assert_eq!(one(".entry $k%1(.param .u32 %a$) {}").name, "$k%1");
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (text, says) in [
        ("\n\n.entry", "PTX line 3: a kernel name expected"),
        (
            ".entry k(.param .u32 a",
            "PTX line 1: ')' expected, found the end of the text",
        ),
        (".entry k(.param .q32 a) {}", "unknown type .q32"),
        (
            ".entry k(\n.param .align 3 .b8 a[8]) {}",
            "PTX line 2: parameter 0 of kernel k: the alignment is not a power of two",
        ),
        (".entry k(.param .b64 a[0xffffffff]) {}", "it is over 4 GiB"),
        (
            ".entry k(.param .b8 a[0xffffffff], .param .u64 b) {}",
            "it lies beyond 4 GiB",
        ),
        (".entry k(.param a) {}", "it has no type"),
        (".entry k(.reg .u32 a) {}", ".param expected"),
        (".entry k()", "the text ends before the body of kernel k"),
    ] {
        let error = ptx::kernels(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, Error::Ptx { .. }) && error.to_string().contains(says),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn the_header_needs_version_and_target_first() {
    let header = ptx::header(b"\xef \n.version 8.0 .target sm_80");
    assert_eq!(header, None);
    let header = ptx::header(b"// text\n.version 8.0\n.target sm_100f, debug\n").unwrap();
    assert_eq!(
        (header.version.to_string(), header.arch.to_string()),
        ("8.0".into(), "sm_100f".into())
    );
    assert_eq!(ptx::header(b".target sm_80 .version 8.0"), None);
    assert_eq!(ptx::header(b".version 8.0"), None);
}
