// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text for people: what kernels print, and sentences on standard error.

use std::io::Write;
use std::sync::OnceLock;

pub use vcuda_protocol::output::Channel;

/// Takes text that belongs to a program of which this process has neither standard output nor
/// standard error.
pub type Sink = Box<dyn Fn(Channel, &[u8]) + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();

/// From now on text goes to `sink`; sentences go to this process's standard error too, where
/// whoever runs it looks for them. Only the first call counts.
pub fn redirect(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Whether text goes to a [`Sink`]: this process's standard output is not the program's.
pub fn is_redirected() -> bool {
    SINK.get().is_some()
}

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
    print_error(format!("vcuda: {sentence}\n").as_bytes());
}

/// Writes to standard error as it is, in one write.
pub fn print_error(text: &[u8]) {
    let _ = std::io::stderr().write_all(text);
    if let Some(sink) = SINK.get() {
        sink(Channel::Error, text);
    }
}

/// Writes what kernels print to the program's standard output. Where that is closed or full, the
/// text is lost, as in a kernel nobody can be told.
pub fn print(text: &[u8]) {
    match SINK.get() {
        Some(sink) => sink(Channel::Output, text),
        None => {
            let mut output = std::io::stdout().lock();
            let _ = output.write_all(text);
            let _ = output.flush();
        }
    }
}
