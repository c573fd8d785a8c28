// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever comes in, what comes out is a result or an error.

mod common;
use common::{BASE, Machine};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use vcuda_ptx::{AddressSpace, Launch, Limits, MemoryError, Program, Region, parse};

const BASIC: &str = include_str!("ptx/basic_sm80.ptx");

/// Parses, loads, lowers all kernels, and runs them for a short while.
fn exercise(source: &[u8], run: bool) {
    let Ok(module) = parse(source) else { return };
    let machine = Machine::new();
    let mut left = 1u64 << 20;
    let mut place = |_: &str, size: u64, _: u64| {
        left = left
            .checked_sub(size)
            .ok_or(MemoryError::NoRegion { addr: 0, len: size })?;
        Ok(machine.alloc(size))
    };
    let Ok(program) = Program::load(module, &machine.space, &mut place) else {
        return;
    };
    let names: Vec<String> = program.kernel_names().map(str::to_owned).collect();
    for name in names {
        let Ok(kernel) = program.kernel(&name) else {
            continue;
        };
        if !run || kernel.param_bytes() > 4096 {
            continue;
        }
        let params: Vec<u8> = (0..kernel.param_bytes())
            .map(|i| (BASE >> (i % 8 * 8)) as u8)
            .collect();
        let launch = Launch {
            grid: [2, 1, 1],
            block: [48, 1, 1],
            dynamic_shared: 64,
            params: &params,
            cooperative: false,
        };
        let limits = Limits {
            abort: None,
            time_limit: Some(Duration::from_millis(5)),
            ..Limits::default()
        };
        let _ = machine
            .engine
            .run(&machine.space, &kernel, &launch, &limits);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes, true);
    }

    #[test]
    fn random_tokens_never_panic(tokens in proptest::collection::vec(prop::sample::select(vec![
        ".entry", ".func", "k", "(", ")", "{", "}", ";", ",", ".param", ".b32", ".u64", "x", "[", "]", "+", "-", "4", "0x7fffffffffffffff",
        ".reg", "%r", "<", ">", "9", "%r1", "add.s32", "ld.param.u64", "bra", "L:", "L", "@", "!", "|", "mov.u32", "ret", "%tid.x",
        ".shared", ".global", ".align", "=", "call", "brx.idx", ".branchtargets", "\n", "\"", "0f3F800000", "1.5e3", "bar.sync", ".local",
    ]), 0..120)) {
        let text = format!(".version 8.0\n.target sm_80\n.address_size 64\n{}", tokens.join(" "));
        exercise(text.as_bytes(), true);
    }

    #[test]
    fn mutated_programs_never_panic(seed in any::<u64>(), count in 1usize..12) {
        // One kernel out of the real module, with words and bytes exchanged.
        let mut state = seed | 1;
        let mut next = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        let starts: Vec<usize> = BASIC.match_indices(".visible .entry").map(|(i, _)| i).collect();
        let pick = next(starts.len());
        let end = starts.get(pick + 1).copied().unwrap_or(BASIC.len());
        let text = format!(".version 9.0\n.target sm_80\n.address_size 64\n{}", &BASIC[starts[pick]..end]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for _ in 0..count {
            let (a, b) = (next(lines.len() - 3) + 3, next(lines.len() - 3) + 3);
            match next(5) {
                0 => lines.swap(a, b),
                1 => lines[a] = lines[b].clone(),
                2 => {
                    let words: Vec<String> = lines[b].split_whitespace().map(str::to_owned).collect();
                    let mut target: Vec<String> = lines[a].split_whitespace().map(str::to_owned).collect();
                    if !words.is_empty() && !target.is_empty() {
                        let at = next(target.len());
                        target[at] = words[next(words.len())].clone();
                    }
                    lines[a] = target.join(" ");
                }
                3 => {
                    let mut bytes = lines[a].clone().into_bytes();
                    if !bytes.is_empty() {
                        let at = next(bytes.len());
                        bytes[at] = b" ,;{}[]()+-.%0129arx"[next(20)];
                    }
                    lines[a] = String::from_utf8_lossy(&bytes).into_owned();
                }
                _ => { lines.remove(a); }
            }
            if lines.len() < 6 { break; }
        }
        exercise(lines.join("\n").as_bytes(), true);
    }
}

