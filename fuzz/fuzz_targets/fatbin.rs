// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images of all kinds: every entry is unpacked, within a small limit, and its kernels are listed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vcuda_fatbin::Image;

fuzz_target!(|data: &[u8]| {
    let Ok(image) = Image::parse(data) else {
        return;
    };
    let _ = image.best_ptx(86);
    for entry in image.entries() {
        let _ = entry.payload_within(1 << 20);
        let _ = entry.kernels();
    }
});
