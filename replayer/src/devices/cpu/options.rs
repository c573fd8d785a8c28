// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be chosen about a CPU device.

use std::time::Duration;

use vcuda_protocol::layout::MAX_DEVICES;

/// What can be chosen about CPU devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuOptions {
    /// How many there are, from 1 to [`MAX_DEVICES`]. They share the processor.
    pub devices: u32,
    /// Bytes of memory that each has.
    pub memory: u64,
    /// Ten times the compute capability: 86 for 8.6.
    pub compute_capability: u32,
    /// Threads that run the blocks of one launch.
    pub threads: usize,
    /// A kernel that runs longer ends with `CUDA_ERROR_LAUNCH_TIMEOUT`.
    pub time_limit: Option<Duration>,
}

impl Default for CpuOptions {
    /// One device of compute capability 8.6 with half of the machine's memory and all its cores.
    /// Nearly all PTX loads on 8.6, and programs do not choose paths for newer hardware.
    fn default() -> Self {
        CpuOptions {
            devices: 1,
            memory: machine_memory() / 2,
            compute_capability: 86,
            threads: std::thread::available_parallelism().map_or(1, Into::into),
            time_limit: None,
        }
    }
}

/// An environment variable with a value that does not fit it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name} is \"{value}\"; it should be {expected}.")]
pub struct OptionError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl OptionError {
    pub(super) fn new(name: &'static str, value: &str, expected: &'static str) -> Self {
        OptionError {
            name,
            value: value.into(),
            expected,
        }
    }
}

impl CpuOptions {
    /// The defaults, changed by `VCUDA_CPU_DEVICES` (how many), `VCUDA_CPU_MEMORY` (MiB of each),
    /// `VCUDA_CPU_COMPUTE_CAPABILITY` (such as 8.6), `VCUDA_CPU_THREADS` and
    /// `VCUDA_CPU_TIME_LIMIT` (seconds for each kernel).
    pub fn from_env() -> Result<Self, OptionError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, OptionError> {
        fn parse<T>(
            lookup: &impl Fn(&str) -> Option<String>,
            name: &'static str,
            expected: &'static str,
            read: impl Fn(&str) -> Option<T>,
            to: &mut T,
        ) -> Result<(), OptionError> {
            if let Some(value) = lookup(name) {
                *to = read(&value).ok_or(OptionError {
                    name,
                    value,
                    expected,
                })?;
            }
            Ok(())
        }
        let mut options = CpuOptions::default();
        parse(
            &lookup,
            "VCUDA_CPU_DEVICES",
            "a number from 1 to 16",
            |text| in_range(text, 1, MAX_DEVICES as u64).map(|n| n as u32),
            &mut options.devices,
        )?;
        parse(
            &lookup,
            "VCUDA_CPU_MEMORY",
            "a number of MiB from 1 to 131072",
            |text| in_range(text, 1, MAX_MEMORY >> 20).map(|mib| mib << 20),
            &mut options.memory,
        )?;
        parse(
            &lookup,
            "VCUDA_CPU_COMPUTE_CAPABILITY",
            "a compute capability from 5.0 to 12.9, such as 8.6",
            |text| {
                let (major, minor) = text.split_once('.')?;
                let major = in_range(major, 5, 12)?;
                let minor = in_range(minor, 0, 9)?;
                Some((major * 10 + minor) as u32)
            },
            &mut options.compute_capability,
        )?;
        parse(
            &lookup,
            "VCUDA_CPU_THREADS",
            "a number from 1 to 1024",
            |text| in_range(text, 1, 1024).map(|n| n as usize),
            &mut options.threads,
        )?;
        parse(
            &lookup,
            "VCUDA_CPU_TIME_LIMIT",
            "a number of seconds from 1 on",
            |text| in_range(text, 1, u32::MAX.into()).map(|s| Some(Duration::from_secs(s))),
            &mut options.time_limit,
        )?;
        Ok(options)
    }
}

/// Most memory that a device may have: what its range of addresses has room for, several times, so
/// that holes in it do no harm.
pub(super) const MAX_MEMORY: u64 = 128 << 30;

fn in_range(text: &str, from: u64, to: u64) -> Option<u64> {
    text.parse().ok().filter(|n| (from..=to).contains(n))
}

/// Bytes of the machine's memory, or 4 GiB where it does not say.
fn machine_memory() -> u64 {
    let total = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        kib.checked_mul(1024)
    };
    total().unwrap_or(4 << 30).min(2 * MAX_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<CpuOptions, OptionError> {
        CpuOptions::from_lookup(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn variables_change_the_defaults() {
        assert_eq!(with("VCUDA_CPU_DEVICES", "3").unwrap().devices, 3);
        assert_eq!(with("VCUDA_CPU_MEMORY", "64").unwrap().memory, 64 << 20);
        let capable = with("VCUDA_CPU_COMPUTE_CAPABILITY", "9.0").unwrap();
        assert_eq!(capable.compute_capability, 90);
        let limited = with("VCUDA_CPU_TIME_LIMIT", "5").unwrap();
        assert_eq!(limited.time_limit, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_that_quotes_it() {
        for (name, value) in [
            ("VCUDA_CPU_DEVICES", "0"),
            ("VCUDA_CPU_DEVICES", "17"),
            ("VCUDA_CPU_MEMORY", "lots"),
            ("VCUDA_CPU_COMPUTE_CAPABILITY", "86"),
        ] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
