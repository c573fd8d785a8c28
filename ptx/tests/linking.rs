// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules that are linked, and what the system adds to a kernel.

mod common;
use common::{Arg, Machine};
use vcuda_ptx::{LoadError, Program};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

/// A module with a kernel that stores what `body` leaves in %r1.
fn module(name: &str, declarations: &str, body: &str) -> String {
    format!(
        "{HEAD}{declarations}\n.visible .entry {name}(.param .u64 out) {{ .reg .b32 %r<9>; .reg .b64 %rd<9>;
        {body}
        ld.param.u64 %rd1, [out]; st.global.u32 [%rd1], %r1; ret; }}\n"
    )
}

fn results(text: &str, kernels: &[&str]) -> Vec<u32> {
    let machine = Machine::new();
    let program = machine.load(text);
    let out = machine.put(&[0u32]);
    let run = |name: &&str| {
        let kernel = program.kernel(name).unwrap();
        machine
            .run(&kernel, [1, 1, 1], [1, 1, 1], &[Arg::U64(out)])
            .unwrap();
        machine.get::<u32>(out, 1)[0]
    };
    kernels.iter().map(run).collect()
}

#[test]
fn one_module_uses_what_another_defines() {
    let user = module(
        "first",
        ".extern .global .u32 shared_number; .extern .const .u32 fixed; .extern .func (.param .b32 r) twice(.param .b32 x);",
        "ld.global.u32 %r2, [shared_number]; ld.const.u32 %r3, [fixed]; { .param .b32 a; .param .b32 b; st.param.b32 [a], %r2;
         call.uni (b), twice, (a); ld.param.b32 %r1, [b]; } add.u32 %r1, %r1, %r3;",
    );
    let owner = module(
        "second",
        ".visible .global .u32 shared_number = 20; .visible .const .u32 fixed = 2;
         .visible .func (.param .b32 r) twice(.param .b32 x) { .reg .b32 %r<3>; ld.param.b32 %r1, [x]; add.u32 %r1, %r1, %r1;
         st.param.b32 [r], %r1; ret; }",
        "ld.global.u32 %r1, [shared_number];",
    );
    for text in [format!("{user}{owner}"), format!("{owner}{user}")] {
        assert_eq!(results(&text, &["first", "second"]), [42, 20]);
    }
}

#[test]
fn what_is_not_visible_is_known_in_its_own_module_only() {
    let part = |name, number| {
        module(
            name,
            &format!(
                ".global .u32 number = {number}; .func (.param .b32 r) get() {{ .reg .b32 %r<2>; ld.global.u32 %r1, [number];
                 st.param.b32 [r], %r1; ret; }}"
            ),
            "{ .param .b32 b; call.uni (b), get, (); ld.param.b32 %r1, [b]; }",
        )
    };
    let text = format!("{}{}{}", part("a", 1), part("b", 2), part("c", 3));
    assert_eq!(results(&text, &["a", "b", "c"]), [1, 2, 3]);
}

#[test]
fn of_weak_definitions_one_counts_unless_there_is_another() {
    let part = |name, linkage, number| {
        module(
            name,
            &format!(
                "{linkage} .global .u32 number = {number}; {linkage} .func (.param .b32 r) get() {{ .reg .b32 %r<2>;
                 mov.u32 %r1, {number}; st.param.b32 [r], %r1; ret; }}"
            ),
            "{ .param .b32 b; call.uni (b), get, (); ld.param.b32 %r1, [b]; } ld.global.u32 %r2, [number];
             mad.lo.u32 %r1, %r2, 10, %r1;",
        )
    };
    let weak = format!("{}{}", part("a", ".weak", 1), part("b", ".weak", 2));
    assert_eq!(results(&weak, &["a", "b"]), [11, 11]);
    let strong = part("c", ".visible", 3);
    for text in [format!("{weak}{strong}"), format!("{strong}{weak}")] {
        assert_eq!(results(&text, &["a", "b", "c"]), [33, 33, 33]);
    }
}

#[test]
fn two_definitions_that_are_not_weak_are_refused() {
    let part = |name| module(name, ".visible .global .u32 number = 1;", "mov.u32 %r1, 0;");
    let parsed = vcuda_ptx::parse(format!("{}{}", part("a"), part("b")).as_bytes()).unwrap();
    let machine = Machine::new();
    let loaded = Program::load(parsed, &machine.space, &mut |_, size, _| {
        Ok(machine.alloc(size))
    });
    let Err(LoadError::Duplicate { name, .. }) = loaded else {
        panic!("{loaded:?}")
    };
    assert_eq!(name, "number");
}

#[test]
fn lines_of_a_later_module_lead_to_its_own_source_files() {
    let part = |name, file| {
        let place = format!("\n.loc 1 7 0\ntrap;\n.file 1 \"{file}\"\n");
        let (code, files) = place.split_once(".file").unwrap();
        format!("{}.file{files}", module(name, "", code))
    };
    let machine = Machine::new();
    let program = machine.load(&format!("{}{}", part("a", "a.cu"), part("b", "b.cu")));
    for (name, file) in [("a", "a.cu:7"), ("b", "b.cu:7")] {
        let kernel = program.kernel(name).unwrap();
        let fault = machine
            .run(&kernel, [1, 1, 1], [1, 1, 1], &[Arg::U64(0)])
            .unwrap_err();
        assert!(fault.to_string().contains(file), "{fault}");
    }
}

#[test]
fn memory_that_the_system_keeps_is_beside_the_kernels_own() {
    let text = module(
        "k",
        "",
        ".shared .align 4 .b32 own[3]; mov.u32 %r2, 7; st.shared.u32 [own+8], %r2; mov.u32 %r3, %reserved_smem_offset_1;
         mov.u32 %r4, 5; st.shared.u32 [%r3], %r4; st.shared.u32 [%r3+284], %r4; ld.shared.u32 %r1, [own+8];",
    );
    let machine = Machine::new();
    let program = machine.load(&text);
    assert_eq!(program.kernel("k").unwrap().static_shared(), 12);
    assert_eq!(results(&text, &["k"]), [7]);
}
