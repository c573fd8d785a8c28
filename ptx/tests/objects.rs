// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a launch has besides memory: textures, surfaces and a heap; and barriers that are objects.

#![allow(clippy::result_large_err)]

mod common;
use common::Machine;
use vcuda_ptx::{Channel, Edge, Fault, Heap, Image, Images, Launch, Level, Limits, Sampler, Shape};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n
.extern .func (.param .b64 func_retval0) malloc (.param .b64 malloc_param_0);
.extern .func free (.param .b64 free_param_0);\n";

/// Runs the kernel `k(out, x)` around a body; `%rd1` is the thread's eight bytes of `out`, `%rd2` is `x`,
/// `%r1` the number of the thread.
fn run(
    machine: &Machine,
    limits: &Limits<'_>,
    threads: u32,
    x: u64,
    body: &str,
) -> Result<Vec<u64>, Fault> {
    let source = format!(
        "{HEAD}.visible .entry k(.param .u64 out, .param .u64 x)\n{{\n\
         .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<30>; .reg .b64 %rd<30>; .reg .f32 %f<30>;\n\
         ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [x]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd1, %r1, 8, %rd1;\n\
         cvt.rn.f32.u32 %f1, %r1;\n{body}\nret;\n}}\n"
    );
    let program = machine.load(&source);
    let kernel = program
        .kernel("k")
        .unwrap_or_else(|error| panic!("{error}\n{source}"));
    let out = machine.put(&vec![0u64; threads as usize]);
    let params: Vec<u8> = [out, x]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let launch = Launch {
        grid: [1, 1, 1],
        block: [threads, 1, 1],
        dynamic_shared: 0,
        params: &params,
        cooperative: false,
    };
    machine
        .engine
        .run(&machine.space, &kernel, &launch, limits)?;
    Ok(machine.get(out, threads as usize))
}

/// 16 x 8 texels of one channel; texel (x, y) is 100 y + x.
fn plane(machine: &Machine, sampler: Sampler) -> (Images, u64) {
    let texels: Vec<f32> = (0..8)
        .flat_map(|y| (0..16).map(move |x| (100 * y + x) as f32))
        .collect();
    let address = machine.put(&texels);
    let level = Level {
        address,
        row: 64,
        slice: 512,
        size: [16, 8, 1],
    };
    let image = Image {
        shape: Shape::Plain,
        channel: Channel::Float,
        channels: 1,
        levels: vec![level],
        sampler,
    };
    let mut images = Images::default();
    assert!(images.insert(5, image));
    (images, address)
}

fn floats(results: Vec<u64>) -> Vec<f32> {
    results
        .into_iter()
        .map(|bits| f32::from_bits(bits as u32))
        .collect()
}

const FETCH: &str = "tex.2d.v4.f32.f32 {%f10, %f11, %f12, %f13}, [%rd2, {%f2, %f3}]; mov.b32 %r2, %f10; cvt.u64.u32 %rd3, %r2; st.global.u64 [%rd1], %rd3;";

fn fetched(sampler: Sampler, place: &str) -> Vec<f32> {
    let machine = Machine::new();
    let (images, _) = plane(&machine, sampler);
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    floats(run(&machine, &limits, 32, 5, &format!("{place} {FETCH}")).unwrap())
}

