// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes that give no fault: what is found, and what is not said of correct kernels.

#![allow(clippy::result_large_err)]

mod common;
use common::BASE;
use std::sync::Mutex;
use vcuda_ptx::{
    AddressSpace, Checks, Engine, Finding, Findings, Lanes, Launch, Limits, Mistake, Program,
    Region, parse,
};

#[derive(Default)]
struct Found(Mutex<Vec<Finding>>);

impl Findings for Found {
    fn found(&self, finding: Finding) {
        self.0.lock().unwrap().push(finding);
    }
}

const ALL: Checks = Checks {
    uninitialized: true,
    races: true,
};

/// Runs a block of a kernel with `%r1` = `%tid.x` and `%rd1` = an address of 1024 new bytes, of
/// which the first 256 were written.
fn watch(body: &str, threads: u32) -> Vec<Finding> {
    watch_grid(body, 1, threads)
}

/// The same with several blocks, which run at the same time.
fn watch_grid(body: &str, blocks: u32, threads: u32) -> Vec<Finding> {
    let source = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 data) {{
         .shared .align 16 .b8 tile[1024]; .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<9>;
         ld.param.u64 %rd1, [data]; mov.u32 %r1, %tid.x; mul.lo.u32 %r9, %r1, 4; mov.u32 %r10, tile; add.u32 %r9, %r9, %r10;
         {body} ret; }}"
    );
    let space = AddressSpace::new(vec![Region::anonymous(BASE, 1 << 20).unwrap()]).unwrap();
    let space = space.tracked().unwrap();
    space.allocate(BASE, 1024).unwrap();
    space.fill(BASE, &[7], 256).unwrap();
    let program = Program::load_checked(
        parse(source.as_bytes()).unwrap(),
        &space,
        &mut |_, _, _| unreachable!(),
        Lanes::detect(),
        ALL,
    )
    .unwrap();
    let kernel = program.kernel("k").unwrap();
    let launch = Launch {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        dynamic_shared: 0,
        params: &BASE.to_le_bytes(),
        cooperative: blocks > 1,
    };
    let found = Found::default();
    let limits = Limits {
        findings: Some(&found),
        ..Limits::default()
    };
    Engine::new(if blocks > 1 { 3 } else { 1 })
        .run(&space, &kernel, &launch, &limits)
        .unwrap();
    found.0.into_inner().unwrap()
}

fn races(found: &[Finding]) -> usize {
    let race = |f: &&Finding| matches!(f.mistake, Mistake::Race { .. });
    found.iter().filter(race).count()
}

fn clean(body: &str, threads: u32) {
    clean_grid(body, 1, threads);
}

fn clean_grid(body: &str, blocks: u32, threads: u32) {
    let found = watch_grid(body, blocks, threads);
    assert!(found.is_empty(), "{body}: {}", found[0]);
}

/// `%r2` = `%ctaid.x`, and `%rd2` = the address of this thread's word.
const EACH: &str = "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r3, %r2, %r3, %r1; mul.wide.u32 %rd2, %r3, 4; add.u64 %rd2, %rd1, %rd2;";

#[test]
fn a_read_of_global_memory_that_nobody_wrote_is_found() {
    let found = watch(
        "mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; ld.global.u32 %r2, [%rd1+240];",
        32,
    );
    assert_eq!(found.len(), 1);
    let finding = &found[0];
    assert_eq!(finding.mistake, Mistake::Uninitialized);
    // 256 bytes were written: lanes 0 to 3 read these.
    assert_eq!((finding.threads, finding.address), (28, BASE + 256));
    assert_eq!(finding.place.thread, [4, 0, 0]);
    let text = finding.to_string();
    assert!(
        text.contains("never written") && text.contains("256 bytes into the 1024 bytes"),
        "{text}"
    );
}

