// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of capture, without a device: on tables of their own.

use super::*;

const THREAD: u32 = 7;

fn stream(id: u32, flags: u32) -> StreamEntry {
    StreamEntry {
        stream: Stream { device: 0, id },
        ordinal: 0,
        flags,
        priority: 0,
    }
}

fn side(id: u32) -> StreamEntry {
    stream(id, NON_BLOCKING)
}

/// A capture that has begun in stream 1.
fn begun(mode: Mode) -> Graphs {
    let mut graphs = Graphs::new();
    graphs.begin(&side(1), mode, THREAD, None).unwrap();
    graphs
}

fn work(graphs: &mut Graphs, stream: &StreamEntry) -> Result<()> {
    graphs.capture(stream.stream, |graphs, graph, last| {
        graphs.add(graph, last, Operation::Empty)
    })
}

fn record(graphs: &mut Graphs, event: u64, stream: &StreamEntry) {
    let member = graphs.captures.of_valid(stream.stream).unwrap();
    let recorded = Recorded {
        capture: member.capture,
        nodes: member.last.clone(),
    };
    graphs.captures.events.insert(event, recorded);
}

fn end(graphs: &mut Graphs, stream: &StreamEntry) -> Result<u64> {
    graphs.end(stream.stream, THREAD)
}

#[test]
fn work_of_a_stream_comes_one_behind_the_other() {
    let mut graphs = begun(Mode::Global);
    for _ in 0..3 {
        work(&mut graphs, &side(1)).unwrap();
    }
    let graph = end(&mut graphs, &side(1)).unwrap();
    let nodes = &graphs.graph(graph).unwrap().nodes;
    assert_eq!((nodes.len(), nodes.edges().len()), (3, 2));
    assert_eq!(nodes.roots().len(), 1);
    assert_eq!(graphs.captures.of(side(1).stream), None);
}

#[test]
fn a_fork_that_is_joined_makes_branches() {
    let mut graphs = begun(Mode::Global);
    work(&mut graphs, &side(1)).unwrap();
    record(&mut graphs, 100, &side(1));
    assert_eq!(graphs.captures.wait(&side(2), 100), Ok(true));
    work(&mut graphs, &side(1)).unwrap();
    work(&mut graphs, &side(2)).unwrap();
    record(&mut graphs, 101, &side(2));
    assert_eq!(graphs.captures.wait(&side(1), 101), Ok(true));
    work(&mut graphs, &side(1)).unwrap();
    let graph = end(&mut graphs, &side(1)).unwrap();
    let nodes = &graphs.graph(graph).unwrap().nodes;
    assert_eq!((nodes.len(), nodes.edges().len()), (4, 4));
}

#[test]
fn a_fork_that_is_not_joined_ends_in_an_error_and_no_graph() {
    let mut graphs = begun(Mode::Global);
    record(&mut graphs, 100, &side(1));
    graphs.captures.wait(&side(2), 100).unwrap();
    work(&mut graphs, &side(2)).unwrap();
    let unjoined = Err(error::STREAM_CAPTURE_UNJOINED);
    assert_eq!(end(&mut graphs, &side(1)), unjoined);
    assert_eq!(graphs.captures.of(side(2).stream), None);
    assert_eq!(end(&mut graphs, &side(1)), Err(error::ILLEGAL_STATE));
}

#[test]
fn a_fork_without_work_need_not_be_joined() {
    let mut graphs = begun(Mode::Global);
    work(&mut graphs, &side(1)).unwrap();
    record(&mut graphs, 100, &side(1));
    graphs.captures.wait(&side(2), 100).unwrap();
    assert!(end(&mut graphs, &side(1)).is_ok());
}

#[test]
fn captures_cannot_be_merged() {
    let mut graphs = begun(Mode::Global);
    let other = side(5);
    graphs.begin(&other, Mode::Global, THREAD, None).unwrap();
    record(&mut graphs, 100, &side(1));
    let merge = Err(error::STREAM_CAPTURE_MERGE);
    assert_eq!(graphs.captures.wait(&other, 100), merge);
    let invalidated = Err(error::STREAM_CAPTURE_INVALIDATED);
    assert_eq!(end(&mut graphs, &other), invalidated);
    assert_eq!(end(&mut graphs, &side(1)), invalidated);
}

#[test]
fn a_capture_does_not_wait_for_what_is_not_captured() {
    let mut graphs = begun(Mode::Global);
    let isolation = Err(error::STREAM_CAPTURE_ISOLATION);
    assert_eq!(graphs.captures.wait(&side(1), 100), isolation);
    let invalidated = Err(error::STREAM_CAPTURE_INVALIDATED);
    assert_eq!(
        work(&mut graphs, &side(1)),
        Err(error::STREAM_CAPTURE_INVALIDATED)
    );
    assert_eq!(end(&mut graphs, &side(1)), invalidated);
}

#[test]
fn an_event_of_a_capture_that_has_ended_cannot_be_waited_for() {
    let mut graphs = begun(Mode::Global);
    record(&mut graphs, 100, &side(1));
    end(&mut graphs, &side(1)).unwrap();
    let captured = Err(error::CAPTURED_EVENT);
    assert_eq!(graphs.captures.wait(&side(2), 100), captured);
}

