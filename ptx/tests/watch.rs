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
        grid: [1; 3],
        block: [threads, 1, 1],
        dynamic_shared: 0,
        params: &BASE.to_le_bytes(),
        cooperative: false,
    };
    let found = Found::default();
    let limits = Limits {
        findings: Some(&found),
        ..Limits::default()
    };
    Engine::new(1)
        .run(&space, &kernel, &launch, &limits)
        .unwrap();
    found.0.into_inner().unwrap()
}

fn races(found: &[Finding]) -> usize {
    let race = |f: &&Finding| matches!(f.mistake, Mistake::Race { .. });
    found.iter().filter(race).count()
}

fn clean(body: &str, threads: u32) {
    let found = watch(body, threads);
    assert!(found.is_empty(), "{body}: {}", found[0]);
}

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
    let found = watch(
        "st.global.u8 [%rd1+512], %r1; ld.global.u16 %r2, [%rd1+512];",
        1,
    );
    assert_eq!(found.len(), 1, "one of the two bytes was not written");
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
