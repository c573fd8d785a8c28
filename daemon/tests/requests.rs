// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a driver may ask of the device, and how everything else is refused. The virtqueue is a mock one in memory of this
//! process; the workers are processes that never answer, or that cannot be started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vcuda_daemon::Launcher;
use vcuda_daemon::chain::Chain;
use vcuda_daemon::device::{Device, EventQueue, Events};
use vcuda_daemon::queue::{Order, Used};
use vcuda_daemon::wire::{self, EVENT_LEN, Request, Status};
use vcuda_protocol::layout::CONTROL_LEN;
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

const WRITE: u16 = 2;
const LEN: usize = 64 << 20;
const PAGE: u64 = 4096;
/// Where requests, what they bring along, and responses lie in the guest's memory.
const REQUEST: u64 = 0x10_0000;
const BROUGHT: u64 = 0x11_0000;
const RESPONSE: u64 = 0x30_0000;
const ASKED: u64 = 0x31_0000;
/// Memory that is nothing else.
const PAGES: u64 = 0x100_0000;

#[derive(Default)]
struct Given(Mutex<Vec<(u16, u32)>>);

impl Used for Given {
    fn generation(&self) -> u32 {
        0
    }
    fn give_back(&self, head: u16, len: u32) {
        self.0.lock().push((head, len));
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<[u8; EVENT_LEN]>>>);

impl EventQueue for Told {
    fn push(&self, event: &[u8; EVENT_LEN]) -> bool {
        self.0.lock().push(*event);
        true
    }
}

struct Driver {
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    device: Device,
    events: Told,
}

/// What came back: status, session, value, and how many bytes were said to be written.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u32,
    session: u32,
    value: u64,
    written: u32,
}

fn driver_with(command: &str, max_sessions: u32) -> Driver {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), LEN)]).unwrap();
    let events = Told::default();
    let launcher = Launcher {
        command: command.into(),
        arguments: vec!["-c".into(), "exec sleep 60".into()],
    };
    Driver {
        memory: GuestMemoryAtomic::new(memory),
        device: Device::new(
            4,
            max_sessions,
            Arc::new(launcher),
            Events::new(Box::new(events.clone())),
        ),
        events,
    }
}

fn driver() -> Driver {
    driver_with("/bin/sh", 8)
}

impl Driver {
    /// Gives a chain to the device. `None`: it has kept it.
    fn send(&self, queue: usize, descriptors: &[(u64, u32, u16)]) -> Option<Answer> {
        let memory = self.memory.memory();
        memory
            .write_slice(&[0xff; 16], GuestAddress(RESPONSE))
            .unwrap();
        let mock = MockSplitQueue::new(&*memory, 16);
        let raw: Vec<RawDescriptor> = descriptors
            .iter()
            .map(|&(address, len, flags)| Descriptor::new(address, len, flags, 0).into())
            .collect();
        let chain = Chain::new(mock.build_desc_chain(&raw).unwrap());
        let given = Arc::<Given>::default();
        if let Some(order) = Order::take(given.clone(), 7, memory.clone(), chain) {
            match queue {
                wire::QUEUE_CONTROL => self.device.control(order),
                _ => self.device.transfer(order),
            }
        }
        let given = given.0.lock().clone();
        assert!(given.len() <= 1, "given back more than once: {given:?}");
        let &(head, written) = given.first()?;
        assert_eq!(head, 7);
        let mut bytes = [0; 16];
        memory
            .read_slice(&mut bytes, GuestAddress(RESPONSE))
            .unwrap();
        Some(Answer {
            status: u32::from_le_bytes(bytes[..4].try_into().unwrap()),
            session: u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
            value: u64::from_le_bytes(bytes[8..].try_into().unwrap()),
            written,
        })
    }

    fn put(&self, request: Request) {
        let memory = self.memory.memory();
        let bytes = request.to_bytes();
        memory.write_slice(&bytes, GuestAddress(REQUEST)).unwrap();
    }

    fn request(&self, request: Request) -> Option<Answer> {
        self.put(request);
        self.send(0, &[(REQUEST, 48, 0), (RESPONSE, 16, WRITE)])
    }

