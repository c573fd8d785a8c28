// SPDX-License-Identifier: MIT OR Apache-2.0
//! Special registers that differ between launches, blocks or warps (PTX ISA, "Special Registers").
//! Those that depend on the lane alone are constants; clocks are read by an instruction.

use super::code::{Base, LANES, Row};

/// A special register kept as a row. Rows are 256 bytes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub(crate) enum Special {
    TidX,
    TidY,
    TidZ,
    NtidX,
    NtidY,
    NtidZ,
    CtaidX,
    CtaidY,
    CtaidZ,
    NctaidX,
    NctaidY,
    NctaidZ,
    WarpId,
    NWarpId,
    SmId,
    NSmId,
    GridId,
    DynamicShared,
    TotalShared,
    WorkspaceHigh,
    WorkspaceLow,
}

const ROW: u32 = 256;

impl Special {
    pub const ALL: [Special; 21] = [
        Special::TidX,
        Special::TidY,
        Special::TidZ,
        Special::NtidX,
        Special::NtidY,
        Special::NtidZ,
        Special::CtaidX,
        Special::CtaidY,
        Special::CtaidZ,
        Special::NctaidX,
        Special::NctaidY,
        Special::NctaidZ,
        Special::WarpId,
        Special::NWarpId,
        Special::SmId,
        Special::NSmId,
        Special::GridId,
        Special::DynamicShared,
        Special::TotalShared,
        Special::WorkspaceHigh,
        Special::WorkspaceLow,
    ];

    /// Bytes of all rows.
    pub const BYTES: usize = Special::ALL.len() * ROW as usize;

    /// Its row.
    pub const fn row(self) -> Row {
        Row::new(Base::Special, self as u32 * ROW)
    }

    /// Its bit in a set.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What the special registers of a launch are made of.
pub(crate) struct LaunchShape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub total_shared: u32,
    pub grid_id: u64,
    pub workers: u32,
    /// Whether the launch has a work space.
    pub cooperative: bool,
    /// Which special registers the kernel reads.
    pub used: u32,
    /// What its blocks do, if that is watched.
    pub traffic: Option<std::sync::Arc<super::traffic::Traffic>>,
    /// `%tid` of each thread of each warp.
    tids: Vec<[[u32; LANES]; 3]>,
}

impl LaunchShape {
    pub fn new(grid: [u32; 3], block: [u32; 3], used: u32) -> LaunchShape {
        let threads = block.iter().product::<u32>();
        let warps = threads.div_ceil(LANES as u32) as usize;
        let mut tids = Vec::new();
        if used & (Special::TidX.bit() | Special::TidY.bit() | Special::TidZ.bit()) != 0 {
            tids = vec![[[0; LANES]; 3]; warps];
            let [mut x, mut y, mut z] = [0; 3];
            for [xs, ys, zs] in &mut tids {
                for ((to_x, to_y), to_z) in xs.iter_mut().zip(ys).zip(zs) {
                    (*to_x, *to_y, *to_z) = (x, y, z);
                    x += 1;
                    if x == block[0] {
                        x = 0;
                        y += 1;
                        if y == block[1] {
                            y = 0;
                            z += 1;
                        }
                    }
                }
            }
        }
        LaunchShape {
            grid,
            block,
            dynamic_shared: 0,
            total_shared: 0,
            grid_id: 0,
            workers: 1,
            cooperative: false,
            used,
            traffic: None,
            tids,
        }
    }

    /// `%tid` of a thread.
    pub fn thread(&self, index: u32) -> [u32; 3] {
        let [x, y, _] = self.block.map(|extent| extent.max(1));
        [index % x, index / x % y, index / x / y]
    }

    /// `%ctaid` of a block.
    pub fn ctaid(&self, index: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(|extent| u64::from(extent.max(1)));
        [
            (index % x) as u32,
            (index / x % y) as u32,
            (index / x / y) as u32,
        ]
    }

    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub fn warps(&self) -> u32 {
        self.threads().div_ceil(LANES as u32)
    }

    /// Writes the special registers of a warp. `written` is the launch whose registers the rows
    /// held before: what is the same for the whole launch is only written once.
    ///
    /// # Safety
    /// `rows` has [`Special::BYTES`] bytes, aligned to 64.
    pub unsafe fn write(
        &self,
        rows: *mut u8,
        ctaid: [u32; 3],
        warp: u32,
        worker: u32,
        written: &mut u64,
    ) {
        let spread = |special: Special, value: u32| {
            if self.used & special.bit() != 0 {
                // SAFETY: each special register has a row of 256 bytes in the caller's block.
                unsafe {
                    rows.add(special.row().offset())
                        .cast::<[u32; LANES]>()
                        .write([value; LANES])
                };
            }
        };
        if let Some(tids) = self.tids.get(warp as usize) {
            for (special, values) in [Special::TidX, Special::TidY, Special::TidZ]
                .into_iter()
                .zip(tids)
            {
                if self.used & special.bit() != 0 {
                    // SAFETY: as above.
                    unsafe {
                        rows.add(special.row().offset())
                            .cast::<[u32; LANES]>()
                            .write(*values)
                    };
                }
            }
        }
        spread(Special::CtaidX, ctaid[0]);
        spread(Special::CtaidY, ctaid[1]);
        spread(Special::CtaidZ, ctaid[2]);
        spread(Special::WarpId, warp);
        if *written == self.grid_id {
            return;
        }
        *written = self.grid_id;
        spread(Special::NtidX, self.block[0]);
        spread(Special::NtidY, self.block[1]);
        spread(Special::NtidZ, self.block[2]);
        spread(Special::NctaidX, self.grid[0]);
        spread(Special::NctaidY, self.grid[1]);
        spread(Special::NctaidZ, self.grid[2]);
        spread(Special::NWarpId, self.warps());
        spread(Special::SmId, worker);
        spread(Special::NSmId, self.workers);
        spread(Special::DynamicShared, self.dynamic_shared);
        spread(Special::TotalShared, self.total_shared);
        let workspace = if self.cooperative {
            super::window::start(super::window::LAUNCH)
        } else {
            0
        };
        spread(Special::WorkspaceHigh, (workspace >> 32) as u32);
        spread(Special::WorkspaceLow, workspace as u32);
        if self.used & Special::GridId.bit() != 0 {
            // SAFETY: as above.
            unsafe {
                rows.add(Special::GridId.row().offset())
                    .cast::<[u64; LANES]>()
                    .write([self.grid_id; LANES])
            };
        }
    }
}
