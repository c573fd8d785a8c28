// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device keeps for a session, and the commands of the tests.
//!
//! The control memory's first page holds 32 slots, one for each thread of a test:
//!
//! ```text
//! at 4 * i          u32   counts the commands of slot i that were executed: what the test waits for
//! at 256 + 64 * i   u32   command, 0: none; the device sets it to 0
//!                   u64   at 8: id of a memory or transfer
//!                   u64   at 16: argument
//!                   u64   at 24: result
//! ```
//!
//! A kick makes the device look at all of them.

use std::collections::HashMap;

use vm_memory::{Bytes, GuestAddress};

use crate::chain::{self, Chain, Memory, Segment};

const SLOTS: u64 = 32;
pub const PAGE: u64 = 4096;
const MAX_SEGMENTS: u64 = 512;

/// Commands of the tests; `tests/test.h` of the driver has the same.
pub mod command {
    /// Nothing.
    #[allow(dead_code, reason = "every other number does the same")]
    pub const NOP: u32 = 1;
    /// Takes the transfer: result is the sum of its bytes, or they are written.
    pub const TRANSFER: u32 = 2;
    /// Result: the sum of the memory's bytes.
    pub const MEMORY_SUM: u32 = 3;
    /// Fills the memory.
    pub const MEMORY_FILL: u32 = 4;
    /// The worker ends.
    pub const END: u32 = 5;
    /// The command counts as executed, but nobody is woken.
    pub const SILENT: u32 = 6;
    /// From now on nothing is answered, for no session.
    pub const MUTE: u32 = 7;
    /// Result: how many memories, and in the upper half how many chains, the device holds for the session.
    pub const HOLDINGS: u32 = 8;
    /// An event of argument times the usual number.
    pub const EVENTS: u32 = 9;
}

/// Memory that the driver has added.
#[derive(Debug)]
pub struct Region {
    pub kind: u32,
    pub address: u64,
    pub len: u64,
    pub segments: Vec<Segment>,
}

impl Region {
    fn present(&self) -> u64 {
        chain::total(&self.segments)
    }

    fn is_complete(&self) -> bool {
        self.present() == self.len
    }
}

/// What a command asks the device to do beside writing its result.
#[derive(Debug)]
pub enum Effect {
    /// So many events.
    Wake(u64),
    /// The chain goes back; so many of its bytes were written.
    Return(Chain, u64),
    /// The session's worker has ended.
    End,
    /// Answer nothing any more.
    Mute,
}

#[derive(Debug, Default)]
pub struct Session {
    pub regions: HashMap<u64, Region>,
    pub transfers: HashMap<u64, Vec<Chain>>,
    pub ended: bool,
}

/// What the driver must obey in MEMORY_ADD; `Err` says what it did not.
pub fn add(session: &mut Session, memory: &Memory, chain: &Chain) -> Result<bool, String> {
    let header = &chain.header;
    let payload = chain.payload(memory);
    if payload.is_empty()
        || !payload.len().is_multiple_of(16)
        || payload.len() as u64 / 16 > MAX_SEGMENTS
    {
        return Err(format!("{} bytes of segments", payload.len()));
    }
    let mut segments: Vec<Segment> = Vec::new();
    for entry in payload.chunks_exact(16) {
        let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| entry[at + i]));
        let segment = Segment {
            address: field(0),
            len: field(8),
        };
        if !segment.address.is_multiple_of(PAGE)
            || !segment.len.is_multiple_of(PAGE)
            || segment.len == 0
            || !vm_memory::GuestMemoryBackend::check_range(
                memory,
                GuestAddress(segment.address),
                segment.len as usize,
            )
        {
            return Err(format!("segment {segment:x?}"));
        }
        if segments
            .last()
            .is_some_and(|last| last.address + last.len == segment.address)
        {
            return Err(format!("segment {segment:x?} continues the one before it"));
        }
        segments.push(segment);
    }
    if !(1..=3).contains(&header.kind)
        || !header.len.is_multiple_of(PAGE)
        || !header.address.is_multiple_of(PAGE)
    {
        return Err(format!("memory {header:?}"));
    }
    let control = session
        .regions
        .iter()
        .any(|(id, region)| region.kind == 1 && *id != header.id);
    if header.kind == 1 && (control || header.address != 0) {
        return Err("a second control memory, or one with an address".into());
    }
    let region = session.regions.entry(header.id).or_insert_with(|| Region {
        kind: header.kind,
        address: header.address,
        len: header.len,
        segments: Vec::new(),
    });
    if region.present() != header.offset
        || (region.kind, region.address, region.len) != (header.kind, header.address, header.len)
        || region.present() + chain::total(&segments) > region.len
    {
        return Err(format!(
            "a part of memory {header:?} after {} bytes",
            region.present()
        ));
    }
    region.segments.extend(segments);
    Ok(region.is_complete())
}