    fn status(&self, request: Request) -> u32 {
        self.request(request).expect("an answer").status
    }

    fn open(&self) -> u32 {
        let answer = self.request(op(wire::OP_SESSION_OPEN, 0)).unwrap();
        assert_eq!(answer.status, Status::Ok as u32);
        answer.session
    }

    /// MEMORY_ADD with a table of segments.
    fn add(&self, request: Request, table: &[(u64, u64)]) -> Option<Answer> {
        let bytes: Vec<u8> = table
            .iter()
            .flat_map(|(address, len)| [address.to_le_bytes(), len.to_le_bytes()].concat())
            .collect();
        self.add_bytes(request, &bytes)
    }

    fn add_bytes(&self, request: Request, table: &[u8]) -> Option<Answer> {
        self.put(request);
        let memory = self.memory.memory();
        memory.write_slice(table, GuestAddress(BROUGHT)).unwrap();
        let mut chain = vec![(REQUEST, 48, 0)];
        if !table.is_empty() {
            chain.push((BROUGHT, table.len() as u32, 0));
        }
        chain.push((RESPONSE, 16, WRITE));
        self.send(0, &chain)
    }

    /// A session with its control memory in one segment.
    fn with_control(&self) -> u32 {
        let session = self.open();
        let request = memory(session, 1, wire::MEMORY_CONTROL, CONTROL_LEN as u64);
        // The worker, which never answers, has it now.
        assert_eq!(self.add(request, &[(PAGES, CONTROL_LEN as u64)]), None);
        session
    }

    fn transfer(&self, request: Request, len: u32) -> Option<Answer> {
        self.put(request);
        match request.kind {
            wire::FROM_DEVICE => self.send(
                2,
                &[(REQUEST, 48, 0), (RESPONSE, 16, WRITE), (ASKED, len, WRITE)],
            ),
            _ => self.send(
                2,
                &[(REQUEST, 48, 0), (BROUGHT, len, 0), (RESPONSE, 16, WRITE)],
            ),
        }
    }
}

fn op(op: u32, session: u32) -> Request {
    Request {
        op,
        session,
        ..Default::default()
    }
}

fn memory(session: u32, id: u64, kind: u32, len: u64) -> Request {
    Request {
        op: wire::OP_MEMORY_ADD,
        session,
        kind,
        id,
        len,
        ..Default::default()
    }
}

fn transfer(session: u32, id: u64, kind: u32, offset: u64, len: u64) -> Request {
    Request {
        op: wire::OP_TRANSFER,
        session,
        kind,
        id,
        offset,
        len,
        ..Default::default()
    }
}

const INVALID: u32 = Status::Invalid as u32;

#[test]
fn hello_tells_what_the_configuration_space_tells() {
    let driver = driver();
    driver.put(op(wire::OP_HELLO, 0));
    let chain = [(REQUEST, 48, 0), (RESPONSE, 16, WRITE), (ASKED, 32, WRITE)];
    let answer = driver.send(0, &chain).unwrap();
    assert_eq!((answer.status, answer.written), (0, 48));
    let mut config = [0; 32];
    let guest = driver.memory.memory();
    guest.read_slice(&mut config, GuestAddress(ASKED)).unwrap();
    assert_eq!(config, wire::config(4));
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    let driver = driver();
    driver.put(op(wire::OP_HELLO, 0));
    let chain = [(REQUEST, 48, 0), (RESPONSE, 16, WRITE), (ASKED, 31, WRITE)];
    let answer = driver.send(0, &chain).unwrap();
    assert_eq!((answer.status, answer.written), (INVALID, 16));
}

#[test]
fn an_operation_that_there_is_not_is_refused() {
    let driver = driver();
    let session = driver.open();
    for number in [0, 9, u32::MAX] {
        assert_eq!(driver.status(op(number, session)), INVALID, "{number}");
    }
}

#[test]
fn operations_are_refused_on_the_other_queue() {
    let driver = driver();
    let session = driver.open();
    let request = transfer(session, 1, wire::TO_DEVICE, 0, 16);
    assert_eq!(driver.status(request), INVALID);
    driver.put(op(wire::OP_SESSION_CLOSE, session));
    let chain = [(REQUEST, 48, 0), (RESPONSE, 16, WRITE)];
    assert_eq!(driver.send(2, &chain).unwrap().status, INVALID);
}