#[test]
fn coordinates_beyond_the_edge_are_clamped_mirrored_wrapped_or_the_border() {
    // Thread t reads texel (t - 8, 2).
    let texels = "add.f32 %f2, %f1, 0fC0F00000; mov.f32 %f3, 0f40200000;";
    let at = |edge| Sampler {
        edges: [edge; 3],
        border: [7.0; 4],
        ..Sampler::default()
    };
    let clamped: Vec<f32> = (0..32)
        .map(|t: i32| 200.0 + (t - 8).clamp(0, 15) as f32)
        .collect();
    assert_eq!(fetched(at(Edge::Clamp), texels), clamped);
    assert_eq!(
        fetched(at(Edge::Wrap), texels),
        clamped,
        "only normalized coordinates wrap"
    );
    let border: Vec<f32> = (0..32)
        .map(|t: i32| {
            if (0..16).contains(&(t - 8)) {
                200.0 + (t - 8) as f32
            } else {
                7.0
            }
        })
        .collect();
    assert_eq!(fetched(at(Edge::Border), texels), border);
    // The same in parts of the image: (t - 7.5) / 16, 2.5 / 8.
    let parts = format!("{texels} mul.f32 %f2, %f2, 0f3D800000; mul.f32 %f3, %f3, 0f3E000000;");
    let normalized = |edge| Sampler {
        normalized: true,
        ..at(edge)
    };
    let wrapped: Vec<f32> = (0..32)
        .map(|t: i32| 200.0 + (t - 8).rem_euclid(16) as f32)
        .collect();
    assert_eq!(fetched(normalized(Edge::Wrap), &parts), wrapped);
    let mirrored: Vec<f32> = (0..32)
        .map(|t: i32| {
            let x = (t - 8).rem_euclid(32);
            200.0 + x.min(31 - x) as f32
        })
        .collect();
    assert_eq!(fetched(normalized(Edge::Mirror), &parts), mirrored);
}

#[test]
fn linear_filters_mix_the_texels_around_with_weights_of_eight_bits() {
    let sampler = Sampler {
        linear: true,
        ..Sampler::default()
    };
    // x = 1 + t / 8: between the middles of texels.
    let place = "fma.rn.f32 %f2, %f1, 0f3E000000, 0f3F800000; mov.f32 %f3, 0f40400000;";
    let expected: Vec<f32> = (0..32)
        .map(|t| 250.0 + (1.0 + t as f32 / 8.0 - 0.5).clamp(0.0, 15.0))
        .collect();
    assert_eq!(fetched(sampler.clone(), place), expected);
    // 1/2000 of the way from the middle is none of 256 steps.
    let place = "mov.f32 %f2, 0f3F801062; mov.f32 %f3, 0f3F000000;";
    assert_eq!(fetched(sampler, place)[0], 0.5);
}

#[test]
fn four_texels_are_gathered_counterclockwise() {
    let machine = Machine::new();
    let (images, _) = plane(&machine, Sampler::default());
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    let body = "mov.f32 %f2, 0f40A00000; mov.f32 %f3, 0f40400000;
        tld4.r.2d.v4.f32.f32 {%f10, %f11, %f12, %f13}, [%rd2, {%f2, %f3}];
        setp.eq.u32 %p1, %r1, 0; selp.f32 %f14, %f10, %f11, %p1; setp.gt.u32 %p1, %r1, 1; selp.f32 %f14, %f12, %f14, %p1;
        setp.gt.u32 %p1, %r1, 2; selp.f32 %f14, %f13, %f14, %p1; mov.b32 %r2, %f14; cvt.u64.u32 %rd3, %r2; st.global.u64 [%rd1], %rd3;";
    // The corner of texels 4 and 5, rows 2 and 3.
    assert_eq!(
        floats(run(&machine, &limits, 4, 5, body).unwrap()),
        [304.0, 305.0, 205.0, 204.0]
    );
}

#[test]
fn an_unknown_object_and_memory_that_is_gone_are_faults() {
    let machine = Machine::new();
    let (images, address) = plane(&machine, Sampler::default());
    let body = format!("mov.f32 %f2, 0f3F800000; mov.f32 %f3, 0f3F800000; {FETCH}");
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    let fault = run(&machine, &limits, 1, 6, &body).unwrap_err();
    assert!(
        matches!(fault, Fault::InvalidObject { object: 6, .. }),
        "{fault}"
    );
    let fault = run(&machine, &Limits::default(), 1, 5, &body).unwrap_err();
    assert!(
        matches!(fault, Fault::InvalidObject { object: 5, .. }),
        "{fault}"
    );
    machine.space.free(address).unwrap();
    let fault = run(&machine, &limits, 1, 5, &body).unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::IllegalAddress {
                access: "texture load",
                ..
            }
        ),
        "{fault}"
    );
}

