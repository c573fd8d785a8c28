// SPDX-License-Identifier: MIT OR Apache-2.0
//! When bytes and answers count as equal to those of a recording.

use vcuda_protocol::{DeviceInfo, Reply, Status};

use super::outcome::{BufferDifference, What};
use crate::status;

/// How far numbers may be apart.
///
/// Without a tolerance buffers are compared byte by byte. With one, a buffer is taken as elements of
/// one type from its beginning on. Two elements are equal if their bits are; or if both are NaN; or
/// if neither is infinite, NaN or subnormal and `|a - b| <= tolerance * max(1, |a|, |b|)`: absolute
/// for small numbers, relative for large ones. Subnormal numbers are compared by their bits because
/// small integers look like them: a buffer of counts and indices below 2^23 is compared exactly,
/// even as `f32`. Elements that would not be whole at a buffer's end are compared by their bytes.
///
/// A type is to be chosen because no guess is safe: two `f32` look like one `f64` whose last bits
/// the first of them is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub element: Element,
    pub limit: f64,
}

/// What a buffer consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F64,
}

impl Tolerance {
    fn size(self) -> usize {
        match self.element {
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }

    /// An element's value, and whether it may be compared by value.
    fn value(self, bytes: &[u8]) -> Option<(f64, bool)> {
        Some(match self.element {
            Element::F32 => {
                let value = f32::from_le_bytes(bytes.try_into().ok()?);
                (value.into(), value.is_normal() || value == 0.0)
            }
            Element::F64 => {
                let value = f64::from_le_bytes(bytes.try_into().ok()?);
                (value, value.is_normal() || value == 0.0)
            }
        })
    }

    fn accepts(self, a: &[u8], b: &[u8]) -> bool {
        match (self.value(a), self.value(b)) {
            (Some((a, _)), Some((b, _))) if a.is_nan() && b.is_nan() => true,
            (Some((a, true)), Some((b, true))) => {
                (a - b).abs() <= self.limit * a.abs().max(b.abs()).max(1.0)
            }
            _ => false,
        }
    }
}

/// Compares two pieces of one length that begin `position` bytes into a buffer.
pub fn buffers(
    position: u64,
    expected: &[u8],
    actual: &[u8],
    tolerance: Option<Tolerance>,
) -> Option<BufferDifference> {
    if expected == actual {
        return None;
    }
    let size = tolerance.map_or(1, Tolerance::size);
    // Elements are counted from the buffer's beginning, not the piece's.
    let head = (position.next_multiple_of(size as u64) - position) as usize;
    let head = head.min(expected.len());
    let elements = elements(expected, head, size).zip(elements(actual, head, size));
    let mut first = None;
    let (mut differing, mut compared) = (0, 0);
    for ((at, a), (_, b)) in elements {
        compared += 1;
        let whole = a.len() == size;
        if a != b && !(whole && tolerance.is_some_and(|tolerance| tolerance.accepts(a, b))) {
            differing += 1;
            first.get_or_insert((at, a, b));
        }
    }
    let (at, a, b) = first?;
    Some(BufferDifference {
        offset: position + at as u64,
        expected: show(a, tolerance),
        actual: show(b, tolerance),
        differing,
        compared,
        element: match tolerance.map(|t| t.element) {
            None => "byte",
            Some(Element::F32) => "f32",
            Some(Element::F64) => "f64",
        },
    })
}

/// Elements of `size` bytes behind a head of less than one, each with its offset.
fn elements(bytes: &[u8], head: usize, size: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let (head, rest) = bytes.split_at(head);
    let first = (!head.is_empty()).then_some((0, head));
    let offset = head.len();
    let rest = rest.chunks(size).enumerate();
    first
        .into_iter()
        .chain(rest.map(move |(i, element)| (offset + i * size, element)))
}

fn show(bytes: &[u8], tolerance: Option<Tolerance>) -> String {
    let value = tolerance.and_then(|tolerance| match tolerance.element {
        Element::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?).to_string()),
        Element::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?).to_string()),
    });
    value.unwrap_or_else(|| {
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        format!("0x{digits}")
    })
}

/// What comes of comparing two answers.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Equal,
    /// The answer depends on time or load, and was not compared.
    NotCompared,
    /// It differs as devices may.
    Note(String),
    Different(What),
}

