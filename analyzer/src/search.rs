// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds libraries as the loader does (ld.so(8), "Shared object dependencies").

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::elf::ElfFile;
use crate::ld_cache::LdCache;
use crate::library::Library;
use crate::map::MappedFile;
use crate::report::{NeededLibrary, Source};

/// Searched last.
const DEFAULT_FOLDERS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Where the multiarch systems have what others have in /lib.
const MULTIARCH: [(u16, &str); 2] = [
    (goblin::elf::header::EM_X86_64, "x86_64-linux-gnu"),
    (goblin::elf::header::EM_AARCH64, "aarch64-linux-gnu"),
];
/// No real program has as many libraries.
const MOST_LIBRARIES: usize = 2000;

/// Finds the libraries of one program.
pub(crate) struct Search<'o> {
    /// LD_LIBRARY_PATH.
    pub library_path: &'o [PathBuf],
}

/// What an object contributes to the search for its libraries.
#[derive(Clone)]
struct Object {
    /// The file, if it is not the one that is analysed.
    file: Option<PathBuf>,
    needed: Vec<String>,
    /// DT_RPATH of this object and of those that loaded it.
    rpath: Vec<PathBuf>,
    runpath: Option<Vec<PathBuf>>,
}

impl Object {
    fn new(elf: &ElfFile, path: &Path, file: Option<PathBuf>, loader: Option<&Self>) -> Self {
        let (rpath, runpath) = elf.search_paths();
        let machine = elf.machine();
        let expand = |folders: Vec<&str>| -> Vec<PathBuf> {
            folders
                .into_iter()
                .flat_map(|folder| expanded(folder, path, machine))
                .collect()
        };
        // DT_RPATH does not count beside DT_RUNPATH.
        let mut rpath = if runpath.is_empty() {
            expand(rpath)
        } else {
            Vec::new()
        };
        rpath.extend(
            loader
                .map(|loader| loader.rpath.clone())
                .unwrap_or_default(),
        );
        Self {
            file,
            needed: elf.needed().into_iter().map(str::to_owned).collect(),
            rpath,
            runpath: (!runpath.is_empty()).then(|| expand(runpath)),
        }
    }

    fn uses_cuda(&self) -> bool {
        self.needed
            .iter()
            .any(|name| Library::of_file_name(name).is_some())
    }
}

/// What [`Search::libraries`] found.
#[derive(Default)]
pub(crate) struct Found {
    /// The libraries that the file itself is linked with, and behind them those that are missing for other libraries.
    pub libraries: Vec<NeededLibrary>,
    /// The libraries that are not CUDA's own, and use CUDA.
    pub users: Vec<PathBuf>,
}

/// `$ORIGIN` and `$LIB` stand for the file's own folder, and for the system's name of a library folder.
fn expanded(folder: &str, file: &Path, machine: u16) -> Vec<PathBuf> {
    let origin = std::path::absolute(file)
        .ok()
        .and_then(|file| file.parent().map(Path::to_path_buf))
        .unwrap_or_default();
    let origin = origin.to_string_lossy();
    let folder = folder
        .replace("${ORIGIN}", &origin)
        .replace("$ORIGIN", &origin)
        .replace("${LIB}", "$LIB");
    match folder.as_str() {
        "" => Vec::new(),
        folder if folder.contains("$LIB") => {
            let multiarch = multiarch(machine).map(|name| format!("lib/{name}"));
            let names = ["lib64".to_owned(), "lib".to_owned()]
                .into_iter()
                .chain(multiarch);
            names
                .map(|name| folder.replace("$LIB", &name).into())
                .collect()
        }
        folder => vec![folder.into()],
    }
}

fn multiarch(machine: u16) -> Option<&'static str> {
    MULTIARCH
        .iter()
        .find(|(of, _)| *of == machine)
        .map(|(_, name)| *name)
}

impl Search<'_> {
    /// Goes through the libraries that `elf` is linked with, and through those that they are linked with.
    pub fn libraries(&self, elf: &ElfFile, path: &Path) -> Found {
        let machine = elf.machine();
        let mut found = Found::default();
        let mut known: HashMap<String, Source> = HashMap::new();
        let mut visited: HashSet<PathBuf> = HashSet::new();
        // Breadth first, as the loader goes.
        let mut queue = VecDeque::from([Object::new(elf, path, None, None)]);
        while let Some(object) = queue.pop_front() {
            for name in &object.needed {
                let first_time = !known.contains_key(name);
                if known.len() >= MOST_LIBRARIES && first_time {
                    return found;
                }
                let source = known
                    .entry(name.clone())
                    .or_insert_with(|| self.find(name, &object, machine))
                    .clone();
                if object.file.is_none() || (first_time && source == Source::Missing) {
                    found.libraries.push(NeededLibrary {
                        name: name.clone(),
                        library: Library::of_file_name(name),
                        source: source.clone(),
                        needed_by: object.file.clone(),
                    });
                }
                let Source::File(file) = source else { continue };
                if !first_time || !visited.insert(file.clone()) {
                    continue;
                }
                // A library that became unreadable since it was found has nothing to add.
                let Ok(mapped) = MappedFile::open(&file) else {
                    continue;
                };
                let Ok(elf) = ElfFile::parse(&mapped) else {
                    continue;
                };
                let next = Object::new(&elf, &file, Some(file.clone()), Some(&object));
                if Library::of_file_name(name).is_none() && next.uses_cuda() {
                    found.users.push(file);
                }
                queue.push_back(next);
            }
        }
        found
    }

    fn find(&self, name: &str, object: &Object, machine: u16) -> Source {
        if Library::of_file_name(name).is_some_and(Library::is_supplied) {
            return Source::Vcuda;
        }
        if name.contains('/') {
            return if is_library(Path::new(name), machine) {
                Source::File(name.into())
            } else {
                Source::Missing
            };
        }
        let rpath = object.rpath.iter().filter(|_| object.runpath.is_none());
        let runpath = object.runpath.iter().flatten();
        let in_folders = rpath
            .chain(self.library_path)
            .chain(runpath)
            .map(|folder| folder.join(name));
        let in_cache = ld_cache().find(name, machine).map(PathBuf::from);
        let multiarch = multiarch(machine)
            .into_iter()
            .flat_map(|arch| [format!("/lib/{arch}"), format!("/usr/lib/{arch}")]);
        let defaults = multiarch
            .chain(DEFAULT_FOLDERS.map(str::to_owned))
            .map(|folder| Path::new(&folder).join(name));
        let mut candidates = in_folders.chain(in_cache).chain(defaults);
        candidates
            .find(|candidate| is_library(candidate, machine))
            .map_or(Source::Missing, Source::File)
    }
}

/// Whether the loader would take this file: others it passes over.
fn is_library(path: &Path, machine: u16) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(b"\x7fELF") && header.ends_with(&machine.to_le_bytes())
}

fn ld_cache() -> &'static LdCache {
    static CACHE: OnceLock<LdCache> = OnceLock::new();
    CACHE.get_or_init(LdCache::of_system)
}
