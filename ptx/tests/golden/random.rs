// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random programs: arithmetic in divergent control flow, and threads that meet in shuffles, votes,
//! barriers and shared memory. Their results do not depend on who runs when.

use super::In::{F32, U32, U64};
use super::operands::Random;
use super::{Form, Out};

/// Programs that are in the table.
const COUNT: u64 = 64;

pub fn forms(forms: &mut Vec<Form>) {
    forms.extend((0..COUNT).map(program));
}

const WORDS: u64 = 6;
const FLOATS: u64 = 4;
const DOUBLES: u64 = 3;

/// Over words (`%w0` to `%w5`), as `d, a, b, c`.
const INTEGER: [&str; 26] = [
    "add.s32 D, A, B",
    "sub.s32 D, A, B",
    "mul.lo.s32 D, A, B",
    "mul.hi.u32 D, A, B",
    "mad.lo.s32 D, A, B, C",
    "and.b32 D, A, B",
    "or.b32 D, A, B",
    "xor.b32 D, A, B",
    "not.b32 D, A",
    "shl.b32 D, A, K",
    "shr.u32 D, A, K",
    "shr.s32 D, A, B",
    "lop3.b32 D, A, B, C, L",
    "prmt.b32 D, A, B, C",
    "bfe.s32 D, A, K, 7",
    "bfi.b32 D, A, B, K, 9",
    "popc.b32 D, A",
    "clz.b32 D, A",
    "brev.b32 D, A",
    "bfind.u32 D, A",
    "min.s32 D, A, B",
    "max.u32 D, A, B",
    "shf.l.wrap.b32 D, A, B, C",
    "dp4a.s32.u32 D, A, B, C",
    "sad.u32 D, A, B, C",
    "rem.u32 D, A, B",
];
/// Over single-precision numbers (`%x0` to `%x3`).
const FLOAT: [&str; 12] = [
    "add.f32 D, A, B",
    "sub.rz.f32 D, A, B",
    "mul.f32 D, A, B",
    "fma.rn.f32 D, A, B, C",
    "fma.rm.f32 D, A, B, C",
    "min.f32 D, A, B",
    "max.NaN.f32 D, A, B",
    "div.rn.f32 D, A, B",
    "sqrt.rn.f32 D, A",
    "rcp.rn.f32 D, A",
    "abs.f32 D, A",
    "neg.f32 D, A",
];
/// Over double words (`%y0` to `%y2`).
const DOUBLE: [&str; 8] = [
    "add.s64 D, A, B",
    "sub.s64 D, A, B",
    "mul.lo.s64 D, A, B",
    "xor.b64 D, A, B",
    "shl.b64 D, A, K",
    "shr.u64 D, A, K",
    "mul.hi.u64 D, A, B",
    "max.s64 D, A, B",
];

struct Writer {
    random: Random,
    text: String,
    labels: u32,
}