#[test]
fn queries_tell_size_format_and_kind() {
    let machine = Machine::new();
    let (images, _) = plane(&machine, Sampler::default());
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    let body = "txq.width.b32 %r2, [%rd2]; suq.height.b32 %r3, [%rd2]; txq.channel_data_type.b32 %r4, [%rd2];
        txq.num_mipmap_levels.b32 %r5, [%rd2]; mad.lo.u32 %r2, %r2, 1000, %r3; mad.lo.u32 %r2, %r2, 10, %r5;
        sub.u32 %r4, %r4, 4318; add.u32 %r2, %r2, %r4; cvt.u64.u32 %rd3, %r2; st.global.u64 [%rd1], %rd3;";
    // 4318 is CL_FLOAT, which the PTX ISA takes over.
    assert_eq!(run(&machine, &limits, 1, 5, body).unwrap(), [160_081]);
}

#[test]
fn a_level_that_there_is_not_has_no_size() {
    let machine = Machine::new();
    let (images, _) = plane(&machine, Sampler::default());
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    let body = "mov.u32 %r2, 0; txq.level.width.b32 %r3, [%rd2], %r2; txq.level.height.b32 %r4, [%rd2], 0; txq.level.width.b32 %r5, [%rd2], 1;
        mad.lo.u32 %r3, %r3, 100, %r4; mad.lo.u32 %r3, %r3, 100, %r5; cvt.u64.u32 %rd3, %r3; st.global.u64 [%rd1], %rd3;";
    assert_eq!(run(&machine, &limits, 1, 5, body).unwrap(), [160_800]);
}

#[test]
fn surfaces_are_loaded_stored_and_reduced_by_bytes() {
    let machine = Machine::new();
    let (images, address) = plane(&machine, Sampler::default());
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    let body = "shl.b32 %r2, %r1, 2; mov.u32 %r3, 1; suld.b.2d.b32.trap {%r4}, [%rd2, {%r2, %r3}];
        sust.b.2d.b32.trap [%rd2, {%r2, %r1}], {%r4}; mov.u32 %r5, 0; mov.u32 %r6, 7;
        sured.b.add.2d.u32.trap [%rd2, {%r5, %r6}], %r1; cvt.u64.u32 %rd3, %r4; st.global.u64 [%rd1], %rd3;";
    let expected: Vec<f32> = (0..7).map(|t| (100 + t) as f32).collect();
    assert_eq!(
        floats(run(&machine, &limits, 7, 5, body).unwrap()),
        expected
    );
    let texels: Vec<u32> = machine.get(address, 128);
    for t in 0..7 {
        assert_eq!(f32::from_bits(texels[t * 16 + t]), (100 + t) as f32);
    }
    assert_eq!(texels[7 * 16], 700f32.to_bits() + 21);
}

#[test]
fn outside_of_a_surface_there_is_nothing_the_edge_or_a_fault() {
    let machine = Machine::new();
    let (images, _) = plane(&machine, Sampler::default());
    let limits = Limits {
        images: Some(&images),
        ..Limits::default()
    };
    // Threads read 4 (t - 1) bytes into row 3.
    let body = |mode: &str| {
        format!(
            "mad.lo.s32 %r2, %r1, 4, -4; mov.u32 %r3, 3; suld.b.2d.b32.{mode} {{%r4}}, [%rd2, {{%r2, %r3}}];
             cvt.u64.u32 %rd3, %r4; st.global.u64 [%rd1], %rd3;"
        )
    };
    let clamped = floats(run(&machine, &limits, 18, 5, &body("clamp")).unwrap());
    assert_eq!((clamped[0], clamped[1], clamped[17]), (300.0, 300.0, 315.0));
    let zeros = floats(run(&machine, &limits, 18, 5, &body("zero")).unwrap());
    assert_eq!((zeros[0], zeros[1], zeros[17]), (0.0, 300.0, 0.0));
    let fault = run(&machine, &limits, 18, 5, &body("trap")).unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::IllegalAddress {
                access: "surface load",
                ..
            }
        ),
        "{fault}"
    );
}

