// SPDX-License-Identifier: MIT OR Apache-2.0
//! PTX text: parsed, loaded, and every kernel lowered. Nothing is executed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vcuda_ptx::{AddressSpace, Program, Region};

fuzz_target!(|data: &[u8]| {
    let Ok(module) = vcuda_ptx::parse(data) else {
        return;
    };
    let Ok(space) = Region::anonymous(0x10000, 1 << 20).and_then(|r| AddressSpace::new(vec![r])) else {
        return;
    };
    let mut next = 0x10000;
    let mut place = |_: &str, size: u64, _: u64| {
        let address = next;
        space.allocate(address, size.max(1))?;
        next += size.max(1).next_multiple_of(256);
        Ok(address)
    };
    let Ok(program) = Program::load(module, &space, &mut place) else {
        return;
    };
    let names: Vec<String> = program.kernel_names().map(str::to_owned).collect();
    for name in names {
        let _ = program.kernel(&name);
    }
});
