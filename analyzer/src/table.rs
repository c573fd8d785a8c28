// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report as text for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::coverage::Status;
use crate::library::Library;
use crate::report::{
    Code, FileReport, Import, Kernel, NeededLibrary, Outcome, Report, Source, Verdict,
};

/// Column of the text beside the headings.
const INDENT: usize = 12;
/// Narrower than this nothing is readable, so it runs over.
const NARROWEST: usize = 40;

/// The report as text of at most `width` columns (names that are longer stay in one piece), each line ended.
pub fn render_table(file: &FileReport, width: usize) -> String {
    let mut page = Page {
        text: String::new(),
        width: width.max(NARROWEST),
        heading: "",
    };
    page.line(&file.path.display().to_string(), 0);
    match &file.result {
        Outcome::Unreadable { error } => page.section("verdict", |page| page.paragraph(error)),
        Outcome::Analyzed(report) => render_report(&mut page, report),
    }
    page.text
}

fn render_report(page: &mut Page, report: &Report) {
    page.section("verdict", |page| render_verdict(page, &report.verdict));
    page.section("file", |page| {
        page.paragraph(&format!("{}, {}", report.kind, bytes(report.bytes)))
    });
    if report.verdict == Verdict::NoCuda {
        return;
    }
    page.section("runtime", |page| {
        if let Some(runtime) = &report.static_runtime {
            let release = runtime
                .release
                .as_ref()
                .map(|release| format!("CUDA {release}, "))
                .unwrap_or_default();
            let how = if runtime.loads_shared {
                "loaded at the first call"
            } else {
                "linked in"
            };
            let how = format!("{release}{how}");
            let called = runtime
                .called
                .as_ref()
                .map(|called| format!("{how}; calls {} of its functions:", called.len()));
            page.paragraph(&called.unwrap_or(how));
            page.list(runtime.called.iter().flatten().map(String::as_str));
        }
        for name in &report.loads {
            page.paragraph(&format!("loads {name} by name"));
        }
    });
    page.section("libraries", |page| {
        report
            .libraries
            .iter()
            .for_each(|needed| render_library(page, needed))
    });
    page.section("functions", |page| render_imports(page, &report.imports));
    page.section("code", |page| render_code(page, &report.code));
    page.section("kernels", |page| render_kernels(page, &report.code));
}

fn render_verdict(page: &mut Page, verdict: &Verdict) {
    let (headline, functions, sentences, notes) = match verdict {
        Verdict::NoCuda => return page.paragraph("uses no CUDA"),
        Verdict::Runs { notes } => ("runs".to_owned(), &[][..], &[][..], notes),
        Verdict::RunsExcept {
            functions,
            exceptions,
            notes,
        } if functions.is_empty() => (
            "runs, except for this:".to_owned(),
            functions.as_slice(),
            exceptions.as_slice(),
            notes,
        ),
        Verdict::RunsExcept {
            functions,
            exceptions,
            notes,
        } => {
            let headline = format!("runs, except for {}:", count(functions.len(), "function"));
            (headline, functions.as_slice(), exceptions.as_slice(), notes)
        }
        Verdict::CannotRun {
            reasons,
            functions,
            notes,
        } => (
            "cannot run:".to_owned(),
            functions.as_slice(),
            reasons.as_slice(),
            notes,
        ),
    };
    page.paragraph(&headline);
    if matches!(verdict, Verdict::RunsExcept { .. }) {
        page.list(functions.iter().map(String::as_str));
    }
    sentences.iter().for_each(|sentence| page.item(sentence));
    if matches!(verdict, Verdict::CannotRun { .. }) && !functions.is_empty() {
        page.item(&format!(
            "Besides, {} would be missing:",
            count(functions.len(), "function")
        ));
        page.list(functions.iter().map(String::as_str));
    }
    notes.iter().for_each(|note| page.item(note));
}

fn render_library(page: &mut Page, needed: &NeededLibrary) {
    let where_from = match &needed.source {
        Source::Vcuda => "from vcuda".to_owned(),
        Source::File(path) if needed.library.is_some() => path.display().to_string(),
        // Where the C library is concerns nobody.
        Source::File(_) => return,
        Source::Missing => "NOT FOUND".to_owned(),
    };
    let by = needed
        .needed_by
        .as_ref()
        .map(|file| format!(" (needed by {})", file.display()))
        .unwrap_or_default();
    page.paragraph(&format!("{:<24} {where_from}{by}", needed.name));
}

fn render_imports(page: &mut Page, imports: &[Import]) {
    let mut groups: BTreeMap<(Library, Option<&str>), Vec<&Import>> = BTreeMap::new();
    for import in imports {
        groups
            .entry((import.library, import.version.as_deref()))
            .or_default()
            .push(import);
    }
    for ((library, version), imports) in groups {
        let version = version.map_or_else(
            || format!("{}, without a version", library.stem()),
            str::to_owned,
        );
        page.paragraph(&format!(
            "{version}: {} imported",
            count(imports.len(), "function")
        ));
        for (status, what) in [
            (Status::Unknown, "not known to vcuda"),
            (Status::NotSupplied, "not supplied by vcuda"),
            (Status::Stub, "not implemented, return an error"),
            (Status::Implemented, "implemented"),
        ] {
            let names: Vec<&str> = imports
                .iter()
                .filter(|import| import.status == status)
                .map(|import| import.name.as_str())
                .collect();
            if !names.is_empty() {
                page.item(&format!("{} {what}:", names.len()));
                page.list(names.into_iter());
            }
        }
    }
}