#[test]
fn large_inputs_take_time_in_proportion() {
    let head = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { .reg .b32 %r<9>; .reg .pred %p<9>;\n";
    let branches: String = (0..20_000)
        .map(|i| {
            format!(
                "L{i}: add.u32 %r1, %r2, {i}; @%p1 bra L{};\n",
                (i * 7919) % 20_000
            )
        })
        .collect();
    let targets: String = (0..2000)
        .map(|i| format!("{}L{i}", if i == 0 { "" } else { ", " }))
        .collect();
    let indexed: String = (0..2000)
        .map(|i| format!("L{i}: brx.idx %r1, ts;\n"))
        .collect();
    let inputs = [
        format!("{head}{branches} ret; }}"),
        format!("{head}ts: .branchtargets {targets};\n{indexed} ret; }}"),
        format!(
            "{head}{}{} ret; }}",
            "{ ".repeat(100_000),
            "} ".repeat(100_000)
        ),
        format!(
            "{head}mov.u32 %r1, {}1{};ret; }}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
        format!("{head}{}", "a, ".repeat(200_000)),
        format!("{head}/* {}", "x".repeat(1_000_000)),
        ".global .b32 x = {".repeat(20_000),
    ];
    for (i, input) in inputs.iter().enumerate() {
        let start = Instant::now();
        exercise(input.as_bytes(), false);
        let time = start.elapsed();
        assert!(time < Duration::from_secs(60), "input {i} took {time:?}");
    }
}

#[test]
fn allocations_are_checked() {
    let space = AddressSpace::new(vec![Region::anonymous(BASE, 1 << 20).unwrap()]).unwrap();
    assert!(matches!(
        space.allocate(BASE + 1, 10),
        Err(MemoryError::Misaligned { .. })
    ));
    assert!(matches!(
        space.allocate(BASE, 0),
        Err(MemoryError::InvalidRange { .. })
    ));
    assert!(matches!(
        space.allocate(BASE, 2 << 20),
        Err(MemoryError::NoRegion { .. })
    ));
    assert!(matches!(
        space.allocate(0, 16),
        Err(MemoryError::NoRegion { .. })
    ));
    assert!(matches!(
        space.allocate(u64::MAX - 255, 512),
        Err(MemoryError::InvalidRange { .. })
    ));
    space.allocate(BASE + 256, 300).unwrap();
    assert!(
        matches!(space.allocate(BASE + 512, 16), Err(MemoryError::Overlap { other, .. }) if other == BASE + 256)
    );
    assert!(matches!(
        space.allocate(BASE, 257),
        Err(MemoryError::Overlap { .. })
    ));
    space.allocate(BASE, 256).unwrap();
    assert_eq!(
        space.allocation_at(BASE + 555),
        Some(BASE + 256..BASE + 556)
    );
    assert_eq!(space.allocation_at(BASE + 556), None);
    assert_eq!(
        space.nearest_allocation(BASE + 9999),
        Some(BASE + 256..BASE + 556)
    );
    assert_eq!(space.nearest_allocation(3), Some(BASE..BASE + 256));
    // Ranges lie in one allocation, even if another one follows directly.
    assert!(space.write(BASE + 250, &[0; 6]).is_ok());
    assert!(matches!(
        space.write(BASE + 250, &[0; 7]),
        Err(MemoryError::OutOfBounds { .. })
    ));
    assert!(space.read(BASE + 555, &mut [0]).is_ok());
    assert!(space.read(BASE + 556, &mut [0]).is_err());
    assert_eq!(space.free(BASE + 256), Ok(300));
    assert!(matches!(
        space.free(BASE + 256),
        Err(MemoryError::NotAllocated { .. })
    ));
    assert!(space.read(BASE + 256, &mut [0]).is_err());
}

#[test]
fn freed_memory_is_given_back_and_reads_as_zero() {
    let space = AddressSpace::new(vec![Region::anonymous(BASE, 64 << 30).unwrap()]).unwrap();
    for _ in 0..3 {
        space.allocate(BASE, 16 << 20).unwrap();
        let mut bytes = [1; 100];
        space.read(BASE + (8 << 20), &mut bytes).unwrap();
        assert_eq!(bytes, [0; 100]);
        space.fill(BASE, &[0xab, 0xcd], 8 << 20).unwrap();
        space.read(BASE + (8 << 20), &mut bytes).unwrap();
        assert_eq!(bytes[..4], [0xab, 0xcd, 0xab, 0xcd]);
        space.free(BASE).unwrap();
    }
}

#[test]
fn copies_within_memory_may_overlap() {
    let space = AddressSpace::new(vec![Region::anonymous(BASE, 1 << 20).unwrap()]).unwrap();
    space.allocate(BASE, 1000).unwrap();
    let data: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
    for (dst, src, len) in [
        (10u64, 0u64, 900usize),
        (0, 10, 900),
        (1, 0, 999),
        (500, 0, 500),
        (3, 3, 100),
    ] {
        space.write(BASE, &data).unwrap();
        space.copy(BASE + dst, BASE + src, len as u64).unwrap();
        let mut expected = data.clone();
        expected.copy_within(src as usize..src as usize + len, dst as usize);
        let mut found = vec![0; 1000];
        space.read(BASE, &mut found).unwrap();
        assert_eq!(found, expected, "{len} bytes from {src} to {dst}");
    }
    assert!(matches!(
        space.fill(BASE + 1, &[0; 4], 1),
        Err(MemoryError::Misaligned { .. })
    ));
    assert!(matches!(
        space.fill(BASE, &[0; 3], 1),
        Err(MemoryError::InvalidPattern { len: 3 })
    ));
    assert!(space.fill(BASE, &[0; 4], u64::MAX / 2).is_err());
}

#[test]
fn regions_must_not_overlap_or_reach_the_windows() {
    let region = |base, len| Region::anonymous(base, len).unwrap();
    assert!(matches!(
        AddressSpace::new(vec![region(BASE, 8192), region(BASE + 4096, 4096)]),
        Err(MemoryError::Overlap { .. })
    ));
    assert!(Region::anonymous(1 << 47, 4096).is_err());
    assert!(Region::anonymous(BASE, 0).is_err());
}

#[test]
fn a_variable_of_another_module_is_not_a_variable_full_of_zeros() {
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .global .align 4 .u32 elsewhere;\n\
        .extern .global .align 4 .u32 here;\n.global .align 4 .u32 here = 7;\n\
        .visible .entry bad() { .reg .b32 %r<2>; ld.global.u32 %r1, [elsewhere]; ret; }\n\
        .visible .entry good() { .reg .b32 %r<2>; ld.global.u32 %r1, [here]; ret; }\n";
    let machine = Machine::new();
    let program = machine.load(source);
    let error = program.kernel("bad").unwrap_err().to_string();
    assert!(error.contains("elsewhere"), "{error}");
    program.kernel("good").unwrap();
    assert_eq!(program.global("elsewhere"), None);
}
