// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every instruction form that ptxas accepts for sm_86 is either executed or refused by name.
//!
//! `census/forms.txt` lists the forms; `census/generate.py` made it with ptxas.

#![allow(clippy::result_large_err)]

mod common;
use common::Machine;
use std::time::Duration;
use vcuda_ptx::{
    Channel, Heap, Image, Images, KernelError, Launch, Level, Limits, Sampler, Shape, parse,
};

const FORMS: &str = include_str!("census/forms.txt");

/// Beginnings of opcodes that are not executed.
const REFUSED: &[&str] = &[
    // Images with several samples to a pixel, which only graphics programs have.
    "tex.2dms",
    "tex.a2dms",
    "suq.memory_layout",
    // Texture references, and samplers apart from textures.
    "istypep",
    "txq.filter_mode",
    "txq.addr_mode",
    "txq.force_unnormalized_coords",
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
];

const HEAD: &str = ".version 8.7\n.target sm_86\n.address_size 64\n\
    .global .align 16 .b8 gl[1024];\n.const .align 16 .b8 co[1024];\n\
    .func (.param .b32 o) fn(.param .b32 i) { ret; }\n";

const REGISTERS: &str = ".reg .pred p<9>; .reg .b16 h<9>; .reg .b32 r<40>; .reg .b64 d<20>; .reg .f32 f<40>; .reg .f64 e<20>;\n\
    .shared .align 16 .b8 sm[1024]; .local .align 16 .b8 lo[64]; .param .b32 x0; .param .b32 x1;\n";

/// A kernel around one instruction.
fn kernel(number: usize, line: &str) -> String {
    format!(
        ".visible .entry k{number}(.param .u64 pa, .param .align 16 .b8 pb[64])\n{{\n{REGISTERS}\
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

/// Some numbers without order.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |limit| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

/// A kernel around one instruction, before which every register gets a value that depends on the
/// thread. If `sane`, addresses point somewhere.
fn filled(line: &str, sane: bool, next: &mut impl FnMut(u64) -> u64) -> String {
    let mut fill = String::from("mov.u32 r0, %tid.x; mul.lo.u32 r1, r0, 0x9e3779b9;\n");
    let word = |next: &mut dyn FnMut(u64) -> u64| match next(4) {
        0 => format!("mov.u32 r39, {};", next(40)),
        1 => format!(
            "mov.u32 r39, {};",
            [
                0,
                0x8000_0000u32,
                0x7fff_ffff,
                0xffff_ffff,
                0x7f80_0000,
                0x7fc0_0000,
                1
            ][next(7) as usize]
        ),
        _ => format!("xor.b32 r39, r1, {};", next(1 << 32)),
    };
    for i in 0..9 {
        fill += &format!(
            "{} cvt.u16.u32 h{i}, r39; setp.gt.s32 p{i}, r39, 3;\n",
            word(next)
        );
    }
    for i in 0..20 {
        fill += &format!(
            "{} mov.b32 f{i}, r39; mov.b32 f{}, r39; mov.b64 d{i}, {{r39, r1}};",
            word(next),
            i + 20
        );
        fill += &format!("{} mov.b64 e{i}, {{r1, r39}};\n", word(next));
    }
    for i in 2..39 {
        fill += &format!("{} mov.u32 r{i}, r39;\n", word(next));
    }
    if sane {
        fill += "mov.u32 r9, %tid.x; shl.b32 r9, r9, 5; mov.u32 r8, 16; mul.wide.u32 d9, r9, 1; mov.u64 d10, gl; add.u64 d9, d9, d10; mov.u64 d8, 0;\n";
        if ["tex", "tld4", "txq", "su"]
            .iter()
            .any(|name| line.starts_with(name))
        {
            fill += "mov.u64 d9, 5; mov.u32 r4, 8; mov.u32 r5, 1; mov.u32 r6, 0; mov.u32 r7, 0;\n";
        }
        if line.starts_with("alloca") {
            fill += "mov.u64 d1, 40;\n";
        }
    }
    fill + line
}

/// Whether a kernel around the instruction ends without a fault.
fn runs(line: &str, sane: bool, seed: u64) -> bool {
    let source = format!(
        "{HEAD}{}",
        kernel(0, &filled(line, sane, &mut random(seed)))
    );
    let machine = Machine::new();
    let program = machine.load(&source);
    let kernel = match program.kernel("k0") {
        Ok(kernel) => kernel,
        Err(error) => panic!("{line}: {error}"),
    };
    let (address, _) = program.global("gl").unwrap();
    let level = Level {
        address,
        row: 64,
        slice: 512,
        size: [16, 8, 2],
    };
    let image = Image {
        shape: Shape::Plain,
        channel: Channel::Float,
        channels: 1,
        levels: vec![level],
        sampler: Sampler::default(),
    };
    let mut images = Images::default();
    assert!(images.insert(5, image));
    let heap = Heap::new(common::BASE + (1 << 29), 1 << 20, 1 << 20);
    let limits = Limits {
        time_limit: Some(Duration::from_secs(20)),
        images: Some(&images),
        heap: Some(&heap),
        ..Limits::default()
    };
    let launch = Launch {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        dynamic_shared: 0,
        params: &[1; 80],
        cooperative: false,
    };
    machine
        .engine
        .run(&machine.space, &kernel, &launch, &limits)
        .is_ok()
}

#[test]
fn every_form_runs_or_faults_whatever_its_operands_are() {
    let lines = FORMS.lines().filter(|line| !line.starts_with('#'));
    let mut ended_well = 0;
    let mut all = 0;
    for (number, line) in lines.enumerate() {
        // Every 8th with sane addresses, every other 8th without, to be quick.
        if REFUSED.iter().any(|name| line.starts_with(name)) || number % 4 != 0 {
            continue;
        }
        all += 1;
        ended_well += usize::from(runs(line, number % 8 == 0, number as u64));
    }
    assert!(ended_well > all / 3, "{ended_well} of {all} ended well");
}

/// Operands, which commas separate where no brackets are open.
fn split(text: &str) -> Vec<String> {
    let mut operands = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
        match operands.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => operands.push(String::new()),
        }
    }
    operands
}

