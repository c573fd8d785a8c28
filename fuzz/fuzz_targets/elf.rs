// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file for `vcuda analyze`.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};

use libfuzzer_sys::fuzz_target;
use vcuda_analyzer::{Options, analyze, render_table};

thread_local! {
    static FILE: RefCell<tempfile::NamedTempFile> = RefCell::new(tempfile::NamedTempFile::new().expect("a temporary file"));
}

fuzz_target!(|data: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("the file can be emptied");
        file.seek(SeekFrom::Start(0)).expect("the file can be rewound");
        file.write_all(data).expect("the file can be written");
        for report in analyze(&[file.path()], &Options::default()) {
            let _ = render_table(&report, 80);
        }
    });
});