#[test]
fn what_kernels_and_the_host_write_is_not_uninitialized() {
    clean("ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1+240];", 1);
    clean(
        "st.global.u32 [%rd1+512], %r1; ld.global.u32 %r2, [%rd1+512]; st.global.u8 [%rd1+700], %r1; ld.u8 %r2, [%rd1+700];",
        1,
    );
    // Of what is loaded the rest is padding, as the compiler says.
    clean(
        "st.global.u8 [%rd1+512], %r1; st.global.u16 [%rd1+516], %r1; .pragma \"used_bytes_mask 0x31\"; ld.global.v4.u16 {%r2, %r3, %r4, %r5}, [%rd1+512];",
        1,
    );
    let found = watch(
        "st.global.u8 [%rd1+512], %r1; .pragma \"used_bytes_mask 49\"; ld.global.v4.u16 {%r2, %r3, %r4, %r5}, [%rd1+512]; .pragma \"used_bytes_mask 1\"; ld.global.u16 %r2, [%rd1+514]; ld.global.u16 %r2, [%rd1+516];",
        1,
    );
    let addresses: Vec<_> = found.iter().map(|finding| finding.address - BASE).collect();
    assert_eq!(
        addresses,
        [516, 514, 516],
        "used ones, and one of which nothing is said"
    );
    // A structure is copied with the padding behind its fields.
    clean(
        "st.global.u8 [%rd1+512], %r1; ld.global.nc.u64 %rd2, [%rd1+512]; st.shared.u8 [%r10], %r1; ld.shared.u64 %rd2, [%r10];",
        1,
    );
    for behind in [
        "st.global.u8 [%rd1+513], %r1; ld.global.u16 %r2, [%rd1+512];",
        "st.global.u8 [%rd1+512], %r1; ld.global.v2.u32 {%r2, %r3}, [%rd1+512];",
        "st.shared.u8 [%r10+3], %r1; ld.shared.u32 %r2, [%r10];",
    ] {
        assert_eq!(watch(behind, 1).len(), 1, "{behind}");
    }
    let found = watch(
        "atom.global.add.u32 %r2, [%rd1+512], 1; ld.global.u32 %r3, [%rd1+512];",
        1,
    );
    assert_eq!(found.len(), 1, "the atomic operation reads, then writes");
}

#[test]
fn a_read_of_shared_memory_that_nobody_wrote_is_found() {
    let found = watch("ld.shared.u32 %r2, [tile+64];", 1);
    assert_eq!(
        (found.len(), found[0].address, found[0].space),
        (1, 64, "shared")
    );
    clean("st.shared.u32 [%r9], %r1; ld.shared.u32 %r2, [%r9];", 64);
}

#[test]
fn accesses_of_two_warps_without_a_barrier_race() {
    let body = "st.shared.u32 [%r9], %r1; SYNC xor.b32 %r2, %r1, 32; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r10; ld.shared.u32 %r3, [%r2];";
    clean(&body.replace("SYNC", "bar.sync 0;"), 64);
    let found = watch(&body.replace("SYNC", ""), 64);
    // The second warp stores what the first has read, and reads what the first has stored.
    assert_eq!(races(&found), 2, "{found:?}");
    let race = found.last().unwrap();
    assert_eq!((race.place.thread, race.threads), ([32, 0, 0], 32));
    let text = race.to_string();
    assert!(
        text.contains("races with the store by thread (0,0,0)"),
        "{text}"
    );
}

#[test]
fn a_write_after_a_read_without_a_barrier_races() {
    let body = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; ld.shared.u32 %r2, [tile]; SYNC bra E;
        A: SYNC st.shared.u32 [tile], %r1; E:";
    assert_eq!(races(&watch(&body.replace("SYNC", "bar.sync 1;"), 64)), 0);
    assert_eq!(races(&watch(&body.replace("SYNC", ""), 64)), 1);
}