#[test]
fn what_cannot_be_captured_invalidates() {
    let mut graphs = begun(Mode::Global);
    let stream = side(1).stream;
    assert_eq!(graphs.captures.takes_in(stream, true), Ok(true));
    let unsupported = Err(error::STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(graphs.captures.takes_in(stream, false), unsupported);
    let invalidated = Err(error::STREAM_CAPTURE_INVALIDATED);
    assert_eq!(graphs.captures.takes_in(stream, true), invalidated);
    assert_eq!(graphs.captures.takes_in(side(2).stream, false), Ok(false));
}

#[test]
fn the_default_stream_cannot_be_used_beside_a_capture_that_it_waits_for() {
    let legacy = stream(Stream::LEGACY, 0).stream;
    let mut graphs = begun(Mode::Global);
    assert_eq!(graphs.captures.takes_in(legacy, true), Ok(false));
    let blocking = stream(4, 0);
    graphs.begin(&blocking, Mode::Global, THREAD, None).unwrap();
    let implicit = Err(error::STREAM_CAPTURE_IMPLICIT);
    assert_eq!(graphs.captures.takes_in(legacy, true), implicit);
    let invalidated = Err(error::STREAM_CAPTURE_INVALIDATED);
    assert_eq!(end(&mut graphs, &blocking), invalidated);
    assert!(end(&mut graphs, &side(1)).is_ok());
}

#[test]
fn the_default_stream_cannot_be_captured() {
    let mut graphs = Graphs::new();
    let legacy = stream(Stream::LEGACY, 0);
    let outcome = graphs.begin(&legacy, Mode::Relaxed, THREAD, None);
    assert_eq!(outcome, Err(error::STREAM_CAPTURE_UNSUPPORTED));
}

#[test]
fn a_capture_ends_where_it_began() {
    let mut graphs = begun(Mode::Global);
    record(&mut graphs, 100, &side(1));
    graphs.captures.wait(&side(2), 100).unwrap();
    let unmatched = Err(error::STREAM_CAPTURE_UNMATCHED);
    assert_eq!(end(&mut graphs, &side(2)), unmatched);
    assert_eq!(end(&mut graphs, &side(3)), Err(error::ILLEGAL_STATE));
}

#[test]
fn only_a_relaxed_capture_may_end_in_another_thread() {
    let other = |mode| begun(mode).end(side(1).stream, THREAD + 1).map(drop);
    let wrong = Err(error::STREAM_CAPTURE_WRONG_THREAD);
    assert_eq!(other(Mode::Global), wrong);
    assert_eq!(other(Mode::ThreadLocal), wrong);
    assert_eq!(other(Mode::Relaxed), Ok(()));
}

#[test]
fn modes_say_whom_a_capture_keeps_from_unsafe_calls() {
    use Mode::{Global, Relaxed, ThreadLocal};
    let refused = |capture, thread, mode| begun(capture).captures.refuse_unsafe(thread, mode);
    let own = |capture, mode| refused(capture, THREAD, mode);
    let other = |capture, mode| refused(capture, THREAD + 1, mode);
    for mode in [Global, ThreadLocal] {
        assert!(own(Global, mode) && own(ThreadLocal, mode));
        assert!(!own(Relaxed, mode));
    }
    assert!(other(Global, Global));
    assert!(!other(Global, ThreadLocal));
    assert!(!other(ThreadLocal, Global));
    for capture in [Global, ThreadLocal, Relaxed] {
        assert!(!own(capture, Relaxed) && !other(capture, Relaxed));
    }
}

#[test]
fn a_capture_into_a_graph_goes_on_behind_its_nodes() {
    let mut graphs = Graphs::new();
    let graph = graphs.create();
    let first = graphs.add(graph, BTreeSet::new(), Operation::Empty);
    let first = BTreeSet::from([first.unwrap()]);
    let into = Some((graph, first.clone()));
    graphs.begin(&side(1), Mode::Global, THREAD, into).unwrap();
    work(&mut graphs, &side(1)).unwrap();
    assert_eq!(end(&mut graphs, &side(1)), Ok(graph));
    assert_eq!(graphs.graph(graph).unwrap().nodes.edges().len(), 1);

    let stranger = Some((graph, BTreeSet::from([1])));
    let outcome = graphs.begin(&side(1), Mode::Global, THREAD, stranger);
    assert_eq!(outcome, Err(error::INVALID_VALUE));
}

#[test]
fn a_graph_that_the_program_destroys_while_it_is_captured_is_an_error() {
    let mut graphs = begun(Mode::Global);
    let graph = graphs.captures.by_id[&1].graph;
    graphs.destroy(graph).unwrap();
    assert!(work(&mut graphs, &side(1)).is_err());
    let invalidated = Err(error::STREAM_CAPTURE_INVALIDATED);
    assert_eq!(end(&mut graphs, &side(1)), invalidated);
}
