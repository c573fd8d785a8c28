// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kernel prints, on its way to standard output.

use parking_lot::Mutex;
use vcuda_ptx::Output;

/// Text that is kept until its kernel ends; more is written at once. CUDA's own buffer holds as
/// much (CUDA Runtime API, `cudaLimitPrintfFifoSize`), and loses what does not fit.
const HELD: usize = 1 << 20;

/// The text of one launch. It is on standard output once this is dropped.
#[derive(Default)]
pub(super) struct Printed(Mutex<Vec<u8>>);

impl Output for Printed {
    fn write(&self, text: &[u8]) {
        let mut held = self.0.lock();
        held.extend_from_slice(text);
        if held.len() >= HELD {
            vcuda_transport::print(&held);
            held.clear();
        }
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        let held = self.0.get_mut();
        if !held.is_empty() {
            vcuda_transport::print(held);
        }
    }
}