/// Compares two answers. What kernels compute has to be equal; what they need, and what a device
/// says of itself, changes with devices and with the compiler in front of them, and is noted.
pub fn answers(
    expected: &Result<Reply, Status>,
    actual: &Result<Reply, Status>,
    tolerance: Option<Tolerance>,
) -> Verdict {
    use Reply::*;
    let different = || {
        Verdict::Different(What::Value {
            expected: describe(expected),
            actual: describe(actual),
        })
    };
    let note = |what: &str| {
        Verdict::Note(format!(
            "{what}: {} where the recording's device has {}.",
            describe(actual),
            describe(expected)
        ))
    };
    // What was asked was not ready, or was under way when the program ended or was killed.
    if let Err(status::NOT_READY | status::DEINITIALIZED) = expected {
        return Verdict::NotCompared;
    }
    match (expected, actual) {
        (Ok(Data(a)), Ok(Data(b))) if a.0.len() == b.0.len() => {
            match buffers(0, &a.0, &b.0, tolerance) {
                None => Verdict::Equal,
                Some(difference) => Verdict::Different(What::Bytes(difference)),
            }
        }
        (Ok(Milliseconds(_)), Ok(Milliseconds(_))) => Verdict::NotCompared,
        (Ok(Memory(a)), Ok(Memory(b))) => match a.total == b.total {
            true => Verdict::NotCompared,
            false => note("Device memory differs"),
        },
        (Ok(Device(a)), Ok(Device(b))) => match device_note(a, b) {
            None => Verdict::Equal,
            Some(note) => Verdict::Note(note),
        },
        (Ok(Module(a)), Ok(Module(b))) => {
            if a.status != b.status || a.kernels != b.kernels {
                different()
            } else if (&a.info_log, &a.error_log) != (&b.info_log, &b.error_log) {
                Verdict::Note("A module's compiler messages differ from the recording's.".into())
            } else {
                Verdict::Equal
            }
        }
        (Ok(Function(a)), Ok(Function(b))) => {
            if (&a.params, a.param_bytes) != (&b.params, b.param_bytes) {
                different()
            } else if a != b {
                note("A kernel needs other resources")
            } else {
                Verdict::Equal
            }
        }
        (Ok(Count(a)), Ok(Count(b))) if a != b => {
            note("What a device can do, or how much of a kernel fits it, differs")
        }
        (a, b) if a == b => Verdict::Equal,
        _ => different(),
    }
}

/// How a device differs from that of the recording, in a sentence.
pub fn device_note(expected: &DeviceInfo, actual: &DeviceInfo) -> Option<String> {
    if expected == actual {
        return None;
    }
    if expected.name != actual.name {
        return Some(format!(
            "The recording was made on \"{}\" and is replayed on \"{}\".",
            expected.name, actual.name
        ));
    }
    let attributes = expected
        .attributes
        .iter()
        .filter(|pair| !actual.attributes.contains(pair))
        .count();
    Some(format!(
        "The device \"{}\" has changed since the recording ({attributes} attributes differ).",
        expected.name
    ))
}

