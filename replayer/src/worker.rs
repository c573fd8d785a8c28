// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serves one client: reads its commands from the ring and executes them until it leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vcuda_protocol::layout::{MAX_REPLY_DATA, SLOT_COUNT};
use vcuda_protocol::notify::Notify;
use vcuda_protocol::ring::{self, Consumer, RingError};
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::wire::{self, WireError};
use vcuda_protocol::{Command, Header, NO_FUNCTION, Place};

use crate::devices::Device;
use crate::observer::Observer;
use crate::outbox::ControlOutbox;
use crate::session::{GuestMemory, Session};
use crate::window::Window;

/// How often a worker without commands looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(250);

/// After so many commands it is looked whether work has finished, also where more commands wait.
const COMMANDS: u64 = 16;

/// One client, connected.
pub struct Guest {
    /// The ring, the reply slots and the words around them.
    pub control: SharedMemory,
    pub window: Window,
    pub notify: Arc<dyn Notify>,
    /// Made for the same window, and for nobody else.
    pub devices: Vec<Arc<dyn Device>>,
    pub observer: Option<Arc<dyn Observer>>,
    /// Where the client runs in a virtual machine.
    pub memory: Option<Arc<dyn GuestMemory>>,
    pub hangup: Arc<Hangup>,
}

/// Says from another thread that the client is gone.
#[derive(Default)]
pub struct Hangup {
    gone: AtomicBool,
    devices: parking_lot::Mutex<Vec<Arc<dyn Device>>>,
}

impl Hangup {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The client is gone: kernels that run for it end, and [`serve`] returns.
    pub fn hang_up(&self) {
        self.gone.store(true, Ordering::SeqCst);
        for device in &*self.devices.lock() {
            device.abort();
        }
    }

    /// Names devices whose work is to end with the client. [`serve`] does so.
    pub fn watch_over(&self, devices: &[Arc<dyn Device>]) {
        self.devices.lock().extend_from_slice(devices);
        if self.is_gone() {
            self.hang_up();
        }
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said goodbye.
    Goodbye,
    /// It vanished.
    Hangup,
}

/// A client broke the protocol; nothing that it sends can be trusted any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("Command {found} came where command {expected} was due.")]
    Sequence { expected: u64, found: u64 },
    #[error("Command {sequence} comes from CUDA function number {api}, which is not in the list.")]
    Function { sequence: u64, api: u16 },
    #[error("Command {sequence} wants its answer in slot {slot}; there are {SLOT_COUNT}.")]
    Slot { sequence: u64, slot: u16 },
    #[error(
        "Command {sequence} wants more than {MAX_REPLY_DATA} bytes copied into its reply; larger \
         copies go through the window."
    )]
    Reply { sequence: u64 },
}

/// Serves a client until it leaves. All that it had is gone afterwards.
pub fn serve(guest: Guest) -> Result<End, ServeError> {
    let Guest {
        control,
        window,
        notify,
        devices,
        observer,
        memory,
        hangup,
    } = guest;
    let mut commands = Consumer::new(control.clone())?;
    hangup.watch_over(&devices);
    let outbox = Arc::new(ControlOutbox::new(control, notify.clone()));
    // Dropped on every way out, which ends its work and lets the observer finish.
    let mut session = Session::new(devices.clone(), window, outbox, observer);
    if let Some(memory) = memory {
        session = session.with_guest_memory(memory);
    }
    let mut message = Vec::new();
    let mut expected = 1;
    let mut quiet = false;
    // From here on devices know that somebody looks, and start no thread for that.
    poll(&devices);
    loop {
        while commands.pop(&mut message, &*notify)? {
            let (header, command) = wire::decode(&message)?;
            check(&header, &command, expected)?;
            expected += 1;
            let goodbye = command == Command::Goodbye;
            session.execute(&header, command);
            if goodbye {
                return Ok(End::Goodbye);
            }
            if hangup.is_gone() {
                return Ok(End::Hangup);
            }
            if expected.is_multiple_of(COMMANDS) {
                poll(&devices);
            }
        }
        if hangup.is_gone() {
            return Ok(End::Hangup);
        }
        match poll(&devices) {
            Some(Duration::ZERO) => ring::relax(),
            Some(pause) => {
                commands.sleep(&*notify, pause.min(LOOK));
            }
            // A client that was quiet for so long is not worth spinning for.
            None if quiet => quiet = !commands.sleep(&*notify, LOOK),
            None => quiet = !commands.wait(&*notify, LOOK),
        }
    }
}

/// Looks what has finished; gives how soon to look again.
fn poll(devices: &[Arc<dyn Device>]) -> Option<Duration> {
    devices.iter().filter_map(|device| device.poll()).min()
}

