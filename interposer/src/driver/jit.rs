// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of loading a module (`CUjit_option`).
//!
//! Options come as two arrays, of keys and of values of the size of a pointer. Some values are
//! written back: the sizes of the logs, and the time it took.

use std::ffi::c_char;
use std::time::Duration;

use vcuda_protocol::ModuleInfo;

use crate::abi::{In, Out};
use crate::{Result, error};

const WALL_TIME: u32 = 2;
const INFO_LOG_BUFFER: u32 = 3;
const INFO_LOG_BUFFER_SIZE: u32 = 4;
const ERROR_LOG_BUFFER: u32 = 5;
const ERROR_LOG_BUFFER_SIZE: u32 = 6;
/// Addresses for symbols that the image leaves open (names, addresses, count) are for the linker.
const GLOBAL_SYMBOLS: std::ops::RangeInclusive<u32> = 17..=19;
/// `CU_JIT_NUM_OPTIONS` of CUDA 13.0
const COUNT: u32 = 35;

/// One of the two logs: a buffer and its size, which come as options of their own.
#[derive(Clone, Copy, Default)]
struct Log {
    buffer: Option<Out<c_char>>,
    /// Where the size stands, which is also where the length of the log goes.
    size: Option<Out<u64>>,
}

impl Log {
    /// Fills the buffer, and says how much of it is filled, not counting the zero at the end, as the
    /// 13.0 driver does.
    fn fill(self, text: &str) -> Result<()> {
        let Some(size) = self.size else { return Ok(()) };
        // The value is an unsigned int in the place of a pointer.
        let room = size.get()? as u32 as usize;
        let mut filled = 0;
        if let Some(buffer) = self.buffer.filter(|b| !b.is_null())
            && room != 0
        {
            buffer.set_text(text, room)?;
            filled = text.len().min(room - 1);
        }
        size.set(filled as u64)
    }
}

/// What the options ask to be told.
#[derive(Default)]
pub(super) struct Options {
    info: Log,
    error: Log,
    wall_time: Option<Out<u64>>,
}

impl Options {
    /// Reads the options. What tunes the compiler (registers, optimization, caching, target and
    /// the like) is accepted and has no bearing here.
    pub(super) fn read(keys: In<u32>, values: Out<u64>, count: u32) -> Result<Self> {
        let mut options = Options::default();
        for index in 0..count as usize {
            let key = keys.at(index)?;
            // An unknown key ends it, so that a wrong count does not lead far.
            if key >= COUNT {
                return Err(error::INVALID_VALUE);
            }
            let value = values.at(index)?;
            match key {
                WALL_TIME => options.wall_time = Some(value),
                INFO_LOG_BUFFER => options.info.buffer = Some(value.cast::<Out<c_char>>().get()?),
                INFO_LOG_BUFFER_SIZE => options.info.size = Some(value),
                ERROR_LOG_BUFFER => options.error.buffer = Some(value.cast::<Out<c_char>>().get()?),
                ERROR_LOG_BUFFER_SIZE => options.error.size = Some(value),
                key if GLOBAL_SYMBOLS.contains(&key) => return Err(error::INVALID_VALUE),
                _ => {}
            }
        }
        Ok(options)
    }

    /// Tells how loading went. Errors that the program did not ask for are said on standard error.
    pub(super) fn report(&self, info: &ModuleInfo, took: Duration) -> Result<()> {
        self.info.fill(&info.info_log)?;
        self.error.fill(&info.error_log)?;
        if let Some(wall_time) = self.wall_time {
            let milliseconds = took.as_secs_f32() * 1000.0;
            wall_time.set(u64::from(milliseconds.to_bits()))?;
        }
        if self.error.buffer.is_none() && !info.status.is_success() {
            vcuda_transport::say!("an image did not load: {}", info.error_log.trim_end());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::Status;

    fn failed() -> ModuleInfo {
        ModuleInfo {
            status: Status(218),
            info_log: String::new(),
            error_log: "line 5: no".into(),
            kernels: 0,
        }
    }

    fn read(keys: &[u32], values: &mut [u64]) -> Result<Options> {
        Options::read(In::of(&keys[0]), Out::of(&mut values[0]), keys.len() as u32)
    }

    /// Loads something that fails, with a buffer for the error log of which `room` bytes may be
    /// used; gives the buffer and the values.
    fn log(room: u64) -> ([u8; 16], [u64; 5]) {
        let mut buffer = [b'x'; 16];
        // Garbage above the 32 bits of the size must not count.
        let size = room | 0xdead_0000_0000;
        let mut values = [size, buffer.as_mut_ptr() as u64, 0, 7, 0xffff_ffff];
        let keys = [
            ERROR_LOG_BUFFER_SIZE,
            ERROR_LOG_BUFFER,
            WALL_TIME,
            INFO_LOG_BUFFER_SIZE,
            9,
        ];
        let options = read(&keys, &mut values).unwrap();
        options
            .report(&failed(), Duration::from_millis(1500))
            .unwrap();
        (buffer, values)
    }

    #[test]
    fn the_error_log_is_filled_and_its_size_written_back() {
        let (buffer, values) = log(16);
        assert_eq!(&buffer[..11], b"line 5: no\0");
        assert_eq!(buffer[11], b'x');
        assert_eq!(values[0], 10);
        assert_eq!(f32::from_bits(values[2] as u32), 1500.0);
        assert_eq!(
            values[3], 0,
            "nothing is filled of a buffer that is not there"
        );
        assert_eq!(values[4], 0xffff_ffff, "an option without an answer stays");
    }

    #[test]
    fn a_log_is_cut_to_its_buffer_and_ends_with_a_zero() {
        let (buffer, values) = log(5);
        assert_eq!(&buffer[..6], b"line\0x");
        assert_eq!(values[0], 4);
        let (buffer, values) = log(0);
        assert_eq!(buffer, [b'x'; 16]);
        assert_eq!(values[0], 0);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert_eq!(read(&[COUNT], &mut [0]).err(), Some(error::INVALID_VALUE));
        assert_eq!(
            read(&[u32::MAX], &mut [0]).err(),
            Some(error::INVALID_VALUE)
        );
        assert_eq!(read(&[17], &mut [0]).err(), Some(error::INVALID_VALUE));
    }
}
