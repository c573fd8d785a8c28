// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every instruction form that ptxas accepts for sm_86 is either executed or refused by name.
//!
//! `census/forms.txt` lists the forms; `census/generate.py` made it with ptxas.

#![allow(clippy::result_large_err)]

mod common;
use common::Machine;
use vcuda_ptx::KernelError;

const FORMS: &str = include_str!("census/forms.txt");

/// Beginnings of opcodes that are not executed.
const REFUSED: &[&str] = &[
    // Sparse matrices.
    "mma.sp",
    // Images with several samples to a pixel, which only graphics programs have.
    "tex.2dms",
    "tex.a2dms",
    "suq.memory_layout",
    // Texture references.
    "istypep.texref",
];

/// Instructions of later processors that are not executed by design.
const BY_DESIGN: &[&str] = &[
    "wgmma.fence.sync.aligned;",
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {f1, f2, f3, f4}, d1, d2, 1, 1, 1, 0, 0;",
    "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r1], 64;",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [r1], [d1], 16, [r2];",
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [r1], [d1, {r2, r3}], [r4];",
    "cp.async.bulk.commit_group;",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [d1], [r1], 16;",
    "barrier.cluster.arrive.aligned;",
    "barrier.cluster.wait.aligned;",
    "mapa.shared::cluster.u32 r1, r2, r3;",
    "getctarank.shared::cluster.u32 r1, r2;",
    "multimem.ld_reduce.relaxed.sys.global.add.f32 f1, [d1];",
    "setmaxnreg.inc.sync.aligned.u32 64;",
    "mbarrier.arrive.expect_tx.shared::cta.b64 d1, [r1], 16;",
    "ld.shared::cluster.u32 r1, [r2];",
    "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [d1], [r1], 128;",
    "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 [r1], [r2];",
    "stmatrix.sync.aligned.m8n8.x1.shared.b16 [r1], {r2};",
];

const HEAD: &str = ".version 8.7\n.target sm_86\n.address_size 64\n\
    .global .align 16 .b8 gl[1024];\n.const .align 16 .b8 co[1024];\n\
    .func (.param .b32 o) fn(.param .b32 i) { ret; }\n";

/// A kernel around one instruction.
fn kernel(number: usize, line: &str) -> String {
    format!(
        ".visible .entry k{number}(.param .u64 pa, .param .align 16 .b8 pb[64])\n{{\n\
         .reg .pred p<9>; .reg .b16 h<9>; .reg .b32 r<40>; .reg .b64 d<20>; .reg .f32 f<40>; .reg .f64 e<20>;\n\
         .shared .align 16 .b8 sm[1024]; .local .align 16 .b8 lo[64]; .param .b32 x0; .param .b32 x1;\n\
         {line}\nL:\nret;\n}}\n"
    )
}

#[test]
fn every_form_is_executed_or_refused_by_name() {
    let lines: Vec<&str> = FORMS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(lines.len() > 7000);
    let mut source = HEAD.to_owned();
    for (number, line) in lines.iter().enumerate() {
        source.push_str(&kernel(number, line));
    }
    let machine = Machine::new();
    let program = machine.load(&source);
    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let refused = REFUSED.iter().any(|name| line.starts_with(name));
        match program.kernel(&format!("k{number}")) {
            Ok(_) if refused => wrong.push(format!("{line} is executed")),
            Ok(_) => {}
            Err(KernelError::Unsupported { instruction, .. }) if refused => {
                let opcode = line.split([' ', ';']).next().unwrap();
                assert!(instruction.starts_with(opcode), "{line}: {instruction}");
            }
            Err(error) => wrong.push(format!("{line} -- {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        lines.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_is_not_executed_by_design_is_refused_with_its_line() {
    for (number, line) in BY_DESIGN.iter().enumerate() {
        let source = format!("{HEAD}{}", kernel(number, line));
        let place = source
            .lines()
            .position(|found| found.trim() == *line)
            .unwrap()
            + 1;
        let machine = Machine::new();
        let error = machine
            .load(&source)
            .kernel(&format!("k{number}"))
            .unwrap_err();
        let KernelError::Unsupported {
            instruction,
            line: found,
            ..
        } = &error
        else {
            panic!("{line}: {error}");
        };
        let opcode = line.split([' ', ';']).next().unwrap();
        assert!(instruction.starts_with(opcode), "{line}: {instruction}");
        assert_eq!(*found as usize, place, "{line}");
    }
}
