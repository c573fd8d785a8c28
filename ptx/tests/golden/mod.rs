// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of instruction forms whose results were taken from a GPU.
//!
//! A [`Form`] is an instruction, or a few, over some operands. For each there is a kernel whose
//! threads apply it to one set of operands each: random ones, mixed with the values at which
//! arithmetic goes wrong. The same kernels ran on a GPU (`scripts/goldens.sh`), and what they gave
//! is in `results.bin`: all of the first few results, and hashes of groups of the others.
#![allow(dead_code)]

mod atomics;
mod conversions;
mod floats;
mod integers;
mod matrix;
mod operands;
mod packed;
pub mod random;
mod video;
mod warps;

pub use operands::In;

/// Threads that run each form.
pub const CASES: usize = 1024;
/// Threads of a block.
pub const BLOCK: usize = 128;
/// Results that are kept whole, of forms that are compared bit by bit.
pub const KEPT: usize = 8;
/// Results that are kept whole, of forms that are not.
pub const KEPT_NEAR: usize = 128;
/// Results that share a hash.
pub const CHUNK: usize = 64;

/// The width of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Out {
    P,
    H,
    W,
    D,
}

impl Out {
    pub fn bytes(self) -> usize {
        match self {
            Out::P => 1,
            Out::H => 2,
            Out::W => 4,
            Out::D => 8,
        }
    }
}

/// How a result may differ from the GPU's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// In no bit.
    Exact,
    /// Single precision: by this relative error, or this absolute one.
    Near32 { relative: f64, absolute: f64 },
    /// Double precision, likewise.
    Near64 { relative: f64 },
    /// Each half of the word: half precision, by this relative or absolute error.
    NearHalves { relative: f64, absolute: f64 },
    /// Likewise in bfloat16.
    NearBfloats { relative: f64, absolute: f64 },
}

pub struct Form {
    /// Statements over `$a`, `$b`, ... (operands) and `$0`, `$1`, ... (results).
    pub body: String,
    pub ins: Vec<In>,
    pub outs: Vec<Out>,
    pub check: Check,
}

impl Form {
    pub fn new(body: impl Into<String>, outs: &[Out], ins: &[In]) -> Form {
        Form {
            body: body.into(),
            ins: ins.to_vec(),
            outs: outs.to_vec(),
            check: Check::Exact,
        }
    }

    pub fn near(mut self, check: Check) -> Form {
        self.check = check;
        self
    }

    fn seed(&self) -> u32 {
        hash(format!("{} {:?} {:?}", self.body, self.ins, self.outs).as_bytes())
    }

    /// Stands for the form and its operands in the file of results.
    pub fn key(&self) -> u32 {
        let operands: Vec<u8> = self
            .inputs()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        self.seed() ^ hash(&operands)
    }

    pub fn kept(&self) -> usize {
        if self.check == Check::Exact {
            KEPT
        } else {
            KEPT_NEAR
        }
    }

    /// Bytes of the form in the file of results.
    pub fn stored_bytes(&self) -> usize {
        let hashes = if self.check == Check::Exact {
            CASES / CHUNK * 4
        } else {
            0
        };
        4 + self.kept() * self.result_bytes() + hashes
    }

    /// Bytes of all results of a thread.
    pub fn result_bytes(&self) -> usize {
        self.outs.iter().map(|out| out.bytes()).sum()
    }

