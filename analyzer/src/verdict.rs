// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what was found to what will happen.

use std::path::PathBuf;

use crate::coverage::{self, Status};
use crate::elf::ElfFile;
use crate::library::Library;
use crate::report::{Code, Import, NeededLibrary, Source, StaticRuntime, Verdict};

/// What the verdict is made of.
pub(crate) struct Findings<'f> {
    pub imports: &'f [Import],
    pub static_runtime: Option<&'f StaticRuntime>,
    pub loads: &'f [String],
    pub libraries: &'f [NeededLibrary],
    pub users: &'f [PathBuf],
    pub code: &'f Code,
    pub compute_capability: u32,
}

impl Findings<'_> {
    pub fn verdict(&self, elf: &ElfFile) -> Verdict {
        // A missing library of a file that does not use CUDA is none of our business.
        if !self.uses_cuda() {
            return Verdict::NoCuda;
        }
        let mut functions: Vec<String> = Vec::new();
        let mut reasons = self.reasons_of_loading(elf);
        let mut exceptions = Vec::new();
        let mut notes = Vec::new();

        for import in self
            .imports
            .iter()
            .filter(|import| !import.weak && import.status != Status::Implemented)
        {
            functions.push(import.name.clone());
        }
        if let Some(runtime) = self.static_runtime {
            self.add_static_runtime(runtime, &mut functions, &mut reasons, &mut notes);
        }
        self.add_code(&mut reasons, &mut exceptions, &mut notes);
        for name in self.loads {
            match Library::of_file_name(name) {
                Some(library) if library.is_supplied() => {}
                _ => notes.push(format!(
                    "It loads {name} while it runs, which vcuda does not supply."
                )),
            }
        }

        for library in self.users {
            notes.push(format!(
                "Its library {} uses CUDA too: analyze it as well.",
                library.display()
            ));
        }
        functions.dedup();
        if !reasons.is_empty() {
            Verdict::CannotRun {
                reasons,
                functions,
                notes,
            }
        } else if functions.is_empty() && exceptions.is_empty() {
            Verdict::Runs { notes }
        } else {
            Verdict::RunsExcept {
                functions,
                exceptions,
                notes,
            }
        }
    }

    fn uses_cuda(&self) -> bool {
        let links_cuda = self
            .libraries
            .iter()
            .any(|needed| needed.needed_by.is_none() && needed.library.is_some());
        !self.imports.is_empty()
            || self.static_runtime.is_some()
            || !self.loads.is_empty()
            || links_cuda
            || !self.users.is_empty()
            || self.code.containers > 0
            || !self.code.errors.is_empty()
    }

    fn reasons_of_loading(&self, elf: &ElfFile) -> Vec<String> {
        let mut reasons = Vec::new();
        for needed in self
            .libraries
            .iter()
            .filter(|needed| needed.source == Source::Missing)
        {
            let by = needed
                .needed_by
                .as_ref()
                .map(|file| format!(", which {} needs,", file.display()))
                .unwrap_or_default();
            reasons.push(format!(
                "The library {}{by} is not found: install it, or put its folder into LD_LIBRARY_PATH.",
                needed.name
            ));
        }
        if elf.is_object_file() {
            reasons.push("It is an object file, which must be linked first.".to_owned());
        } else if !elf.is_dynamic() {
            reasons.push(
                "It is linked without a dynamic loader (-static), so no library can be put before it: link it dynamically."
                    .to_owned(),
            );
        }
        let unknown = self
            .imports
            .iter()
            .filter(|import| import.status == Status::Unknown && !import.weak);
        let unknown: Vec<_> = unknown.map(|import| import.name.as_str()).collect();
        if elf.binds_now() && !unknown.is_empty() {
            reasons.push(format!(
                "It asks for all of its functions at the start (BIND_NOW), and vcuda does not know {}: build skeletons for \
                 them with --stubs, or link with -z lazy.",
                unknown.join(", ")
            ));
        }
        reasons
    }

    fn add_static_runtime(
        &self,
        runtime: &StaticRuntime,
        functions: &mut Vec<String>,
        reasons: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) {
        let missing =
            |name: &&String| coverage::status(Library::Runtime, name, None) != Status::Implemented;
        functions.extend(runtime.called.iter().flatten().filter(missing).cloned());
        if runtime.loads_shared {
            notes
                .push("It loads libcudart at the first call, which vcuda run supplies.".to_owned());
            return;
        }
        reasons.push(
            "The CUDA runtime is linked in, and it talks to the driver over interfaces that vcuda does not have: link with \
             nvcc --cudart shared."
                .to_owned(),
        );
        if runtime.called.is_none() {
            notes.push("Which functions of the runtime it calls cannot be told, since its symbols were stripped.".to_owned());
        }
    }

    fn add_code(
        &self,
        reasons: &mut Vec<String>,
        exceptions: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) {
        let code = self.code;
        let no_ptx = code.without_ptx;
        let (major, minor) = (self.compute_capability / 10, self.compute_capability % 10);
        let arches = |kind: &str| {
            let mut arches: Vec<&str> = code
                .entries
                .iter()
                .filter(|entry| entry.kind == kind)
                .map(|entry| entry.arch.as_str())
                .collect();
            arches.sort_unstable();
            arches.dedup();
            arches.join(", ")
        };
        if no_ptx > 0 {
            let advice = "compile with PTX, e.g. nvcc -gencode arch=compute_80,code=compute_80";
            if no_ptx == code.containers {
                let made_for = match arches("SASS") {
                    arches if arches.is_empty() => "code for NVIDIA's linker only".to_owned(),
                    arches => format!("machine code for {arches} only"),
                };
                reasons.push(format!(
                    "Its kernels are {made_for}, and a device without a GPU runs PTX: {advice}."
                ));
            } else {
                let total = code.containers;
                exceptions.push(format!("{no_ptx} of its {total} fat binaries hold no PTX, so their kernels cannot be launched: {advice}."));
            }
        }
        if code.too_new > 0 {
            let text = format!(
                "the PTX of {} of its {} fat binaries is for {}, and the device has compute capability {major}.{minor}",
                code.too_new,
                code.containers,
                arches("PTX")
            );
            if code.too_new + no_ptx == code.containers {
                reasons.push(format!("No kernel can be launched: {text}."));
            } else {
                exceptions.push(format!("Some kernels cannot be launched: {text}."));
            }
        }
        notes.extend(code.errors.iter().cloned());
    }
}
