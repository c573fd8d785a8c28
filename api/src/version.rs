// SPDX-License-Identifier: MIT OR Apache-2.0
//! Releases of CUDA, and the version nodes of libcudart.

use std::fmt;

/// A CUDA release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 13 of 13.0
    pub major: u8,
    /// 0 of 13.0
    pub minor: u8,
}

impl Version {
    /// The release `major.minor`.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// CUDA's own number for a release, as `cudaRuntimeGetVersion` gives it: 13.0 is 13000, 12.9 is 12090.
    pub const fn number(self) -> u32 {
        self.major as u32 * 1000 + self.minor as u32 * 10
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version node of libcudart. Each libcudart has one node, named like its SONAME, and puts all its symbols into it:
/// a program that was linked with CUDA 12 imports `cudaMalloc@libcudart.so.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The SONAME, which is also the name of the node.
    pub soname: &'static str,
    /// The first release with this SONAME.
    pub version: Version,
}

/// All version nodes, oldest first.
pub static NODES: [Node; 9] = [
    node("libcudart.so.9.0", 9, 0),
    node("libcudart.so.9.1", 9, 1),
    node("libcudart.so.9.2", 9, 2),
    node("libcudart.so.10.0", 10, 0),
    node("libcudart.so.10.1", 10, 1),
    node("libcudart.so.10.2", 10, 2),
    node("libcudart.so.11.0", 11, 0),
    node("libcudart.so.12", 12, 0),
    node("libcudart.so.13", 13, 0),
];

const fn node(soname: &'static str, major: u8, minor: u8) -> Node {
    Node {
        soname,
        version: Version::new(major, minor),
    }
}

impl Node {
    /// The node with this name.
    pub fn named(soname: &str) -> Option<&'static Self> {
        NODES.iter().find(|node| node.soname == soname)
    }
}