const MALLOC: &str = "{ .param .b64 size; .param .b64 p; st.param.b64 [size], %rd4; call.uni (p), malloc, (size); ld.param.b64 %rd5, [p]; }";
const FREE: &str = "{ .param .b64 p; st.param.b64 [p], %rd5; call.uni free, (p); }";

/// A heap of 1 MiB at the end of the machine's memory.
fn heap(limit: u64) -> Heap {
    Heap::new(common::BASE + (1 << 29), 1 << 20, limit)
}

#[test]
fn blocks_of_the_heap_are_apart_and_live_on() {
    let machine = Machine::new();
    let heap = heap(1 << 20);
    let limits = Limits {
        heap: Some(&heap),
        ..Limits::default()
    };
    let body = format!(
        "mov.u64 %rd4, 12; {MALLOC} st.global.u32 [%rd5+8], %r1; st.global.u64 [%rd1], %rd5;"
    );
    let mut blocks = run(&machine, &limits, 64, 0, &body).unwrap();
    for (t, &block) in blocks.iter().enumerate() {
        assert_eq!(machine.get::<u32>(block + 8, 1), [t as u32]);
    }
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), 64);
    // Beyond the block there is nothing.
    let body = format!("mov.u64 %rd4, 12; {MALLOC} st.global.u32 [%rd5+12], %r1;");
    let fault = run(&machine, &limits, 1, 0, &body).unwrap_err();
    assert!(matches!(fault, Fault::IllegalAddress { .. }), "{fault}");
    heap.clear(&machine.space);
    assert!(machine.space.read(blocks[0], &mut [0]).is_err());
}

#[test]
fn a_full_heap_gives_null_and_freed_blocks_again() {
    let machine = Machine::new();
    let heap = heap(1024);
    let limits = Limits {
        heap: Some(&heap),
        ..Limits::default()
    };
    let body = format!("mov.u64 %rd4, 256; {MALLOC} st.global.u64 [%rd1], %rd5;");
    let blocks = run(&machine, &limits, 6, 0, &body).unwrap();
    assert_eq!(blocks.iter().filter(|&&block| block == 0).count(), 2);
    let block = blocks.into_iter().max().unwrap();
    run(
        &machine,
        &limits,
        1,
        block,
        &format!("mov.u64 %rd5, %rd2; {FREE} mov.u64 %rd5, 0; {FREE}"),
    )
    .unwrap();
    assert_eq!(run(&machine, &limits, 1, 0, &body).unwrap(), [block]);
    // Without a heap, and of no bytes, there is nothing.
    assert_eq!(run(&machine, &Limits::default(), 1, 0, &body).unwrap(), [0]);
    let none = format!("mov.u64 %rd4, 0; {MALLOC} st.global.u64 [%rd1], %rd5;");
    assert_eq!(run(&machine, &limits, 1, 0, &none).unwrap(), [0]);
}

#[test]
fn what_was_not_allocated_or_freed_before_cannot_be_freed() {
    let machine = Machine::new();
    let heap = heap(1 << 20);
    let limits = Limits {
        heap: Some(&heap),
        ..Limits::default()
    };
    for body in [
        format!("mov.u64 %rd4, 8; {MALLOC} {FREE} {FREE}"),
        format!("mov.u64 %rd4, 8; {MALLOC} add.u64 %rd5, %rd5, 8; {FREE}"),
    ] {
        let fault = run(&machine, &limits, 1, 0, &body).unwrap_err();
        assert!(matches!(fault, Fault::InvalidObject { .. }), "{fault}");
    }
}