#[test]
fn lanes_of_a_warp_are_ordered_by_warp_barriers_and_shuffles() {
    let body = "st.shared.u32 [%r9], %r1; SYNC xor.b32 %r2, %r1, 1; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r10; ld.shared.u32 %r3, [%r2];";
    clean(&body.replace("SYNC", "bar.warp.sync -1;"), 32);
    clean(
        &body.replace("SYNC", "shfl.sync.idx.b32 %r4, %r1, 0, 31, -1;"),
        32,
    );
    assert_eq!(races(&watch(&body.replace("SYNC", ""), 32)), 1);
}

#[test]
fn a_barrier_of_other_warps_orders_nothing() {
    // Warps 0 and 1 meet at barrier 1, warp 2 stays away and reads what warp 0 wrote.
    let body = "setp.ge.u32 %p1, %r1, 64; @%p1 bra READ; st.shared.u32 [%r9], %r1; bar.sync 1, 64;
        xor.b32 %r2, %r1, 32; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r10; ld.shared.u32 %r3, [%r2]; bra E;
        READ: ld.shared.u32 %r4, [tile]; E:";
    let found = watch(body, 96);
    assert!(races(&found) >= 1);
    for finding in &found {
        let other = match &finding.mistake {
            Mistake::Race { other, .. } => other.thread[0],
            _ => continue,
        };
        assert!(finding.place.thread[0] >= 64 || other >= 64, "{finding}");
    }
}

#[test]
fn atomics_and_locks_do_not_race() {
    clean(
        "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [tile], 0; bar.sync 0; atom.shared.add.u32 %r2, [tile], 1; bar.sync 0; ld.shared.u32 %r3, [tile];",
        96,
    );
    // Lane 0 of each warp adds under a lock.
    clean(
        "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.v2.u32 [tile], {%r1, %r1}; bar.sync 0;
         and.b32 %r2, %r1, 31; setp.ne.u32 %p1, %r2, 0; @%p1 bra E;
         L: atom.shared.cas.b32 %r3, [tile], 0, 1; setp.ne.u32 %p2, %r3, 0; @%p2 bra L;
         ld.shared.u32 %r4, [tile+4]; add.u32 %r4, %r4, 1; st.shared.u32 [tile+4], %r4;
         membar.cta; atom.shared.exch.b32 %r3, [tile], 0; E:",
        96,
    );
    // A plain store to what others add to.
    let found = watch(
        "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [tile], 0; atom.shared.add.u32 %r2, [tile], 1;",
        96,
    );
    assert!(races(&found) >= 1);
}

#[test]
fn barriers_in_a_loop_keep_tiles_apart() {
    let body = "mov.u32 %r2, 0; L: st.shared.u32 [%r9], %r1; bar.sync 0;
        xor.b32 %r3, %r1, 33; shl.b32 %r3, %r3, 2; add.u32 %r3, %r3, %r10; ld.shared.u32 %r4, [%r3]; SYNC
        add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 5; @%p1 bra L;";
    clean(&body.replace("SYNC", "bar.sync 0;"), 128);
    assert!(races(&watch(&body.replace("SYNC", ""), 128)) > 0);
}

#[test]
fn threads_that_exit_complete_barriers_too() {
    let body = "setp.ge.u32 %p1, %r1, 64; @%p1 bra LATE; st.shared.u32 [%r9], %r1; bar.sync 0;
        xor.b32 %r2, %r1, 32; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r10; ld.shared.u32 %r3, [%r2]; bra E; LATE: exit; E:";
    clean(body, 96);
}

#[test]
fn blocks_that_write_one_word_race_and_are_both_named() {
    let found = watch_grid("mov.u32 %r2, %ctaid.x; st.global.u32 [%rd1+64], %r2;", 2, 1);
    assert_eq!(races(&found), 1, "{found:?}");
    let Mistake::Race { other, access } = &found[0].mistake else {
        panic!("{found:?}");
    };
    let blocks = [found[0].place.block[0], other.block[0]];
    assert!(blocks == [0, 1] || blocks == [1, 0], "{blocks:?}");
    assert_eq!((*access, found[0].space), ("store", "global"));
    assert_eq!(found[0].address, BASE + 64);
    let text = found[0].to_string();
    let named = format!(
        "races with the store by thread (0,0,0) of block ({},0,0)",
        blocks[1]
    );
    assert!(text.contains(&named), "{text}");
}