#[test]
fn a_chain_that_is_refused_is_given_back_once() {
    let driver = driver();
    // No room for a response, no request, memory that is none, the wrong order.
    let empty = Answer {
        status: u32::MAX,
        session: u32::MAX,
        value: u64::MAX,
        written: 0,
    };
    assert_eq!(driver.send(0, &[(REQUEST, 48, 0)]), Some(empty));
    let short = [(REQUEST, 47, 0), (RESPONSE, 16, WRITE)];
    assert_eq!(driver.send(0, &short).unwrap().status, INVALID);
    let nowhere = [
        (REQUEST, 48, 0),
        (RESPONSE, 16, WRITE),
        (LEN as u64, 8, WRITE),
    ];
    assert_eq!(driver.send(0, &nowhere).unwrap().status, INVALID);
    let order = [(RESPONSE, 16, WRITE), (REQUEST, 48, 0)];
    assert_eq!(driver.send(0, &order).unwrap().status, INVALID);
}

#[test]
fn requests_for_a_session_that_there_is_not_say_so() {
    let driver = driver();
    for number in [
        wire::OP_SESSION_CLOSE,
        wire::OP_START,
        wire::OP_KICK,
        wire::OP_MEMORY_ADD,
        wire::OP_MEMORY_REMOVE,
    ] {
        for session in [0, 1, u32::MAX] {
            assert_eq!(driver.status(op(number, session)), Status::NoSession as u32);
        }
    }
    let answer = driver.transfer(transfer(5, 1, wire::TO_DEVICE, 0, 16), 16);
    assert_eq!(answer.unwrap().status, Status::NoSession as u32);
}

#[test]
fn sessions_have_numbers_of_their_own_and_a_limit() {
    let driver = driver_with("/bin/sh", 2);
    let (one, two) = (driver.open(), driver.open());
    assert_ne!(one, two);
    let refused = driver.status(op(wire::OP_SESSION_OPEN, 0));
    assert_eq!(refused, Status::NoMemory as u32);
    assert_eq!(driver.status(op(wire::OP_SESSION_CLOSE, one)), 0);
    let closed_twice = driver.status(op(wire::OP_SESSION_CLOSE, one));
    assert_eq!(closed_twice, Status::NoSession as u32);
    assert_ne!(driver.open(), two);
}

#[test]
fn a_session_is_not_started_or_woken_without_its_control_memory() {
    let driver = driver();
    let session = driver.open();
    assert_eq!(driver.status(op(wire::OP_START, session)), INVALID);
    assert_eq!(driver.status(op(wire::OP_KICK, session)), INVALID);
    let session = driver.with_control();
    assert_eq!(driver.status(op(wire::OP_KICK, session)), 0);
}

#[test]
fn a_greeting_that_is_too_long_is_refused() {
    let driver = driver();
    let session = driver.with_control();
    driver.put(op(wire::OP_START, session));
    let chain = [
        (REQUEST, 48, 0),
        (BROUGHT, wire::MAX_GREETING as u32 + 1, 0),
        (RESPONSE, 16, WRITE),
    ];
    assert_eq!(driver.send(0, &chain).unwrap().status, INVALID);
}