#[test]
fn phases_of_a_barrier_object_follow_its_arrivals() {
    let machine = Machine::new();
    // Two arrivals to a phase; the state of tokens and parities after each of three.
    let body = ".shared .align 8 .b64 bar; mov.u32 %r2, 2; mbarrier.init.shared.b64 [bar], %r2;
        mbarrier.arrive.shared.b64 %rd3, [bar]; mbarrier.test_wait.shared.b64 %p1, [bar], %rd3;
        mbarrier.test_wait.parity.shared.b64 %p2, [bar], 0; mbarrier.pending_count.b64 %r3, %rd3;
        mbarrier.arrive.shared.b64 %rd4, [bar]; mbarrier.test_wait.shared.b64 %p3, [bar], %rd3;
        mbarrier.test_wait.parity.shared.b64 %p4, [bar], 0; mbarrier.test_wait.parity.shared.b64 %p5, [bar], 1;
        mbarrier.pending_count.b64 %r4, %rd4;
        mbarrier.arrive_drop.shared.b64 %rd5, [bar]; mbarrier.arrive.shared.b64 %rd6, [bar]; mbarrier.arrive.shared.b64 %rd7, [bar];
        mbarrier.test_wait.shared.b64 %p6, [bar], %rd7;
        cp.async.mbarrier.arrive.shared.b64 [bar]; mbarrier.test_wait.parity.shared.b64 %p7, [bar], 1;
        mbarrier.inval.shared.b64 [bar];
        selp.u32 %r10, 1, 0, %p1; selp.u32 %r11, 2, 0, %p2; selp.u32 %r12, 4, 0, %p3; selp.u32 %r13, 8, 0, %p4;
        selp.u32 %r14, 16, 0, %p5; selp.u32 %r15, 32, 0, %p6; selp.u32 %r16, 64, 0, %p7;
        add.u32 %r10, %r10, %r11; add.u32 %r10, %r10, %r12; add.u32 %r10, %r10, %r13; add.u32 %r10, %r10, %r14;
        add.u32 %r10, %r10, %r15; add.u32 %r10, %r10, %r16; mad.lo.u32 %r10, %r3, 1000, %r10; mad.lo.u32 %r10, %r4, 10000, %r10;
        cvt.u64.u32 %rd8, %r10; st.global.u64 [%rd1], %rd8;";
    // The fourth phase has parity 1, as the second: it is not over.
    let result = run(&machine, &Limits::default(), 1, 0, body).unwrap();
    assert_eq!(result, [12_000 + 4 + 8 + 32]);
}

#[test]
fn copies_in_the_background_fill_up_with_zeros_or_ignore_their_source() {
    let machine = Machine::new();
    let source = machine.put(&[0x0807_0605_0403_0201u64, 0x1010_1010_1010_1010]);
    let body = ".shared .align 16 .b8 buffer[64]; mov.u32 %r2, buffer; mov.u64 %rd3, -1; st.shared.u64 [%r2], %rd3; st.shared.u64 [%r2+8], %rd3;
        setp.gt.u32 %p1, %r1, 0; mov.u32 %r3, 3;
        @!%p1 cp.async.ca.shared.global [%r2], [%rd2], 8, %r3; @%p1 cp.async.ca.shared.global [%r2+8], [%rd2], 8, %p1;
        cp.async.commit_group; cp.async.wait_group 0; bar.sync 0; mad.lo.u32 %r2, %r1, 8, %r2;
        ld.shared.u64 %rd4, [%r2]; st.global.u64 [%rd1], %rd4;";
    assert_eq!(
        run(&machine, &Limits::default(), 2, source, body).unwrap(),
        [0x03_0201, 0]
    );
}