#[test]
fn a_block_that_reads_what_another_one_writes_races() {
    let body = format!(
        "{EACH} st.global.u32 [%rd2], %r3; xor.b32 %r3, %r3, 32; mul.wide.u32 %rd3, %r3, 4; add.u64 %rd3, %rd1, %rd3; ld.global.u32 %r4, [%rd3];"
    );
    // Between the blocks, and not between those of the same words.
    assert!(races(&watch_grid(&body, 2, 32)) > 0);
    clean_grid(
        &body.replace("xor.b32 %r3, %r3, 32", "xor.b32 %r3, %r3, 0"),
        2,
        32,
    );
}

#[test]
fn neighbours_do_not_race() {
    clean_grid(
        &format!("{EACH} st.global.u32 [%rd2], %r3; ld.global.u32 %r4, [%rd2];"),
        4,
        48,
    );
    // Bytes, words that are not aligned to 4 bytes, and words of the same page.
    let bytes = "mov.u32 %r2, %ctaid.x; mad.lo.u32 %r2, %r2, 32, %r1; cvt.u64.u32 %rd2, %r2; add.u64 %rd2, %rd1, %rd2; st.global.u8 [%rd2], %r1; ld.global.u8 %r4, [%rd2];";
    clean_grid(bytes, 4, 32);
    let halves = format!(
        "{EACH} st.global.u16 [%rd2], %r1; st.global.u16 [%rd2+2], %r1; ld.global.u32 %r4, [%rd2];"
    );
    clean_grid(&halves, 4, 32);
    let found = watch_grid(
        &bytes.replace("ld.global.u8 %r4, [%rd2]", "ld.global.u8 %r4, [%rd2+32]"),
        2,
        32,
    );
    assert_eq!(races(&found), 1, "{found:?}");
}

#[test]
fn barriers_order_accesses_to_global_memory_within_a_block() {
    let body = format!(
        "{EACH} st.global.u32 [%rd2], %r3; SYNC xor.b32 %r3, %r3, 32; mul.wide.u32 %rd3, %r3, 4; add.u64 %rd3, %rd1, %rd3; ld.global.u32 %r4, [%rd3];"
    );
    clean_grid(&body.replace("SYNC", "bar.sync 0;"), 3, 64);
    assert!(races(&watch_grid(&body.replace("SYNC", ""), 1, 64)) > 0);
    // Lanes of a warp.
    let lanes = body.replace("%r3, 32;", "%r3, 1;");
    clean_grid(&lanes.replace("SYNC", "bar.warp.sync -1;"), 3, 32);
    assert!(races(&watch_grid(&lanes.replace("SYNC", ""), 1, 32)) > 0);
}

#[test]
fn atomic_operations_of_blocks_race_with_plain_accesses_alone() {
    clean_grid(
        "atom.global.add.u32 %r2, [%rd1], 1; red.global.max.u32 [%rd1+4], %r2;",
        4,
        64,
    );
    clean_grid(
        "st.volatile.global.u32 [%rd1], %r1; ld.volatile.global.u32 %r2, [%rd1];",
        4,
        64,
    );
    clean_grid(
        "ld.global.u32 %r2, [%rd1]; L: mov.u32 %r3, %r2; add.u32 %r4, %r3, 3; atom.global.cas.b32 %r2, [%rd1], %r3, %r4; setp.ne.u32 %p1, %r2, %r3; @%p1 bra L;",
        4,
        64,
    );
    let found = watch_grid(
        "atom.global.add.u32 %r2, [%rd1], 1; st.global.u32 [%rd1], 0;",
        4,
        1,
    );
    assert!(races(&found) > 0);
}

