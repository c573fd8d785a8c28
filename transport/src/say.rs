// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sentences for people, on standard error.

/// Says a sentence on standard error, in one write, behind `vcuda: `. Unlike `eprintln!` it goes on
/// where standard error is closed or full: the program whose process this is must not end for that.
///
/// ```
/// vcuda_transport::say!("The worker {} ended.", 7);
/// ```
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::say_line(format_args!($($argument)*))
    };
}

/// What [`say!`](crate::say) does.
pub fn say_line(sentence: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let line = format!("vcuda: {sentence}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