fn check(header: &Header, command: &Command, expected: u64) -> Result<(), ServeError> {
    let sequence = header.sequence;
    if sequence != expected {
        return Err(ServeError::Sequence {
            expected,
            found: sequence,
        });
    }
    if header.api != NO_FUNCTION && vcuda_api::FunctionId::new(header.api).is_none() {
        return Err(ServeError::Function {
            sequence,
            api: header.api,
        });
    }
    if let Some(slot) = header.slot.filter(|&slot| slot as usize >= SLOT_COUNT) {
        return Err(ServeError::Slot { sequence, slot });
    }
    if let Command::Copy {
        dst: Place::Reply,
        extent,
        ..
    } = command
        && extent.bytes().is_none_or(|n| n > MAX_REPLY_DATA as u64)
    {
        return Err(ServeError::Reply { sequence });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::null::NullDevice;
    use vcuda_protocol::layout::{CONTROL_LEN, RING_TAIL};
    use vcuda_protocol::notify::Yield;
    use vcuda_protocol::ring::Producer;
    use vcuda_protocol::{Extent, Reply, Stream, slots};

    struct Client {
        control: SharedMemory,
        ring: Producer,
        sequence: u64,
        hangup: Arc<Hangup>,
        worker: std::thread::JoinHandle<Result<End, ServeError>>,
    }

    fn connect() -> Client {
        let control = SharedMemory::anonymous(CONTROL_LEN);
        let hangup = Hangup::new();
        let guest = Guest {
            control: control.clone(),
            window: Window {
                base: 0x2000_0000_0000,
                memory: SharedMemory::anonymous(4096),
                backing: None,
            },
            notify: Arc::new(Yield),
            devices: vec![Arc::new(NullDevice::default())],
            observer: None,
            memory: None,
            hangup: hangup.clone(),
        };
        Client {
            ring: Producer::new(control.clone()).unwrap(),
            control,
            sequence: 0,
            hangup,
            worker: std::thread::spawn(move || serve(guest)),
        }
    }

    impl Client {
        fn header(&mut self, slot: Option<u16>) -> Header {
            self.sequence += 1;
            Header {
                sequence: self.sequence,
                api: 1,
                thread: 1,
                time: 0,
                slot,
            }
        }

        fn send(&mut self, header: Header, command: Command) {
            let mut bytes = Vec::new();
            wire::encode(&mut bytes, &header, &command).unwrap();
            assert!(self.ring.try_push(&bytes, &Yield).unwrap());
        }

        fn call(&mut self, command: Command) -> Result<Reply, vcuda_protocol::Status> {
            slots::arm(&self.control, 7).unwrap();
            let header = self.header(Some(7));
            self.send(header, command);
            slots::wait(&self.control, 7, &Yield, Duration::from_secs(10))
                .unwrap()
                .expect("an answer")
        }

        fn end(self) -> Result<End, ServeError> {
            self.worker.join().unwrap()
        }
    }

    #[test]
    fn commands_are_answered_until_goodbye() {
        let mut client = connect();
        assert!(matches!(
            client.call(Command::DeviceInfo { device: 0 }),
            Ok(Reply::Device(_))
        ));
        assert_eq!(client.call(Command::Goodbye), Ok(Reply::Done));
        assert_eq!(client.end().unwrap(), End::Goodbye);
    }

    #[test]
    fn a_posted_failure_is_there_when_a_later_answer_is() {
        let mut client = connect();
        let header = client.header(None);
        let free = Command::MemFree {
            device: 0,
            address: 1,
        };
        client.send(header, free);
        client
            .call(Command::DeviceSynchronize { device: 0 })
            .unwrap();
        let pending = client.control.u32(vcuda_protocol::layout::PENDING_ERRORS);
        assert_eq!(pending.load(Ordering::Acquire), 1);
        client.call(Command::Goodbye).unwrap();
        client.end().unwrap();
    }

    #[test]
    fn a_command_may_come_from_no_function() {
        let mut client = connect();
        let mut header = client.header(None);
        header.api = NO_FUNCTION;
        client.send(header, Command::MemInfo { device: 0 });
        assert_eq!(client.call(Command::Goodbye), Ok(Reply::Done));
        assert_eq!(client.end().unwrap(), End::Goodbye);
    }

    #[test]
    fn a_client_that_vanishes_ends_its_worker() {
        let client = connect();
        client.hangup.hang_up();
        assert_eq!(client.end().unwrap(), End::Hangup);
    }

    #[test]
    fn a_gap_in_the_sequence_ends_the_session() {
        let mut client = connect();
        client.sequence = 4;
        let header = client.header(None);
        client.send(header, Command::MemInfo { device: 0 });
        assert!(matches!(
            client.end(),
            Err(ServeError::Sequence {
                expected: 1,
                found: 5
            })
        ));
    }

    #[test]
    fn a_slot_that_does_not_exist_ends_the_session() {
        let mut client = connect();
        let header = client.header(Some(SLOT_COUNT as u16));
        client.send(header, Command::MemInfo { device: 0 });
        assert!(matches!(client.end(), Err(ServeError::Slot { .. })));
    }

    #[test]
    fn a_function_that_is_not_in_the_list_ends_the_session() {
        let mut client = connect();
        let mut header = client.header(None);
        header.api = u16::MAX - 1;
        client.send(header, Command::MemInfo { device: 0 });
        assert!(matches!(client.end(), Err(ServeError::Function { .. })));
    }

    #[test]
    fn a_reply_that_cannot_fit_its_slot_ends_the_session() {
        let mut client = connect();
        let header = client.header(Some(0));
        let copy = Command::Copy {
            stream: Stream { device: 0, id: 0 },
            dst: Place::Reply,
            src: Place::window(0),
            extent: Extent::linear(MAX_REPLY_DATA as u64 + 1),
            release: None,
        };
        client.send(header, copy);
        assert!(matches!(client.end(), Err(ServeError::Reply { .. })));
    }

    #[test]
    fn garbage_in_the_ring_ends_the_session() {
        let mut client = connect();
        client.ring.try_push(&[0xff; 100], &Yield).unwrap();
        assert!(matches!(client.end(), Err(ServeError::Wire(_))));
        let client = connect();
        client
            .control
            .u64(RING_TAIL)
            .store(u64::MAX, Ordering::Release);
        assert!(matches!(client.end(), Err(ServeError::Ring(_))));
    }
}
