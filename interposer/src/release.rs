// SPDX-License-Identifier: MIT OR Apache-2.0
//! The release of CUDA that the program was made for, where its errors depend on it.
//!
//! CUDA 10.1 gave most runtime errors new numbers, those of the Driver API: a program of 10.0 that
//! polls cudaStreamQuery waits for 34 to end, not for 600. CUDA 13 returns other errors for wrong
//! launches. The release is seen from the version nodes that the process's objects import from
//! libcudart. The caller of a function cannot be told apart, so the newest of them counts.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use vcuda_api::{NODES, Node, Version};

/// The first release with today's numbers.
const RENUMBERED: Version = Version::new(10, 1);

/// The number of an error that the program expects.
pub(crate) fn outward(code: u32) -> u32 {
    match code != 0 && is_before(RENUMBERED) {
        true => vcuda_api::error::before_10_1(code),
        false => code,
    }
}

/// The error that the program means by a number.
pub(crate) fn inward(number: u32) -> u32 {
    match number != 0 && is_before(RENUMBERED) {
        // What the old numbering does not have is no error of it.
        true => vcuda_api::error::from_before_10_1(number).unwrap_or(u32::MAX),
        false => number,
    }
}

/// Whether the program was made for a libcudart before a release. One that asks for no version is
/// as new as can be.
pub(crate) fn is_before(release: Version) -> bool {
    newest().is_some_and(|node| node.version < release)
}

/// What was found when so many objects had been loaded: `loads * BASE`, plus the number of nodes up
/// to and including the newest.
static FOUND: AtomicU64 = AtomicU64::new(0);
const BASE: u64 = 1 << 8;

/// The newest version node that an object of the process needs. The objects are only looked at
/// again when more have been loaded.
fn newest() -> Option<&'static Node> {
    let found = FOUND.load(Ordering::Relaxed);
    let mut scan = Scan {
        known: found / BASE,
        ..Scan::default()
    };
    // SAFETY: the callback is called with the argument that is given here, and while this runs.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut scan).cast()) };
    let newest = match scan.loads == scan.known {
        true => found % BASE,
        false => {
            FOUND.store(scan.loads * BASE + scan.newest, Ordering::Relaxed);
            scan.newest
        }
    };
    NODES.get((newest as usize).checked_sub(1)?)
}

#[derive(Default)]
struct Scan {
    /// The number of loads at the last scan, and now.
    known: u64,
    loads: u64,
    /// The number of nodes up to and including the newest that was seen.
    newest: u64,
}

impl Scan {
    fn saw(&mut self, version: &CStr) {
        let node = NODES
            .iter()
            .position(|node| node.soname.as_bytes() == version.to_bytes());
        if let Some(index) = node {
            self.newest = self.newest.max(index as u64 + 1);
        }
    }
}

/// Looks at the versions that one object needs. Not 0: no further object is to be looked at.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, scan: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr passes the argument that it was given, which nothing else uses now.
    let scan = unsafe { &mut *scan.cast::<Scan>() };
    // SAFETY: dl_iterate_phdr passes a valid description of an object.
    let info = unsafe { &*info };
    scan.loads = info.dlpi_adds;
    if scan.loads == scan.known {
        return 1;
    }
    // SAFETY: the object that is described is loaded, and stays so during the call.
    unsafe { needed_versions(info, |version| scan.saw(version)) };
    0
}

/// Calls `f` with each version that an object needs of others (gabi, "Dynamic Section"; LSB,
/// "Symbol Versioning").
///
/// # Safety
/// `info` describes a loaded object.
unsafe fn needed_versions(info: &libc::dl_phdr_info, mut f: impl FnMut(&CStr)) {
    const PT_DYNAMIC: u32 = 2;
    const DT_STRTAB: i64 = 5;
    const DT_VERNEED: i64 = 0x6fff_fffe;
    /// `Elf64_Dyn`, `Elf64_Verneed` and `Elf64_Vernaux`
    #[repr(C)]
    struct Dynamic {
        tag: i64,
        value: u64,
    }
    #[repr(C)]
    struct Needed {
        version: u16,
        count: u16,
        file: u32,
        first: u32,
        next: u32,
    }
    #[repr(C)]
    struct Version {
        hash: u32,
        flags: u16,
        other: u16,
        name: u32,
        next: u32,
    }
    let headers = match info.dlpi_phdr.is_null() {
        true => return,
        // SAFETY: the program headers of a loaded object, as many as it says.
        false => unsafe {
            std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum))
        },
    };
    let Some(header) = headers.iter().find(|h| h.p_type == PT_DYNAMIC) else {
        return;
    };
    let mut entry = info.dlpi_addr.wrapping_add(header.p_vaddr) as *const Dynamic;
    let (mut strings, mut needed) = (0, 0);
    loop {
        // SAFETY: the dynamic section of a loaded object ends with an entry whose tag is 0.
        let Dynamic { tag, value } = unsafe { entry.read() };
        match tag {
            0 => break,
            DT_STRTAB => strings = value,
            DT_VERNEED => needed = value,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }
    if strings == 0 || needed == 0 {
        return;
    }
    // The loader turns the addresses in this section into absolute ones on most architectures.
    let absolute = |address: u64| match address < info.dlpi_addr {
        true => address + info.dlpi_addr,
        false => address,
    };
    let strings = absolute(strings);
    let mut file = absolute(needed);
    loop {
        // SAFETY: the list of needed versions lies where the object says; its entries are linked.
        let this = unsafe { (file as *const Needed).read() };
        let mut version = file + u64::from(this.first);
        for _ in 0..this.count {
            // SAFETY: as above, each file's versions are linked, and as many as it says.
            let one = unsafe { (version as *const Version).read() };
            let name = strings + u64::from(one.name);
            // SAFETY: names lie in the object's string table and end with NUL.
            f(unsafe { CStr::from_ptr(name as *const c_char) });
            version += u64::from(one.next);
        }
        if this.next == 0 {
            break;
        }
        file += u64::from(this.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_a_loaded_object_needs_are_found() {
        unsafe extern "C" fn collect(
            info: *mut libc::dl_phdr_info,
            _size: usize,
            names: *mut c_void,
        ) -> c_int {
            // SAFETY: the argument that dl_iterate_phdr is given below.
            let names = unsafe { &mut *names.cast::<Vec<String>>() };
            // SAFETY: dl_iterate_phdr passes a valid description of a loaded object.
            unsafe { needed_versions(&*info, |n| names.push(n.to_string_lossy().into_owned())) };
            0
        }
        let mut names = Vec::<String>::new();
        // SAFETY: the callback takes the argument that is given here.
        unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
        assert!(
            names.iter().any(|name| name.starts_with("GLIBC_")),
            "{names:?}"
        );
    }

    #[test]
    fn a_process_without_libcudart_is_as_new_as_can_be() {
        assert!(!is_before(Version::new(99, 0)));
        assert_eq!(outward(600), 600);
        assert_eq!(inward(600), 600);
    }

    #[test]
    fn the_newest_version_that_is_needed_counts() {
        let mut scan = Scan::default();
        let mut newest = |version| {
            scan.saw(version);
            (scan.newest as usize)
                .checked_sub(1)
                .map(|index| NODES[index].soname)
        };
        assert_eq!(newest(c"GLIBC_2.2.5"), None);
        assert_eq!(newest(c"libcudart.so.10.0"), Some("libcudart.so.10.0"));
        assert_eq!(newest(c"libcudart.so.12"), Some("libcudart.so.12"));
        assert_eq!(newest(c"libcudart.so.9.0"), Some("libcudart.so.12"));
    }
}