pub fn program(seed: u64) -> Form {
    let mut writer = Writer {
        random: Random(seed ^ 0x7261_6e64),
        text: String::new(),
        labels: 0,
    };
    writer.line(
        "{ .reg .b32 %w<8>; .reg .b32 %x<8>; .reg .b64 %y<8>; .reg .pred %p<8>; .reg .b32 %count<4>; .reg .b32 %t, %u;
         .shared .align 4 .b32 tile[128]; .shared .align 4 .b32 cells[16]; .local .align 4 .b32 own[8];
         mov.b32 %w0, $a; mov.b32 %w1, $b; mov.b32 %x0, $c; mov.b32 %x1, $d; mov.b64 %y0, $e; mov.b32 %w2, %i; mov.b32 %w3, %lane;
         mov.b32 %w4, 0x9e3779b9; mul.lo.u32 %w5, %i, %w4; cvt.rn.f32.s32 %x2, %w2; mov.b32 %x3, 0x3fc00000; cvt.u64.u32 %y1, %w5; not.b64 %y2, %y0;
         setp.lt.u32 %p0, %w2, %w0; setp.eq.s32 %p1, %w3, 7;
         setp.gt.s32 %p2, %w0, %w1; setp.hs.u32 %p3, %w5, %w1;",
    );
    for slot in 0..8 {
        writer.line(&format!("st.local.b32 [own+{}], %w{};", slot * 4, slot % 6));
    }
    for _ in 0..6 {
        writer.block(0);
        writer.meet();
    }
    writer.line("mov.b32 $0, %w0; xor.b32 $1, %w1, %w2; add.s32 $1, $1, %w3; mov.b32 $2, %x0; xor.b32 $3, %x1, %x2; xor.b64 $4, %y0, %y1; add.s64 $4, $4, %y2; }");
    Form::new(
        writer.text,
        &[Out::W, Out::W, Out::W, Out::W, Out::D],
        &[U32, U32, F32, F32, U64],
    )
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.text += text;
        self.text.push('\n');
    }

    fn pick(&mut self, prefix: &str, count: u64) -> String {
        format!("%{prefix}{}", self.random.below(count))
    }

    fn word(&mut self) -> String {
        self.pick("w", WORDS)
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn fill(&mut self, template: &str, prefix: &str, count: u64) -> String {
        let (name, operands) = template.split_once(' ').unwrap_or((template, ""));
        let mut text = format!("{name} ");
        for operand in operands.chars() {
            text += &match operand {
                'A' | 'B' | 'C' | 'D' => self.pick(prefix, count),
                'K' => self.random.below(32).to_string(),
                'L' => self.random.below(256).to_string(),
                other => other.to_string(),
            };
        }
        text + ";"
    }

    fn template(&mut self, list: &[&'static str]) -> &'static str {
        list[self.random.below(list.len() as u64) as usize]
    }

    /// One instruction, perhaps under a predicate.
    fn instruction(&mut self) {
        let guard = match self.random.below(5) {
            0 => format!("@%p{} ", self.random.below(4)),
            1 => format!("@!%p{} ", self.random.below(4)),
            _ => String::new(),
        };
        let text = match self.random.below(12) {
            0..=4 => {
                let template = self.template(&INTEGER);
                self.fill(template, "w", WORDS)
            }
            5..=6 => {
                let template = self.template(&FLOAT);
                self.fill(template, "x", FLOATS)
            }
            7..=8 => {
                let template = self.template(&DOUBLE);
                self.fill(template, "y", DOUBLES)
            }
            9 => self.mixed(),
            10 => {
                let test = self.template(&["eq", "ne", "lt", "ge", "lo", "hi"]);
                let sign = if matches!(test, "lo" | "hi") {
                    "u32"
                } else {
                    "s32"
                };
                let (p, a, b) = (self.random.below(4), self.word(), self.word());
                format!("setp.{test}.{sign} %p{p}, {a}, {b};")
            }
            _ => {
                let (d, a, b, p) = (self.word(), self.word(), self.word(), self.random.below(4));
                format!("selp.b32 {d}, {a}, {b}, %p{p};")
            }
        };
        self.line(&format!("{guard}{text}"));
    }

    /// Between kinds of registers, and the thread's own memory.
    fn mixed(&mut self) -> String {
        let (w, v) = (self.word(), self.word());
        let (x, y) = (self.pick("x", FLOATS), self.pick("y", DOUBLES));
        match self.random.below(8) {
            0 => format!("cvt.rn.f32.s32 {x}, {w};"),
            1 => format!("cvt.rzi.s32.f32 {w}, {x};"),
            2 => format!("mul.wide.u32 {y}, {w}, {v};"),
            3 => format!("cvt.u32.u64 {w}, {y};"),
            4 => format!("mov.b64 {y}, {{{w}, {v}}};"),
            5 => format!("mov.b64 {{{w}, %t}}, {y};"),
            6 => format!("st.local.b32 [own+{}], {w};", self.random.below(8) * 4),
            _ => format!("ld.local.b32 {w}, [own+{}];", self.random.below(8) * 4),
        }
    }

    /// Some instructions, branches and loops.
    fn block(&mut self, depth: u32) {
        for _ in 0..2 + self.random.below(5) {
            match self.random.below(if depth < 3 { 9 } else { 6 }) {
                0..=5 => self.instruction(),
                6 => self.branch(depth),
                7 => self.cycle(depth),
                _ => self.switch(depth),
            }
        }
    }

    fn branch(&mut self, depth: u32) {
        let (other, end) = (self.label(), self.label());
        let p = self.random.below(4);
        self.line(&format!("@%p{p} bra {other};"));
        self.block(depth + 1);
        self.line(&format!("bra {end}; {other}:"));
        self.block(depth + 1);
        self.line(&format!("{end}:"));
    }

    /// Each thread goes round 1 to 4 times, or leaves early.
    fn cycle(&mut self, depth: u32) {
        let (again, end) = (self.label(), self.label());
        let w = self.word();
        self.line(&format!("and.b32 %count{depth}, {w}, 3; {again}:"));
        self.block(depth + 1);
        if self.random.below(2) == 0 {
            let p = self.random.below(4);
            self.line(&format!("@%p{p} bra {end};"));
        }
        self.block(depth + 1);
        self.line(&format!(
            "sub.s32 %count{depth}, %count{depth}, 1; setp.ge.s32 %p{}, %count{depth}, 0; @%p{} bra {again}; {end}:",
            4 + depth,
            4 + depth
        ));
    }

    fn switch(&mut self, depth: u32) {
        let targets: Vec<String> = (0..4).map(|_| self.label()).collect();
        let (list, end) = (self.label(), self.label());
        let w = self.word();
        self.line(&format!(
            "and.b32 %t, {w}, 3; {list}: .branchtargets {}; brx.idx %t, {list};",
            targets.join(", ")
        ));
        for target in targets {
            self.line(&format!("{target}:"));
            self.instruction();
            if self.random.below(3) > 0 {
                self.block(depth + 2);
                self.line(&format!("bra {end};"));
            }
        }
        self.line(&format!("{end}:"));
    }

    /// All threads of the block meet; outside of all branches.
    fn meet(&mut self) {
        let (d, a, b) = (self.word(), self.word(), self.word());
        let k = self.random.below(32);
        match self.random.below(6) {
            0 => {
                let mode = self.template(&["bfly", "idx", "up", "down"]);
                let clamp = if mode == "up" { 0 } else { 31 };
                self.line(&format!(
                    "shfl.sync.{mode}.b32 {d}|%p2, {a}, {k}, {clamp}, -1;"
                ));
            }
            1 => {
                let p = self.random.below(4);
                self.line(&format!("vote.sync.ballot.b32 {d}, %p{p}, -1;"));
            }
            2 => self.line(&format!(
                "and.b32 %t, {a}, 3; match.any.sync.b32 {d}, %t, -1;"
            )),
            3 => {
                let op = self.template(&["add.s32", "min.u32", "max.s32", "xor.b32"]);
                self.line(&format!("redux.sync.{op} {d}, {a}, -1;"));
            }
            4 => {
                let other = self.random.below(128);
                self.line(&format!(
                    "shl.b32 %t, %thread, 2; mov.u32 %u, tile; add.u32 %t, %t, %u; bar.sync 0; st.shared.b32 [%t], {a}; bar.sync 0;
                     xor.b32 %t, %thread, {other}; shl.b32 %t, %t, 2; add.u32 %t, %t, %u; ld.shared.b32 {d}, [%t];"
                ));
            }
            _ => {
                let op = self.template(&["add.u32", "min.s32", "max.u32", "or.b32", "xor.b32"]);
                let cell = self.random.below(16) * 4;
                self.line(&format!(
                    "bar.sync 0; setp.lt.u32 %p3, %thread, 16; shl.b32 %t, %thread, 2; mov.u32 %u, cells; add.u32 %t, %t, %u;
                     @%p3 st.shared.b32 [%t], {k}; bar.sync 0; and.b32 %t, {b}, 15; shl.b32 %t, %t, 2; add.u32 %t, %t, %u;
                     red.shared.{op} [%t], {a}; bar.sync 0; ld.shared.b32 {d}, [cells+{cell}];"
                ));
            }
        }
    }
}