#[test]
fn memory_that_is_not_described_well_is_refused() {
    let driver = driver();
    let session = driver.open();
    let window = |len| memory(session, 5, wire::MEMORY_WINDOW, len);
    let status = |request, table: &[(u64, u64)]| driver.add(request, table).unwrap().status;
    assert_eq!(
        status(memory(session, 5, 9, PAGE), &[(PAGES, PAGE)]),
        INVALID,
        "kind"
    );
    assert_eq!(status(window(0), &[(PAGES, PAGE)]), INVALID, "no length");
    assert_eq!(
        status(window(PAGE + 1), &[(PAGES, PAGE)]),
        INVALID,
        "half a page"
    );
    assert_eq!(status(window(PAGE), &[]), INVALID, "no segments");
    assert_eq!(
        status(window(PAGE), &[(PAGES, 0)]),
        INVALID,
        "an empty segment"
    );
    assert_eq!(
        status(window(PAGE), &[(PAGES + 1, PAGE)]),
        INVALID,
        "not aligned"
    );
    assert_eq!(status(window(PAGE), &[(PAGES, 100)]), INVALID, "not pages");
    assert_eq!(
        status(window(PAGE), &[(LEN as u64, PAGE)]),
        INVALID,
        "not memory"
    );
    assert_eq!(
        status(window(PAGE), &[(!0 << 12, PAGE)]),
        INVALID,
        "the end"
    );
    assert_eq!(status(window(PAGE), &[(PAGES, !0 << 12)]), INVALID, "huge");
    assert_eq!(
        status(window(PAGE), &[(PAGES, 2 * PAGE)]),
        INVALID,
        "too much"
    );
    let odd = driver.add_bytes(window(PAGE), &[0; 17]).unwrap().status;
    assert_eq!(odd, INVALID, "half a segment");
    let many = vec![(PAGES, PAGE); wire::MAX_SEGMENTS + 1];
    assert_eq!(
        status(window(many.len() as u64 * PAGE), &many),
        INVALID,
        "too many"
    );
    let control = memory(session, 5, wire::MEMORY_CONTROL, PAGE);
    assert_eq!(
        status(control, &[(PAGES, PAGE)]),
        INVALID,
        "control of another size"
    );
    // After all that, the number is still free.
    assert_eq!(driver.add(window(PAGE), &[(PAGES, PAGE)]), None);
}

#[test]
fn the_parts_of_a_memory_come_in_order() {
    let driver = driver();
    let session = driver.open();
    let part = |offset| Request {
        offset,
        ..memory(session, 5, wire::MEMORY_USER, 3 * PAGE)
    };
    let add = |request| {
        driver
            .add(request, &[(PAGES, PAGE)])
            .map(|answer| answer.status)
    };
    assert_eq!(add(part(PAGE)), Some(INVALID), "the second comes first");
    assert_eq!(add(part(0)), Some(0));
    assert_eq!(add(part(0)), Some(INVALID), "the first comes again");
    assert_eq!(add(part(2 * PAGE)), Some(INVALID), "the third comes second");
    let other = Request {
        len: 4 * PAGE,
        ..part(PAGE)
    };
    assert_eq!(add(other), Some(INVALID), "another length");
    let other = Request {
        kind: wire::MEMORY_WINDOW,
        ..part(PAGE)
    };
    assert_eq!(add(other), Some(INVALID), "another kind");
    assert_eq!(add(part(PAGE)), Some(0));
    assert_eq!(add(part(2 * PAGE)), None, "complete: the worker has it");
    assert_eq!(add(part(3 * PAGE)), Some(INVALID), "beyond the end");
    assert_eq!(add(part(0)), Some(INVALID), "the number is in use");
}

#[test]
fn a_session_has_one_control_memory() {
    let driver = driver();
    let session = driver.with_control();
    let second = memory(session, 2, wire::MEMORY_CONTROL, CONTROL_LEN as u64);
    let answer = driver.add(second, &[(PAGES, CONTROL_LEN as u64)]);
    assert_eq!(answer.unwrap().status, INVALID);
}

#[test]
fn memory_that_was_never_complete_can_be_removed_and_other_memory_cannot() {
    let driver = driver();
    let session = driver.open();
    let remove = |id| {
        driver.status(Request {
            id,
            ..op(wire::OP_MEMORY_REMOVE, session)
        })
    };
    assert_eq!(remove(5), INVALID);
    let request = memory(session, 5, wire::MEMORY_USER, 2 * PAGE);
    assert_eq!(driver.add(request, &[(PAGES, PAGE)]).unwrap().status, 0);
    assert_eq!(remove(5), 0);
    assert_eq!(remove(5), INVALID);
}

#[test]
fn pages_are_limited() {
    let driver = driver();
    let session = driver.open();
    let table = vec![(PAGES, PAGE); wire::MAX_SEGMENTS];
    let bytes = (wire::MAX_SEGMENTS as u64) << 12;
    let mut refused = 0;
    for part in 0..2049u64 {
        let request = Request {
            offset: part * bytes,
            ..memory(session, 5, wire::MEMORY_USER, 4096 * bytes)
        };
        refused = driver.add(request, &table).unwrap().status;
    }
    assert_eq!(refused, Status::NoMemory as u32);
}