fn render_code(page: &mut Page, code: &Code) {
    if code.containers == 0 {
        return;
    }
    page.paragraph(&count(code.containers, "fat binary"));
    let mut groups: BTreeMap<_, (usize, u64)> = BTreeMap::new();
    for entry in &code.entries {
        let key = (
            &entry.kind,
            entry.arch.len(),
            &entry.arch,
            &entry.ptx_version,
            &entry.compression,
        );
        let (entries, bytes) = groups.entry(key).or_default();
        *entries += 1;
        *bytes = bytes.saturating_add(entry.bytes);
    }
    for ((kind, _, arch, version, compression), (entries, size)) in groups {
        let kind = version
            .as_ref()
            .map_or_else(|| kind.clone(), |version| format!("{kind} {version}"));
        let entries = if entries == 1 {
            "1 entry".to_owned()
        } else {
            format!("{entries} entries")
        };
        page.paragraph(&format!(
            "{kind:<10} {arch:<9} {entries:>12} {:>10}  {compression}",
            bytes(size)
        ));
    }
}

fn render_kernels(page: &mut Page, code: &Code) {
    for Kernel {
        name,
        demangled,
        param_bytes,
        params,
        has_ptx,
    } in &code.kernels
    {
        let sizes: Vec<String> = params
            .iter()
            .map(|param| format!("{}:{}", param.offset, param.size))
            .collect();
        let params = match sizes.len() {
            0 => "no parameters".to_owned(),
            _ => format!(
                "{}, at offset:size {}",
                bytes((*param_bytes).into()),
                sizes.join(" ")
            ),
        };
        let without = if *has_ptx { "" } else { " (no PTX)" };
        page.item(&format!("{}{without}", demangled.as_ref().unwrap_or(name)));
        page.indented(&params);
    }
    if code.not_listed > 0 {
        page.paragraph(&format!(
            "not listed: {} hold too much code to go through",
            count(code.not_listed, "fat binary")
        ));
    }
}

/// `1 library`, `2 libraries`
pub(crate) fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

fn bytes(number: u64) -> String {
    let scaled = |unit: u64| number as f64 / unit as f64;
    match number {
        0..1024 => format!("{number} bytes"),
        1024..0x10_0000 => format!("{:.1} KiB", scaled(1 << 10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", scaled(1 << 20)),
        _ => format!("{:.1} GiB", scaled(1 << 30)),
    }
}

/// Text in two columns: headings on the left, wrapped text on the right.
struct Page {
    text: String,
    width: usize,
    heading: &'static str,
}

impl Page {
    /// What `body` writes, beside the heading; nothing if it writes nothing.
    fn section(&mut self, heading: &'static str, body: impl FnOnce(&mut Self)) {
        self.heading = heading;
        body(self);
        self.heading = "";
    }

    /// A line of the right column, `deeper` by some columns.
    fn line(&mut self, text: &str, deeper: usize) {
        // Names come out of files that anybody can make: nothing in them may reach the terminal as a command.
        let text: String = text
            .chars()
            .flat_map(|c| {
                if c.is_control() {
                    c.escape_default().collect()
                } else {
                    vec![c]
                }
            })
            .collect();
        // The path is the first line, and has no heading.
        let margin = if self.text.is_empty() {
            0
        } else {
            INDENT + deeper
        };
        let heading = std::mem::take(&mut self.heading);
        let left = if heading.is_empty() {
            String::new()
        } else {
            format!("  {heading}")
        };
        let _ = writeln!(self.text, "{left:<margin$}{}", text.trim_end());
    }

    /// Wrapped text, its later lines indented by `hanging`.
    fn wrapped(&mut self, words: impl Iterator<Item = String>, first: &str, deeper: usize) {
        let room = self.width - INDENT - deeper;
        let mut line = first.to_owned();
        let mut is_fresh = true;
        for word in words {
            if !is_fresh && line.chars().count() + 1 + word.chars().count() > room {
                self.line(&line, deeper);
                line = " ".repeat(first.len());
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(&word);
            is_fresh = false;
        }
        self.line(&line, deeper);
    }

    fn paragraph(&mut self, text: &str) {
        self.wrapped(text.split(' ').map(str::to_owned), "", 0);
    }

    fn item(&mut self, text: &str) {
        self.wrapped(text.split(' ').map(str::to_owned), "- ", 0);
    }

    fn indented(&mut self, text: &str) {
        self.wrapped(text.split(' ').map(str::to_owned), "", 4);
    }

    /// Names, separated by commas.
    fn list<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let mut names = names.peekable();
        let mut words = Vec::new();
        while let Some(name) = names.next() {
            words.push(if names.peek().is_some() {
                format!("{name},")
            } else {
                name.to_owned()
            });
        }
        if !words.is_empty() {
            self.wrapped(words.into_iter(), "", 4);
        }
    }
}