#[test]
fn wrong_operands_are_refused_and_nothing_worse() {
    let mut next = random(7);
    let mut source = HEAD.to_owned();
    let lines: Vec<&str> = FORMS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for (number, line) in lines.iter().enumerate() {
        let (opcode, operands) = line
            .trim_end_matches(';')
            .split_once(' ')
            .unwrap_or((line, ""));
        let mut operands = split(operands);
        let at = next(operands.len() as u64) as usize;
        match next(6) {
            0 => drop(operands.remove(at)),
            1 => operands.insert(at, "r1".into()),
            2 => operands[at] = ["p1", "h1", "r1", "d1", "f1", "e1"][next(6) as usize].into(),
            3 => operands[at] = "{r1, r2}".into(),
            4 => {
                operands[at] = [
                    "-1",
                    "99999999999",
                    "sm",
                    "gl",
                    "[r1]",
                    "%tid.x",
                    "[d1, {r1}]",
                    "r1|p1",
                    "!p1",
                ][next(9) as usize]
                    .into()
            }
            _ => operands.swap(0, at),
        }
        source.push_str(&kernel(
            number,
            &format!("{opcode} {};", operands.join(", ")),
        ));
    }
    let module = parse(source.as_bytes()).unwrap();
    let machine = Machine::new();
    let mut place = |_: &str, size: u64, _: u64| Ok(machine.alloc(size));
    let program = vcuda_ptx::Program::load(module, &machine.space, &mut place).unwrap();
    let refused = (0..lines.len())
        .filter(|number| program.kernel(&format!("k{number}")).is_err())
        .count();
    assert!(refused > lines.len() / 4, "{refused}");
}
