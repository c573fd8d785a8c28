// SPDX-License-Identifier: MIT OR Apache-2.0
//! Special registers that differ between launches, blocks or warps (PTX ISA, "Special Registers").
//! Those that depend on the lane alone are constants; clocks are read by an instruction.

use super::code::{Base, LANES, Row};

/// A special register kept as a row of words; that of the grid, the last one, of double words.
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
    DynamicShared,
    TotalShared,
    WorkspaceHigh,
    WorkspaceLow,
    GridId,
}

const ROW: u32 = 4 * LANES as u32;

impl Special {
    /// Bytes of all rows.
    pub const BYTES: usize = (Special::GridId as u32 + 2) as usize * ROW as usize;

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

    /// Writes a special register that is the same for all lanes, if the kernel reads it.
    ///
    /// # Safety
    /// `rows` has [`Special::BYTES`] bytes, aligned to 64.
    #[inline(always)]
    unsafe fn spread(&self, rows: *mut u8, special: Special, value: u32) {
        if self.used & special.bit() != 0 {
            // SAFETY: each special register has a row in the caller's bytes.
            unsafe {
                rows.add(special.row().offset())
                    .cast::<[u32; LANES]>()
                    .write([value; LANES])
            };
        }
    }

    /// Writes the special registers that depend on the block.
    ///
    /// # Safety
    /// As for `spread`.
    #[inline(always)]
    pub unsafe fn write_block(&self, rows: *mut u8, ctaid: [u32; 3]) {
        // SAFETY: the caller vouches for the rows.
        unsafe {
            self.spread(rows, Special::CtaidX, ctaid[0]);
            self.spread(rows, Special::CtaidY, ctaid[1]);
            self.spread(rows, Special::CtaidZ, ctaid[2]);
        }
    }

    /// Writes those that are the same for a warp in all blocks of the launch.
    ///
    /// # Safety
    /// As for `spread`.
    pub unsafe fn write_warp(&self, rows: *mut u8, warp: u32, worker: u32) {
        let workspace = if self.cooperative {
            super::window::start(super::window::LAUNCH)
        } else {
            0
        };
        let values = [
            (Special::WarpId, warp),
            (Special::NtidX, self.block[0]),
            (Special::NtidY, self.block[1]),
            (Special::NtidZ, self.block[2]),
            (Special::NctaidX, self.grid[0]),
            (Special::NctaidY, self.grid[1]),
            (Special::NctaidZ, self.grid[2]),
            (Special::NWarpId, self.warps()),
            (Special::SmId, worker),
            (Special::NSmId, self.workers),
            (Special::DynamicShared, self.dynamic_shared),
            (Special::TotalShared, self.total_shared),
            (Special::WorkspaceHigh, (workspace >> 32) as u32),
            (Special::WorkspaceLow, workspace as u32),
        ];
        // SAFETY: the caller vouches for the rows.
        unsafe {
            for (special, value) in values {
                self.spread(rows, special, value);
            }
            if let Some(tids) = self.tids.get(warp as usize) {
                for (special, values) in [Special::TidX, Special::TidY, Special::TidZ]
                    .into_iter()
                    .zip(tids)
                {
                    if self.used & special.bit() != 0 {
                        rows.add(special.row().offset())
                            .cast::<[u32; LANES]>()
                            .write(*values);
                    }
                }
            }
            if self.used & Special::GridId.bit() != 0 {
                rows.add(Special::GridId.row().offset())
                    .cast::<[u64; LANES]>()
                    .write([self.grid_id; LANES]);
            }
        }
    }
}