    /// The kernel: operand `o` of thread `t` is the 8-byte word `o * CASES + t` of `in`, and result
    /// `o` that of `out`.
    pub fn kernel(&self, name: &str) -> String {
        let mut text = format!(
            ".visible .entry {name}(.param .u64 out, .param .u64 in)\n{{\n\
             .reg .b64 %out, %in, %at; .reg .b32 %i, %n, %lane, %thread;\n\
             ld.param.u64 %out, [out]; ld.param.u64 %in, [in];\n\
             mov.u32 %thread, %tid.x; mov.u32 %i, %ctaid.x; mov.u32 %n, %ntid.x; mad.lo.u32 %i, %i, %n, %thread;\n\
             and.b32 %lane, %thread, 31; mul.wide.u32 %at, %i, 8; add.u64 %out, %out, %at; add.u64 %in, %in, %at;\n"
        );
        for (o, input) in self.ins.iter().enumerate() {
            let (name, at) = (in_name(o), o * CASES * 8);
            text += &match input.bytes() {
                1 => format!(
                    ".reg .pred {name}; {{ .reg .b32 t; ld.global.b32 t, [%in+{at}]; setp.ne.u32 {name}, t, 0; }}\n"
                ),
                2 => format!(".reg .b16 {name}; ld.global.b16 {name}, [%in+{at}];\n"),
                4 => format!(".reg .b32 {name}; ld.global.b32 {name}, [%in+{at}];\n"),
                _ => format!(".reg .b64 {name}; ld.global.b64 {name}, [%in+{at}];\n"),
            };
        }
        for (o, out) in self.outs.iter().enumerate() {
            let ty = match out {
                Out::P => "pred",
                Out::H => "b16",
                Out::W => "b32",
                Out::D => "b64",
            };
            text += &format!(".reg .{ty} %o{o};\n");
        }
        let mut body = self.body.clone();
        for o in (0..self.outs.len()).rev() {
            body = body.replace(&format!("${o}"), &format!("%o{o}"));
        }
        for o in 0..self.ins.len() {
            body = body.replace(&format!("${}", (b'a' + o as u8) as char), &in_name(o));
        }
        text += &body;
        text += "\n";
        for (o, out) in self.outs.iter().enumerate() {
            let at = o * CASES * 8;
            text += &match out {
                Out::P => format!(
                    "{{ .reg .b32 t; selp.u32 t, 1, 0, %o{o}; st.global.b32 [%out+{at}], t; }}\n"
                ),
                Out::H => format!("st.global.b16 [%out+{at}], %o{o};\n"),
                Out::W => format!("st.global.b32 [%out+{at}], %o{o};\n"),
                Out::D => format!("st.global.b64 [%out+{at}], %o{o};\n"),
            };
        }
        text + "ret;\n}\n"
    }

    /// The operands of all threads, as the kernel expects them.
    pub fn inputs(&self) -> Vec<u64> {
        operands::generate(&self.ins, self.seed())
    }
}

fn in_name(o: usize) -> String {
    format!("%in_{}", (b'a' + o as u8) as char)
}

pub const HEADER: &str = ".version 8.7\n.target sm_90\n.address_size 64\n";

/// All forms, in the order of the file of results.
pub fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    integers::forms(&mut forms);
    floats::forms(&mut forms);
    packed::forms(&mut forms);
    conversions::forms(&mut forms);
    video::forms(&mut forms);
    warps::forms(&mut forms);
    atomics::forms(&mut forms);
    matrix::forms(&mut forms);
    forms
}

/// `op $0, $a, $b;` with as many operands as there are.
pub fn plain(op: &str, out: Out, ins: &[In]) -> Form {
    let mut body = format!("{op} $0");
    for o in 0..ins.len() {
        body += &format!(", ${}", (b'a' + o as u8) as char);
    }
    Form::new(body + ";", &[out], ins)
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, &b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}

/// What is stored of the results of a form: `results` has those of each thread, one after the other.
pub fn pack(form: &Form, results: &[u8]) -> Vec<u8> {
    let size = form.result_bytes();
    let mut packed = form.key().to_le_bytes().to_vec();
    packed.extend(&results[..form.kept() * size]);
    if form.check == Check::Exact {
        for chunk in results.chunks(CHUNK * size) {
            packed.extend(hash(chunk).to_le_bytes());
        }
    }
    packed
}

/// The results of each thread, one after the other, from what the kernel wrote.
pub fn results(form: &Form, out: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CASES * form.result_bytes());
    for case in 0..CASES {
        for (o, width) in form.outs.iter().enumerate() {
            bytes.extend(&out[o * CASES + case].to_le_bytes()[..width.bytes()]);
        }
    }
    bytes
}

/// Whether a result is as near to the GPU's as it must be.
pub fn agrees(check: Check, ours: &[u8], theirs: &[u8]) -> bool {
    let near = |x: f64, y: f64, relative: f64, absolute: f64| {
        x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= (relative * y.abs()).max(absolute)
    };
    let half = |bytes: &[u8], i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
    match check {
        Check::Exact => ours == theirs,
        Check::Near32 { relative, absolute } => {
            ours.chunks(4).zip(theirs.chunks(4)).all(|(x, y)| {
                let value = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().unwrap()));
                near(value(x), value(y), relative, absolute)
            })
        }
        Check::Near64 { relative } => ours.chunks(8).zip(theirs.chunks(8)).all(|(x, y)| {
            let value = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap());
            near(value(x), value(y), relative, 0.0)
        }),
        Check::NearHalves { relative, absolute } => (0..ours.len()).step_by(2).all(|i| {
            let value = |b: &[u8]| operands::half_value(half(b, i));
            near(value(ours), value(theirs), relative, absolute)
        }),
        Check::NearBfloats { relative, absolute } => (0..ours.len()).step_by(2).all(|i| {
            let value = |b: &[u8]| f64::from(f32::from_bits(u32::from(half(b, i)) << 16));
            near(value(ours), value(theirs), relative, absolute)
        }),
    }
}