/// An answer in a few words.
pub fn describe(answer: &Result<Reply, Status>) -> String {
    let text = match answer {
        Err(status) => return format!("error {}", status.0),
        Ok(Reply::Done) => return "success".into(),
        Ok(reply) => format!("{reply:?}"),
    };
    super::shorten(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::{Bytes, FunctionInfo, MemoryInfo};

    const F32: Option<Tolerance> = Some(Tolerance {
        element: Element::F32,
        limit: 1e-5,
    });
    const F64: Option<Tolerance> = Some(Tolerance {
        element: Element::F64,
        limit: 1e-9,
    });

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn f64s(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn without_a_tolerance_the_first_byte_that_differs_is_named() {
        let found = buffers(100, b"abcdef", b"abXdeY", None).unwrap();
        assert_eq!((found.offset, found.differing, found.compared), (102, 2, 6));
        assert_eq!((&*found.expected, &*found.actual), ("0x63", "0x58"));
        assert_eq!(buffers(0, b"same", b"same", None), None);
    }

    #[test]
    fn small_numbers_are_compared_absolutely_and_large_ones_relatively() {
        let expected = f32s(&[0.0, 1e-7, 1.0, 1e6]);
        let near = f32s(&[1e-6, 2e-7, 1.000_005, 1_000_005.0]);
        assert_eq!(buffers(0, &expected, &near, F32), None);
        let far = f32s(&[0.0, 1e-7, 1.0, 1_000_100.0]);
        let found = buffers(0, &expected, &far, F32).unwrap();
        assert_eq!((found.offset, found.differing), (12, 1));
        assert_eq!((&*found.expected, &*found.actual), ("1000000", "1000100"));
        let near = f64s(&[3.0 + 1e-10]);
        assert_eq!(buffers(0, &f64s(&[3.0]), &near, F64), None);
        assert!(buffers(0, &f64s(&[3.0]), &f64s(&[3.0 + 1e-7]), F64).is_some());
    }

    #[test]
    fn nan_equals_nan_and_infinities_only_themselves() {
        let quiet = f32s(&[f32::NAN]);
        let other = f32s(&[-f32::NAN]);
        assert_eq!(buffers(0, &quiet, &other, F32), None);
        assert!(buffers(0, &quiet, &f32s(&[1.0]), F32).is_some());
        let infinite = f32s(&[f32::INFINITY]);
        assert!(buffers(0, &infinite, &f32s(&[f32::NEG_INFINITY]), F32).is_some());
        assert!(buffers(0, &infinite, &f32s(&[f32::MAX]), F32).is_some());
    }

    #[test]
    fn small_integers_are_compared_exactly_even_with_a_tolerance() {
        let five = 5u32.to_le_bytes();
        let seven = 7u32.to_le_bytes();
        assert!(buffers(0, &five, &seven, F32).is_some());
        assert!(buffers(0, &[0; 4], &seven, F32).is_some());
    }

    #[test]
    fn elements_are_counted_from_the_buffers_beginning() {
        let expected = f32s(&[1.0, 2.0, 3.0]);
        let actual = f32s(&[1.0, 2.000_001, 3.0]);
        assert_eq!(buffers(2, &expected[2..], &actual[2..], F32), None);
        let found = buffers(6, &expected[6..], &f32s(&[1.0, 2.5, 3.0])[6..], F32).unwrap();
        assert_eq!(
            found.offset, 6,
            "a part of an element is compared by its bytes"
        );
        assert!(buffers(0, &expected[..11], &[0; 11], F32).is_some());
    }

    #[test]
    fn values_that_depend_on_time_are_not_compared() {
        let free = |free| Ok(Reply::Memory(MemoryInfo { free, total: 9 }));
        let verdict = answers(&free(1), &free(2), None);
        assert_eq!(verdict, Verdict::NotCompared);
        let elapsed = |ms| Ok(Reply::Milliseconds(ms));
        let verdict = answers(&elapsed(1.0), &elapsed(2.0), None);
        assert_eq!(verdict, Verdict::NotCompared);
        for then in [status::NOT_READY, status::DEINITIALIZED] {
            let verdict = answers(&Err(then), &Ok(Reply::Done), None);
            assert_eq!(verdict, Verdict::NotCompared);
        }
    }

    #[test]
    fn an_error_that_the_recording_does_not_have_is_a_difference() {
        let verdict = answers(&Ok(Reply::Done), &Err(Status(700)), None);
        let Verdict::Different(What::Value { expected, actual }) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!((&*expected, &*actual), ("success", "error 700"));
        let verdict = answers(&Ok(Reply::Done), &Err(status::NOT_READY), None);
        assert!(matches!(verdict, Verdict::Different(_)));
    }

    #[test]
    fn what_depends_on_the_device_and_its_compiler_is_noted() {
        let count = |n| Ok(Reply::Count(n));
        let verdict = answers(&count(1), &count(2), None);
        assert!(matches!(verdict, Verdict::Note(_)), "{verdict:?}");
        let kernel = FunctionInfo {
            params: vec![(0, 8)],
            param_bytes: 8,
            max_threads_per_block: 1024,
            static_shared: 0,
            const_bytes: 0,
            local_bytes: 0,
            registers: 16,
            ptx_version: 60,
            binary_version: 86,
            max_dynamic_shared: 48 << 10,
        };
        let thriftier = FunctionInfo {
            registers: 15,
            ..kernel.clone()
        };
        let function = |info: &FunctionInfo| Ok(Reply::Function(info.clone()));
        let verdict = answers(&function(&kernel), &function(&thriftier), None);
        assert!(matches!(verdict, Verdict::Note(_)), "{verdict:?}");
        let other_parameters = FunctionInfo {
            params: vec![(0, 4)],
            ..kernel.clone()
        };
        let verdict = answers(&function(&kernel), &function(&other_parameters), None);
        assert!(matches!(verdict, Verdict::Different(_)), "{verdict:?}");
    }

    #[test]
    fn data_of_another_length_is_a_difference() {
        let data = |len| Ok(Reply::Data(Bytes(vec![0; len])));
        assert!(matches!(
            answers(&data(4), &data(5), F32),
            Verdict::Different(_)
        ));
        assert_eq!(answers(&data(4), &data(4), F32), Verdict::Equal);
    }
}