#[test]
fn transfers_that_do_not_add_up_are_refused() {
    let driver = driver();
    let session = driver.with_control();
    let status = |request, len| driver.transfer(request, len).map(|answer| answer.status);
    let to = |id, offset, len| transfer(session, id, wire::TO_DEVICE, offset, len);
    assert_eq!(
        status(transfer(session, 1, 3, 0, 64), 64),
        Some(INVALID),
        "direction"
    );
    assert_eq!(status(to(1, 0, 63), 64), Some(INVALID), "more than all");
    assert_eq!(status(to(1, 1, 64), 64), Some(INVALID), "beyond the end");
    assert_eq!(
        status(to(1, u64::MAX, u64::MAX), 64),
        Some(INVALID),
        "overflow"
    );
    // From the device, what the chain asks for counts: nothing.
    driver.put(transfer(session, 1, wire::FROM_DEVICE, 0, 64));
    let chain = [(REQUEST, 48, 0), (RESPONSE, 16, WRITE)];
    assert_eq!(driver.send(2, &chain).unwrap().status, INVALID, "nothing");
    // Parts: kept until all are there.
    assert_eq!(status(to(2, 0, 100), 64), None);
    assert_eq!(
        status(to(2, 0, 100), 16),
        Some(INVALID),
        "the same part again"
    );
    assert_eq!(status(to(2, 64, 101), 36), Some(INVALID), "another length");
    let back = transfer(session, 2, wire::FROM_DEVICE, 64, 100);
    assert_eq!(status(back, 36), Some(INVALID), "another direction");
    // These overlap, and leave a gap at the end.
    assert_eq!(status(to(2, 32, 100), 36), Some(INVALID), "a gap");
}

/// Waits for an event; gives its kind and session.
fn event(driver: &Driver) -> (u32, u32) {
    let start = Instant::now();
    loop {
        if let Some(event) = driver.events.0.lock().pop() {
            let word = |at: usize| u32::from_le_bytes(event[at..at + 4].try_into().unwrap());
            return (word(0), word(4));
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no event came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_worker_that_cannot_be_started_ends_its_session() {
    let driver = driver_with("/no/such/command", 8);
    let session = driver.open();
    let request = memory(session, 1, wire::MEMORY_USER, PAGE);
    let _ = driver.add(request, &[(PAGES, PAGE)]);
    assert_eq!(event(&driver), (wire::EVENT_ENDED, session));
    let again = memory(session, 2, wire::MEMORY_USER, PAGE);
    let ended = driver.add(again, &[(PAGES, PAGE)]).unwrap().status;
    assert_eq!(ended, Status::Ended as u32);
    let answer = driver.transfer(transfer(session, 1, wire::TO_DEVICE, 0, 16), 16);
    assert_eq!(answer.unwrap().status, Status::Ended as u32);
    assert_eq!(driver.status(op(wire::OP_SESSION_CLOSE, session)), 0);
}

#[test]
fn a_worker_that_ends_ends_its_session_and_no_other() {
    let driver = driver_with("/bin/true", 8);
    let (one, two) = (driver.open(), driver.open());
    let _ = driver.add(memory(one, 1, wire::MEMORY_USER, PAGE), &[(PAGES, PAGE)]);
    assert_eq!(event(&driver), (wire::EVENT_ENDED, one));
    assert_eq!(driver.status(op(wire::OP_SESSION_CLOSE, two)), 0);
}

#[test]
fn closing_gives_everything_back() {
    let driver = driver();
    let session = driver.with_control();
    let _ = driver.transfer(transfer(session, 2, wire::TO_DEVICE, 0, 100), 64);
    // Waits for the worker, which ends with its socket or is killed.
    assert_eq!(driver.request(op(wire::OP_SESSION_CLOSE, session)), None);
    driver.device.reset();
    assert_eq!(
        driver.status(op(wire::OP_KICK, session)),
        Status::NoSession as u32
    );
}