#[test]
fn the_last_block_may_read_what_all_have_written_before_they_counted() {
    // Each block stores its part and counts, from what `watch` writes everywhere on.
    let body = "mov.u32 %r2, %ctaid.x; mul.wide.u32 %rd2, %r2, 4; add.u64 %rd2, %rd1, %rd2;
        st.global.u32 [%rd2+64], %r2; COUNT mov.u32 %r4, %nctaid.x; sub.u32 %r3, %r3, %r4; setp.ne.u32 %p1, %r3, 0x07070706; @%p1 bra E;
        mov.u32 %r5, 0; L: mul.wide.u32 %rd2, %r5, 4; add.u64 %rd2, %rd1, %rd2; ld.global.u32 %r6, [%rd2+64];
        add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, %r4; @%p1 bra L; st.global.u32 [%rd1+64], 0; E:";
    for blocks in [2, 20, 200] {
        let count = "membar.gl; atom.global.add.u32 %r3, [%rd1], 1;";
        clean_grid(&body.replace("COUNT", count), blocks, 1);
    }
    // If it only looks at its own number, it may be too early.
    let guess = "add.u32 %r3, %r2, 0x07070707;";
    assert!(races(&watch_grid(&body.replace("COUNT", guess), 20, 1)) > 0);
}

#[test]
fn a_flag_that_is_polled_passes_data_from_block_to_block() {
    // The value of the flag before is what `watch` writes everywhere.
    let body = "mov.u32 %r2, %ctaid.x; setp.ne.u32 %p1, %r2, 0; @%p1 bra READ;
        st.global.u32 [%rd1+300], 5; membar.gl; STORE [%rd1], 1; bra E;
        READ: LOAD %r3, [%rd1]; setp.ne.u32 %p1, %r3, 1; @%p1 bra READ; membar.gl; ld.global.u32 %r4, [%rd1+300]; E:";
    let volatile = body
        .replace("STORE", "st.volatile.global.u32")
        .replace("LOAD", "ld.volatile.global.u32");
    let acquire = body
        .replace("STORE", "st.release.gpu.global.u32")
        .replace("LOAD", "ld.acquire.gpu.global.u32");
    for _ in 0..20 {
        clean_grid(&volatile, 3, 1);
        clean_grid(&acquire, 3, 1);
    }
    let found = watch_grid(
        &body
            .replace("STORE", "st.global.u32")
            .replace("LOAD", "ld.volatile.global.u32"),
        2,
        1,
    );
    assert!(races(&found) > 0);
}

#[test]
fn a_barrier_of_all_blocks_orders_what_they_do() {
    // Each block counts up once a round, and waits until all have.
    let body = "mov.u32 %r2, %ctaid.x; mov.u32 %r6, %nctaid.x; mov.u32 %r7, 0x07070707;
        ROUND: mul.wide.u32 %rd2, %r2, 4; add.u64 %rd2, %rd1, %rd2; st.global.u32 [%rd2+256], %r7;
        SYNC add.u32 %r2, %r2, 1; rem.u32 %r2, %r2, %r6;
        add.u32 %r8, %r8, 1; setp.lt.u32 %p2, %r8, 4; @%p2 bra ROUND;";
    let sync = "bar.sync 0; setp.ne.u32 %p1, %r1, 0; @%p1 bra OVER; membar.gl; atom.global.add.u32 %r3, [%rd1], 1; add.u32 %r7, %r7, %r6;
        WAIT: ld.volatile.global.u32 %r3, [%rd1]; setp.lt.u32 %p1, %r3, %r7; @%p1 bra WAIT; membar.gl; OVER: bar.sync 0;";
    let body = format!("mov.u32 %r8, 0; {body}");
    for blocks in [2, 7, 150] {
        clean_grid(&body.replace("SYNC", sync), blocks, 1);
    }
    assert!(races(&watch_grid(&body.replace("SYNC", ""), 7, 1)) > 0);
}