/// What the driver must obey in TRANSFER.
pub fn hold(session: &mut Session, chain: Chain) -> Result<(), String> {
    let header = &chain.header;
    let (mine, other) = match header.kind {
        1 => (&chain.readable, &chain.writable),
        2 => (&chain.writable, &chain.readable),
        kind => return Err(format!("transfer of kind {kind}")),
    };
    let len = chain::total(mine);
    if mine.is_empty() || mine.len() as u64 > MAX_SEGMENTS || !other.is_empty() {
        return Err(format!(
            "{} segments and {} others in a transfer",
            mine.len(),
            other.len()
        ));
    }
    if header
        .offset
        .checked_add(len)
        .is_none_or(|end| end > header.len)
    {
        return Err(format!("{len} bytes in a transfer {header:?}"));
    }
    session.transfers.entry(header.id).or_default().push(chain);
    Ok(())
}

/// The sum that tests compare.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The bytes that tests expect.
fn pattern(len: u64, seed: u64) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(7) ^ (i >> 12) ^ seed) as u8)
        .collect()
}

impl Session {
    pub fn holds(&self) -> usize {
        self.transfers.values().map(Vec::len).sum()
    }

    /// All chains, when the session ends.
    pub fn take_chains(&mut self) -> Vec<Chain> {
        self.transfers
            .drain()
            .flat_map(|(_, chains)| chains)
            .collect()
    }

    /// Executes what the slots hold.
    pub fn run(&mut self, memory: &Memory) -> Vec<Effect> {
        let mut effects = Vec::new();
        let control = self.regions.values().find(|region| region.kind == 1);
        let Some(page) = control
            .filter(|region| region.is_complete())
            .and_then(|region| region.segments.first())
        else {
            return effects;
        };
        let page = GuestAddress(page.address);
        let at = |offset: u64| GuestAddress(page.0 + offset);
        for slot in 0..SLOTS {
            let base = 256 + 64 * slot;
            let Ok(command) = memory.read_obj::<u32>(at(base)) else {
                return effects;
            };
            if command == 0 {
                continue;
            }
            let id = memory.read_obj::<u64>(at(base + 8)).unwrap_or_default();
            let argument = memory.read_obj::<u64>(at(base + 16)).unwrap_or_default();
            let result = self.execute(memory, command, id, argument, &mut effects);
            let count = memory.read_obj::<u32>(at(4 * slot)).unwrap_or_default();
            let _ = memory.write_obj(result, at(base + 24));
            let _ = memory.write_obj(0u32, at(base));
            let _ = memory.write_obj(count.wrapping_add(1), at(4 * slot));
            match command {
                command::SILENT => {}
                command::EVENTS => effects.push(Effect::Wake(argument)),
                _ => effects.push(Effect::Wake(1)),
            }
        }
        effects
    }

    fn execute(
        &mut self,
        memory: &Memory,
        command: u32,
        id: u64,
        argument: u64,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        match command {
            command::TRANSFER => self.transfer(memory, id, argument, effects),
            command::MEMORY_SUM => self
                .regions
                .get(&id)
                .map_or(0, |region| sum(&chain::read(memory, &region.segments))),
            command::MEMORY_FILL => self.regions.get(&id).map_or(0, |region| {
                chain::write(memory, &region.segments, &pattern(region.len, argument));
                region.len
            }),
            command::END => {
                self.ended = true;
                effects.push(Effect::End);
                0
            }
            command::MUTE => {
                effects.push(Effect::Mute);
                0
            }
            command::HOLDINGS => self.regions.len() as u64 | (self.holds() as u64) << 32,
            _ => 0,
        }
    }

    fn transfer(&mut self, memory: &Memory, id: u64, seed: u64, effects: &mut Vec<Effect>) -> u64 {
        let Some(mut chains) = self.transfers.remove(&id) else {
            return 0;
        };
        chains.sort_by_key(|chain| chain.header.offset);
        let mut bytes = Vec::new();
        let mut result = 0;
        for chain in &chains {
            let mut written = 0;
            if chain.header.kind == 1 {
                if chain.header.offset == bytes.len() as u64 {
                    bytes.extend(chain.payload(memory));
                }
            } else {
                if bytes.is_empty() {
                    bytes = pattern(chain.header.len, seed);
                }
                written = chain::total(&chain.writable);
                let from = chain.header.offset as usize;
                if let Some(part) = bytes.get(from..from + written as usize) {
                    chain::write(memory, &chain.writable, part);
                    result += written;
                }
            }
            effects.push(Effect::Return(chain.clone(), written));
        }
        if chains.first().is_some_and(|chain| chain.header.kind == 1) {
            result = sum(&bytes);
        }
        result
    }
}
