// SPDX-License-Identifier: MIT OR Apache-2.0
//! Special registers as operands.

use super::Refusal;
use super::builder::Builder;
use crate::exec::code::{Row, Width};
use crate::exec::control;
use crate::exec::special::Special;
use crate::parse::Symbol;

/// Bytes of shared memory that the system keeps for itself in each block, beside the kernel's own
/// (`cudaDevAttrReservedSharedMemoryPerBlock`): groups of several warps meet there.
pub(crate) const RESERVED_SHARED: u32 = 1024;
/// How many of them are in use, on GPUs of CUDA 13.0.
const USED_SHARED: u64 = 288;

impl Builder<'_> {
    /// The row of a special register, if the name is one.
    pub fn special(&mut self, name: Symbol, width: Width) -> Result<Option<Row>, Refusal> {
        let text = self.module.names.text(name);
        if !text.starts_with('%') {
            return Ok(None);
        }
        let special = match text {
            "%tid.x" | "%tid" => Special::TidX,
            "%tid.y" => Special::TidY,
            "%tid.z" => Special::TidZ,
            "%ntid.x" | "%ntid" => Special::NtidX,
            "%ntid.y" => Special::NtidY,
            "%ntid.z" => Special::NtidZ,
            "%ctaid.x" | "%ctaid" => Special::CtaidX,
            "%ctaid.y" => Special::CtaidY,
            "%ctaid.z" => Special::CtaidZ,
            "%nctaid.x" | "%nctaid" => Special::NctaidX,
            "%nctaid.y" => Special::NctaidY,
            "%nctaid.z" => Special::NctaidZ,
            "%warpid" => Special::WarpId,
            "%nwarpid" => Special::NWarpId,
            "%smid" => Special::SmId,
            "%nsmid" => Special::NSmId,
            "%gridid" => Special::GridId,
            "%dynamic_smem_size" => Special::DynamicShared,
            "%total_smem_size" => Special::TotalShared,
            "%envreg1" => Special::WorkspaceHigh,
            "%envreg2" => Special::WorkspaceLow,
            _ => return self.computed(text, width),
        };
        self.shared.specials |= special.bit();
        let natural = if special == Special::GridId {
            Width::Double
        } else {
            Width::Word
        };
        self.as_width(special.row(), natural, width).map(Some)
    }

    /// Special registers that depend on the lane alone, are constant, or change all the time.
    fn computed(&mut self, text: &str, width: Width) -> Result<Option<Row>, Refusal> {
        if let Some(place) = text.strip_prefix("%reserved_smem_offset_") {
            let start = self.reserved_shared()?;
            let offset = match place {
                "begin" | "0" | "1" => start,
                "end" => start + USED_SHARED,
                "cap" => start + u64::from(RESERVED_SHARED),
                _ => return Ok(None),
            };
            let row = self.shared.constants.spread(Width::Word, offset)?;
            return self.as_width(row, Width::Word, width).map(Some);
        }
        let constants = &mut self.shared.constants;
        let row = match text {
            "%laneid" => constants.per_lane("laneid", |lane| lane)?,
            "%lanemask_eq" => constants.per_lane("eq", |lane| 1 << lane)?,
            "%lanemask_lt" => constants.per_lane("lt", |lane| (1u32 << lane) - 1)?,
            "%lanemask_le" => constants.per_lane("le", |lane| u32::MAX >> (31 - lane))?,
            "%lanemask_gt" => constants.per_lane("gt", |lane| !(u32::MAX >> (31 - lane)))?,
            "%lanemask_ge" => constants.per_lane("ge", |lane| u32::MAX << lane)?,
            "%clusterid.x" | "%clusterid.y" | "%clusterid.z" | "%cluster_ctaid.x"
            | "%cluster_ctaid.y" | "%cluster_ctaid.z" | "%cluster_ctarank" => {
                constants.spread(Width::Word, 0)?
            }
            "%cluster_nctaid.x" | "%cluster_nctaid.y" | "%cluster_nctaid.z"
            | "%cluster_nctarank" => constants.spread(Width::Word, 1)?,
            "%clock" | "%clock_hi" | "%globaltimer_lo" | "%globaltimer_hi" | "%clock64"
            | "%globaltimer" => {
                let wide = matches!(text, "%clock64" | "%globaltimer");
                let natural = if wide { Width::Double } else { Width::Word };
                let shift = if text.ends_with("_hi") { 32 } else { 0 };
                let d = self.new_register(natural)?;
                let run = if wide {
                    control::clock::<u64>(self.lanes)
                } else {
                    control::clock::<u32>(self.lanes)
                };
                self.unguarded(|b| {
                    b.emit(run, &[d], &[0], shift, 0);
                });
                return self.as_width(d, natural, width).map(Some);
            }
            "%current_graph_exec" => {
                let row = constants.spread(Width::Double, 0)?;
                return self.as_width(row, Width::Double, width).map(Some);
            }
            _ if text.starts_with("%envreg") || text.starts_with("%pm") => {
                constants.spread(Width::Word, 0)?
            }
            _ => return Ok(None),
        };
        self.as_width(row, Width::Word, width).map(Some)
    }

    /// The offset in shared memory of what the system keeps for itself.
    fn reserved_shared(&mut self) -> Result<u64, Refusal> {
        if let Some((start, _)) = self.shared.reserved {
            return Ok(start);
        }
        let before = self.shared.shared_bytes;
        let start = self.shared_variable(128, u64::from(RESERVED_SHARED))?;
        self.shared.reserved = Some((start, (self.shared.shared_bytes - before) as u32));
        Ok(start)
    }

    /// Widens or narrows a row, as `mov` of special registers does.
    fn as_width(&mut self, row: Row, from: Width, to: Width) -> Result<Row, Refusal> {
        if from == to {
            return Ok(row);
        }
        let run = match (from, to) {
            (Width::Word, Width::Double) => {
                crate::exec::lanes::op1::<super::integer::WidenU32>(self.lanes)
            }
            (Width::Word, Width::Half) => {
                crate::exec::lanes::op1::<super::integer::TruncateU32>(self.lanes)
            }
            (Width::Double, Width::Word) => {
                crate::exec::lanes::op1::<super::integer::TruncateU64>(self.lanes)
            }
            _ => return Err(Refusal::invalid("a special register of another width")),
        };
        let d = self.new_register(to)?;
        self.unguarded(|b| {
            b.emit(run, &[d, row], &[0], 0, 0);
        });
        Ok(d)
    }
}
