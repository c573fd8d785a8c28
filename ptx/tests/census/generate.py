# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes every instruction form that ptxas accepts for sm_86, out of those that the tables of the PTX ISA suggest.

    generate.py PTXAS > forms.txt

A line is one instruction, with the registers that tests/census.rs declares.
"""
import itertools, subprocess, sys, tempfile, os, re

HEAD = """.version 8.7
.target sm_86
.address_size 64
.global .align 16 .b8 gl[1024];
.const .align 16 .b8 co[1024];
.func (.param .b32 o) fn(.param .b32 i) { ret; }
.visible .entry k(.param .u64 pa, .param .align 16 .b8 pb[64])
{
.reg .pred p<9>; .reg .b16 h<9>; .reg .b32 r<40>; .reg .b64 d<20>; .reg .f32 f<40>; .reg .f64 e<20>;
.shared .align 16 .b8 sm[1024]; .local .align 16 .b8 lo[64]; .param .b32 x0; .param .b32 x1;
"""
TAIL = "\nL:\nret;\n}\n"

def reg(ty, n):
    if ty == "pred": return f"p{n}"
    if ty in ("f32",): return f"f{n}"
    if ty in ("f64",): return f"e{n}"
    bits = 32 if ty in ("f16x2", "bf16x2", "tf32", "u16x2", "s16x2") else int(re.sub("[a-z]", "", ty))
    return {8: "h", 16: "h", 32: "r", 64: "d"}[bits] + str(n)

INT = ["u16", "s16", "u32", "s32", "u64", "s64"]
out = []
def e(op, *operands): out.append(op + " " + ", ".join(operands) + ";")
def opt(*xs): return ["", *xs]
def cross(*lists): return ["".join(x) for x in itertools.product(*lists)]

# --- integer ---
for t in INT:
    for op in ("add", "sub", "div", "rem", "min", "max", "sad", "mul.lo", "mul.hi", "mul.wide", "mad.lo", "mad.hi", "mad.wide"):
        wide = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}.get(t) if "wide" in op else t
        if wide is None: continue
        ops = [reg(wide, 0), reg(t, 1), reg(t, 2)]
        if op == "sad" or op.startswith("mad"): ops.append(reg(wide, 3))
        e(f"{op}.{t}", *ops)
        ops[2] = "3"
        e(f"{op}.{t}", *ops)
    for op in ("abs", "neg"):
        e(f"{op}.{t}", reg(t, 0), reg(t, 1))
for t in ("u16x2", "s16x2"):
    for op in ("add", "min", "max"):
        e(f"{op}.{t}", "r0", "r1", "r2")
for op in ("min.relu.s32", "max.relu.s32", "min.relu.s16x2", "max.relu.s16x2", "add.sat.s32", "sub.sat.s32", "mad.hi.sat.s32"):
    e(op, "r0", "r1", "r2", *(["r3"] if "mad" in op else []))
for t in ("u32", "s32", "u64", "s64"):
    for op in ("add.cc", "sub.cc", "addc", "addc.cc", "subc", "subc.cc"):
        e(f"{op}.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
    for op in cross(("mad.", "madc."), ("lo", "hi"), ("", ".cc")):
        e(f"{op}.{t}", *(reg(t, i) for i in range(4)))
for t in ("u32", "s32"):
    for h in ("hi", "lo"):
        e(f"mul24.{h}.{t}", "r0", "r1", "r2"); e(f"mad24.{h}.{t}", "r0", "r1", "r2", "r3")
    e(f"mad24.hi.sat.{t}", "r0", "r1", "r2", "r3")
    for u in ("u32", "s32"):
        e(f"dp4a.{t}.{u}", "r0", "r1", "r2", "r3")
        for m in ("lo", "hi"): e(f"dp2a.{m}.{t}.{u}", "r0", "r1", "r2", "r3")
for t in ("b16", "b32", "b64", "pred"):
    for op in ("and", "or", "xor"): e(f"{op}.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
    e(f"not.{t}", reg(t, 0), reg(t, 1))
    if t != "pred":
        e(f"cnot.{t}", reg(t, 0), reg(t, 1)); e(f"shl.{t}", reg(t, 0), reg(t, 1), "r2")
for t in INT + ["b16", "b32", "b64"]: e(f"shr.{t}", reg(t, 0), reg(t, 1), "r2")
for t in ("b32", "b64"):
    for op in ("popc", "clz"): e(f"{op}.{t}", "r0", reg(t, 1))
    e(f"brev.{t}", reg(t, 0), reg(t, 1)); e(f"bfi.{t}", reg(t, 0), reg(t, 1), reg(t, 2), "r3", "r4")
for t in ("u32", "s32", "u64", "s64"):
    e(f"bfind.{t}", "r0", reg(t, 1)); e(f"bfind.shiftamt.{t}", "r0", reg(t, 1))
    e(f"bfe.{t}", reg(t, 0), reg(t, 1), "r3", "r4")
for m in ("wrap", "clamp"):
    for d in ("l", "r"): e(f"shf.{d}.{m}.b32", "r0", "r1", "r2", "r3")
    e(f"bmsk.{m}.b32", "r0", "r1", "r2")
    for t in ("u32", "s32"): e(f"szext.{m}.{t}", "r0", "r1", "r2")
e("fns.b32", "r0", "r1", "r2", "r3")
for m in opt(".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"): e(f"prmt.b32{m}", "r0", "r1", "r2", "r3")
e("lop3.b32", "r0", "r1", "r2", "r3", "0x1e"); e("lop3.or.b32", "r0|p0", "r1", "r2", "r3", "0x1e", "p1"); e("lop3.and.b32", "r0|p0", "r1", "r2", "r3", "0x1e", "p1")
# --- float ---
R = (".rn", ".rz", ".rm", ".rp")
for op in ("add", "sub", "mul"):
    for m in cross(opt(*R), opt(".ftz"), opt(".sat")): e(f"{op}{m}.f32", "f0", "f1", "f2")
    for m in opt(*R): e(f"{op}{m}.f64", "e0", "e1", "e2")
for op in ("fma", "mad"):
    for m in cross(opt(*R), opt(".ftz"), opt(".sat")): e(f"{op}{m}.f32", "f0", "f1", "f2", "f3")
    for m in opt(*R): e(f"{op}{m}.f64", "e0", "e1", "e2", "e3")
for m in cross(opt(".approx", ".full", *R), opt(".ftz")): e(f"div{m}.f32", "f0", "f1", "f2")
for m in R: e(f"div{m}.f64", "e0", "e1", "e2")
for op in ("rcp", "sqrt"):
    for m in cross((".approx", *R), opt(".ftz")):
        e(f"{op}{m}.f32", "f0", "f1"); e(f"{op}{m}.f64", "e0", "e1")
for m in opt(".ftz"):
    for op in ("rsqrt", "sin", "cos", "ex2", "lg2", "tanh"):
        for t in ("f32", "f64", "f16", "f16x2", "bf16", "bf16x2"):
            e(f"{op}.approx{m}.{t}", reg(t, 0), reg(t, 1))
for t in ("f32", "f64", "f16", "f16x2", "bf16", "bf16x2"):
    for m in opt(".ftz"):
        for op in ("abs", "neg"): e(f"{op}{m}.{t}", reg(t, 0), reg(t, 1))
    for op in ("min", "max"):
        for m in cross(opt(".ftz"), opt(".NaN"), opt(".xorsign.abs")): e(f"{op}{m}.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
        e(f"{op}.ftz.NaN.xorsign.abs.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
for t in ("f16", "f16x2", "bf16", "bf16x2"):
    for op in ("add", "sub", "mul"):
        for m in cross(opt(".rn"), opt(".ftz"), opt(".sat")): e(f"{op}{m}.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
    for m in cross(opt(".ftz"), opt(".sat", ".relu", ".oob", ".oob.relu")): e(f"fma.rn{m}.{t}", *(reg(t, i) for i in range(4)))
for t in ("f32", "f64"):
    e(f"copysign.{t}", reg(t, 0), reg(t, 1), reg(t, 2))
    for m in ("finite", "infinite", "number", "notanumber", "normal", "subnormal"): e(f"testp.{m}.{t}", "p0", reg(t, 1))
# --- comparison ---
ICMP = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"]
FCMP = ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"]
for c in ICMP:
    for t in ("b16", "b32", "b64", *INT):
        e(f"setp.{c}.{t}", "p0", reg(t, 1), reg(t, 2))
for c in FCMP:
    for t in ("f32", "f64", "f16", "bf16"):
        for m in opt(".ftz"): e(f"setp.{c}{m}.{t}", "p0", reg(t, 1), reg(t, 2))
    for t in ("f16x2", "bf16x2"):
        e(f"setp.{c}.{t}", "p0|p1", "r1", "r2"); e(f"setp.{c}.and.{t}", "p0|p1", "r1", "r2", "p3")
for b in ("and", "or", "xor"):
    for t in ("s32", "u64", "f32", "f64", "b16", "f16"):
        e(f"setp.eq.{b}.{t}", "p0|p1", reg(t, 1), reg(t, 2), "p3"); e(f"setp.ne.{b}.{t}", "p0", reg(t, 1), reg(t, 2), "!p3")
for dt in ("u32", "s32", "f32", "f16", "f16x2", "bf16", "bf16x2", "u16", "s16"):
    for t in ("b16", "b32", "b64", *INT, "f32", "f64", "f16", "f16x2", "bf16", "bf16x2"):
        for c in ("ne", "geu" if t[0] in "fb" and t[1] in "f136" and t not in ("b16", "b32", "b64") else "ge"):
            e(f"set.{c}.{dt}.{t}", reg(dt, 0), reg(t, 1), reg(t, 2))
        e(f"set.eq.and.{dt}.{t}", reg(dt, 0), reg(t, 1), reg(t, 2), "p3")
for t in ("b16", "b32", "b64", *INT, "f32", "f64"):
    e(f"selp.{t}", reg(t, 0), reg(t, 1), reg(t, 2), "p3")
    for m in opt(".ftz"):
        e(f"slct{m}.{t}.s32", reg(t, 0), reg(t, 1), reg(t, 2), "r3"); e(f"slct{m}.{t}.f32", reg(t, 0), reg(t, 1), reg(t, 2), "f3")
# --- mov, cvt ---
for t in ("pred", "b16", "b32", "b64", *INT, "f32", "f64"): e(f"mov.{t}", reg(t, 0), reg(t, 1))
for t, n, s in (("b32", 4, None), ("b32", 2, "h"), ("b64", 4, "h"), ("b64", 2, "r"), ("b64", 2, "f")):
    if s:
        v = "{" + ", ".join(f"{s}{i}" for i in range(1, n + 1)) + "}"
        e(f"mov.{t}", reg(t, 0), v); e(f"mov.{t}", v, reg(t, 0))
e("mov.b64", "{r1, _}", "d0"); e("mov.u32", "r0", "sm"); e("mov.u64", "d0", "gl+8"); e("mov.u64", "d0", "fn"); e("mov.b64", "d0", "lo")
e("mov.u32", "r0", "WARP_SZ")
for s in ("tid.x", "ntid.y", "ctaid.z", "nctaid.x", "laneid", "warpid", "nwarpid", "smid", "nsmid", "lanemask_eq", "lanemask_lt", "lanemask_le", "lanemask_gt", "lanemask_ge", "clock", "clock_hi", "pm0", "envreg3", "globaltimer_lo", "globaltimer_hi", "total_smem_size", "dynamic_smem_size", "aggr_smem_size", "reserved_smem_offset_begin", "reserved_smem_offset_end", "reserved_smem_offset_cap", "reserved_smem_offset_0", "reserved_smem_offset_1", "pm7"):
    e("mov.u32", "r0", "%" + s)
for s in ("clock64", "globaltimer", "gridid", "pm0_64", "current_graph_exec"): e("mov.u64", "d0", "%" + s)
ALLI = ["u8", "s8", *INT]; ALLF = ["f16", "bf16", "f32", "f64"]
for a in ALLI:
    for b in ALLI:
        for m in opt(".sat"): e(f"cvt{m}.{a}.{b}", reg(a, 0), reg(b, 1))
    for b in ALLF:
        for m in cross((".rni", ".rzi", ".rmi", ".rpi"), opt(".ftz"), opt(".sat")): e(f"cvt{m}.{a}.{b}", reg(a, 0), reg(b, 1))
        for m in cross(R, opt(".ftz"), opt(".sat")): e(f"cvt{m}.{b}.{a}", reg(b, 0), reg(a, 1))
for a in ALLF:
    for b in ALLF:
        for m in cross(opt(*R, ".rni", ".rzi", ".rmi", ".rpi"), opt(".ftz"), opt(".sat", ".relu", ".satfinite", ".relu.satfinite")): e(f"cvt{m}.{a}.{b}", reg(a, 0), reg(b, 1))
for a in ("f16x2", "bf16x2"):
    for m in cross((".rn", ".rz"), opt(".relu"), opt(".satfinite")): e(f"cvt{m}.{a}.f32", "r0", "f1", "f2")
for m in (".rna", ".rna.satfinite", ".rn", ".rz", ".rn.relu"): e(f"cvt{m}.tf32.f32", "r0", "f1")
for t in ("u16", "s16", "u8", "s8", "u4", "s4", "u2", "s2"):
    for u in ("u32", "s32"):
        e(f"cvt.pack.sat.{t}.{u}", "r0", "r1", "r2"); e(f"cvt.pack.sat.{t}.{u}.b32", "r0", "r1", "r2", "r3")
# --- memory ---
VEC = {"": 1, ".v2": 2, ".v4": 4}
TYPES = ["b8", "b16", "b32", "b64", "u8", "s8", *INT, "f32", "f64"]
def vec(t, n): return reg(t, 1) if n == 1 else "{" + ", ".join(reg(t, i) for i in range(1, n + 1)) + "}"
for v, n in VEC.items():
    for t in TYPES:
        if n * int(re.sub("[a-z]", "", t)) > 128: continue
        for s, a in ((".global", "[d9]"), (".shared", "[r9]"), (".shared", "[sm+16]"), (".local", "[lo]"), (".const", "[co+16]"), ("", "[d9+16]"), (".param", "[pb+16]"), (".shared::cta", "[r9]")):
            e(f"ld{s}{v}.{t}", vec(t, n), a)
            if s not in (".const", ".param"): e(f"st{s}{v}.{t}", a, vec(t, n))
        e(f"ldu.global{v}.{t}", vec(t, n), "[d9]"); e(f"ld.global.nc{v}.{t}", vec(t, n), "[d9]")
        e(f"ld.global.nc.L1::no_allocate.L2::128B{v}.{t}", vec(t, n), "[d9]")
for o in (".weak", ".volatile", ".relaxed.cta", ".relaxed.gpu", ".relaxed.sys", ".acquire.cta", ".acquire.gpu", ".acquire.sys", ".mmio.relaxed.sys"):
    for s in ("", ".global", ".shared", ".local"):
        for t in ("u8", "s16", "b32", "f32", "u64", "f64"):
            a = "[r9]" if s == ".shared" else "[lo]" if s == ".local" else "[d9]"
            p = o if o in (".weak", ".volatile") else o
            e(f"ld{p}{s}.{t}", reg(t, 1), a); e(f"st{p.replace('acquire', 'release')}{s}.{t}", a, reg(t, 1))
for c in (".ca", ".cg", ".cs", ".lu", ".cv"): e(f"ld.global{c}.u32", "r1", "[d9]"); e(f"ld{c}.u32", "r1", "[d9]")
for c in (".wb", ".cg", ".cs", ".wt"): e(f"st.global{c}.u32", "[d9]", "r1"); e(f"st{c}.u32", "[d9]", "r1")
for c in (".L1::evict_normal", ".L1::evict_first", ".L1::evict_last", ".L1::no_allocate", ".L1::evict_unchanged", ".L2::64B", ".L2::128B", ".L2::256B"):
    e(f"ld.global{c}.u32", "r1", "[d9]"); e(f"st.global{c}.u32", "[d9]", "r1")
e("ld.global.L2::cache_hint.u32", "r1", "[d9]", "d8"); e("st.global.L2::cache_hint.u32", "[d9]", "r1", "d8"); e("ld.global.nc.L2::cache_hint.v4.f32", "{f1, f2, f3, f4}", "[d9]", "d8")
SEM = opt(".relaxed", ".acquire", ".release", ".acq_rel"); SCOPE = opt(".cta", ".gpu", ".sys")
def atomics(m, s, a):
    for op, ts in {"and": ["b32", "b64"], "or": ["b32", "b64"], "xor": ["b32", "b64"], "exch": ["b32", "b64", "b128"], "cas": ["b16", "b32", "b64"], "add": ["u32", "s32", "u64", "s64", "f32", "f64"], "inc": ["u32"], "dec": ["u32"], "min": ["u32", "s32", "u64", "s64"], "max": ["u32", "s32", "u64", "s64"], "add.noftz": ["f16", "bf16", "f16x2", "bf16x2"], "min.noftz": ["f16", "bf16"]}.items():
        for t in ts:
            if t == "b128": continue
            e(f"atom{m}{s}.{op}.{t}", reg(t, 0), a, *([reg(t, 1), reg(t, 2)] if op == "cas" else [reg(t, 1)]))
            e(f"red{m}{s}.{op}.{t}", a, reg(t, 1))
            if op != "cas" and m in ("", ".relaxed.gpu"): e(f"atom{m}{s}.{op}.{t}", "_", a, reg(t, 1))
for m in ("", ".relaxed.gpu", ".acquire.cta", ".release.sys", ".acq_rel.gpu", ".gpu", ".cta", ".sys"):
    for s, a in (("", "[d9]"), (".global", "[d9]"), (".shared", "[r9]"), (".shared", "[sm]")): atomics(m, s, a)
e("atom.global.L2::cache_hint.add.u32", "r0", "[d9]", "r1", "d8"); e("red.global.L2::cache_hint.add.u32", "[d9]", "r1", "d8")
for s in ("global", "shared", "local", "const", "param"):
    for to in ("", ".to"): e(f"cvta{to}.{s}.u64", "d0", "d1")
    e(f"isspacep.{s}", "p0", "d1")
e("isspacep.shared::cta", "p0", "d1"); e("isspacep.param::entry", "p0", "d1"); e("cvta.shared.u64", "d0", "sm")
for m in (".cta", ".gl", ".sys"): e(f"membar{m}")
for m in cross(opt(".sc", ".acq_rel"), (".cta", ".gpu", ".sys")): e(f"fence{m}")
for m in (".proxy.alias", ".proxy.async", ".proxy.async.global"): e(f"fence{m}")
e("prefetch.global.L1", "[d9]"); e("prefetch.local.L1", "[lo]"); e("prefetch.L2", "[d9]"); e("prefetchu.L1", "[d9]"); e("prefetch.global.L2::evict_last", "[d9]"); e("applypriority.global.L2::evict_normal", "[d9]", "128"); e("discard.global.L2", "[d9]", "128")
e("createpolicy.fractional.L2::evict_last.b64", "d0", "f1"); e("createpolicy.fractional.L2::evict_first.b64", "d0"); e("createpolicy.range.global.L2::evict_last.b64", "d0", "[d9]", "r1", "r2"); e("createpolicy.cvt.L2.b64", "d0", "d1")
for m in (".ca", ".cg"):
    for h in opt(".L2::64B", ".L2::128B", ".L2::256B"):
        for n in ("4", "8", "16"):
            e(f"cp.async{m}.shared.global{h}", "[r9]", "[d9]", n); e(f"cp.async{m}.shared.global{h}", "[r9]", "[d9]", n, "r1")
            e(f"cp.async{m}.shared.global{h}", "[r9]", "[d9]", n, "p1")
    e(f"cp.async{m}.shared.global.L2::cache_hint", "[r9]", "[d9]", "16", "d8"); e(f"cp.async{m}.shared::cta.global", "[sm]", "[gl]", "16")
e("cp.async.commit_group"); e("cp.async.wait_group", "1"); e("cp.async.wait_all")
# --- mbarrier ---
for s, a in (("", "[d9]"), (".shared", "[r9]"), (".shared::cta", "[sm]")):
    e(f"mbarrier.init{s}.b64", a, "r1"); e(f"mbarrier.inval{s}.b64", a)
    for op in ("arrive", "arrive_drop"):
        for sem in opt(".release.cta"):
            e(f"mbarrier.{op}{sem}{s}.b64", "d0", a); e(f"mbarrier.{op}{sem}{s}.b64", "d0", a, "r1")
        e(f"mbarrier.{op}.noComplete{s}.b64", "d0", a, "r1")
    e(f"mbarrier.test_wait{s}.b64", "p0", a, "d1"); e(f"mbarrier.test_wait.parity{s}.b64", "p0", a, "r1"); e(f"mbarrier.test_wait.acquire.cta{s}.b64", "p0", a, "d1")
    e(f"cp.async.mbarrier.arrive{s}.b64", a); e(f"cp.async.mbarrier.arrive.noinc{s}.b64", a)
e("mbarrier.pending_count.b64", "r0", "d1")
# --- control ---
e("bra", "L"); e("bra.uni", "L"); e("ret"); e("ret.uni"); e("exit"); e("trap"); e("brkpt"); e("pmevent", "1"); e("pmevent.mask", "3"); e("nanosleep.u32", "r1"); e("nanosleep.u32", "20"); e("call", "(x0)", "fn", "(x1)"); e("call.uni", "(x0)", "fn", "(x1)")
e("alloca.u64", "d0", "d1"); e("alloca.u64", "d0", "d1", "16"); e("stacksave.u64", "d0"); e("stackrestore.u64", "d0")
# --- barriers, warps ---
for b, al in (("bar", ""), ("bar.cta", ""), ("barrier", ""), ("barrier", ".aligned"), ("barrier.cta", ".aligned")):
    e(f"{b}.sync{al}", "0"); e(f"{b}.sync{al}", "r1", "64"); e(f"{b}.sync{al}", "1", "r2"); e(f"{b}.arrive{al}", "1", "64")
    for op in ("and", "or"):
        e(f"{b}.red.{op}{al}.pred" if "barrier" not in b else f"{b}.red.{op}{al}.pred", "p0", "0", "p1"); e(f"{b}.red.{op}{al}.pred", "p0", "0", "64", "!p1")
    e(f"{b}.red.popc{al}.u32", "r0", "0", "p1"); e(f"{b}.red.popc{al}.u32", "r0", "1", "64", "!p1")
e("bar.warp.sync", "-1"); e("bar.warp.sync", "r1")
for m in ("up", "down", "bfly", "idx"): e(f"shfl.sync.{m}.b32", "r0|p0", "r1", "r2", "r3", "r4"); e(f"shfl.sync.{m}.b32", "r0", "r1", "1", "31", "-1")
for m in ("all", "any", "uni"): e(f"vote.sync.{m}.pred", "p0", "p1", "-1"); e(f"vote.sync.{m}.pred", "p0", "!p1", "r1"); e(f"vote.{m}.sync.pred", "p0", "p1", "-1")
e("vote.sync.ballot.b32", "r0", "p1", "-1"); e("vote.ballot.sync.b32", "r0", "!p1", "r1")
for t in ("b32", "b64"): e(f"match.any.sync.{t}", "r0", reg(t, 1), "r2"); e(f"match.all.sync.{t}", "r0|p0", reg(t, 1), "-1"); e(f"match.all.sync.{t}", "r0", reg(t, 1), "-1"); e(f"match.sync.any.{t}", "r0", reg(t, 1), "-1")
for op, ts in {"add": ("u32", "s32"), "min": ("u32", "s32"), "max": ("u32", "s32"), "and": ("b32",), "or": ("b32",), "xor": ("b32",)}.items():
    for t in ts: e(f"redux.sync.{op}.{t}", "r0", "r1", "-1")
e("activemask.b32", "r0"); e("griddepcontrol.wait"); e("griddepcontrol.launch_dependents")
# --- video ---
for op in ("vadd", "vsub", "vabsdiff", "vmin", "vmax"):
    for dt, at, bt in itertools.product(("u32", "s32"), repeat=3):
        for sat in opt(".sat"):
            e(f"{op}.{dt}.{at}.{bt}{sat}", "r0", "r1", "r2"); e(f"{op}.{dt}.{at}.{bt}{sat}", "r0", "r1.b1", "r2.h0")
            for o in ("add", "min", "max"): e(f"{op}.{dt}.{at}.{bt}{sat}.{o}", "r0", "r1.b3", "r2", "r3")
            e(f"{op}.{dt}.{at}.{bt}{sat}", "r0.b2", "r1", "r2.b1", "r3"); e(f"{op}.{dt}.{at}.{bt}{sat}", "r0.h1", "r1.h1", "r2", "r3")
for op in ("vshl", "vshr"):
    for dt, at in itertools.product(("u32", "s32"), repeat=2):
        for sat in opt(".sat"):
            for m in (".clamp", ".wrap"):
                e(f"{op}.{dt}.{at}.u32{sat}{m}", "r0", "r1", "r2"); e(f"{op}.{dt}.{at}.u32{sat}{m}.add", "r0", "r1.b1", "r2.b0", "r3"); e(f"{op}.{dt}.{at}.u32{sat}{m}", "r0.h0", "r1.h1", "r2.b0", "r3")
for dt, at, bt in itertools.product(("u32", "s32"), repeat=3):
    for sat in opt(".sat"):
        for sc in opt(".shr7", ".shr15"):
            e(f"vmad.{dt}.{at}.{bt}{sat}{sc}", "r0", "r1.b1", "r2.h1", "r3"); e(f"vmad.{dt}.{at}.{bt}{sat}{sc}", "r0", "r1", "r2", "-r3"); e(f"vmad.{dt}.{at}.{bt}{sat}{sc}", "r0", "-r1.b0", "r2", "r3"); e(f"vmad.{dt}.{at}.{bt}.po{sat}{sc}", "r0", "r1.b0", "r2", "r3")
for at, bt in itertools.product(("u32", "s32"), repeat=2):
    for c in ("eq", "ne", "lt", "le", "gt", "ge"):
        e(f"vset.{at}.{bt}.{c}", "r0", "r1.b1", "r2.h0"); e(f"vset.{at}.{bt}.{c}.add", "r0", "r1", "r2", "r3"); e(f"vset.{at}.{bt}.{c}", "r0.b1", "r1", "r2", "r3")
        e(f"vset2.{at}.{bt}.{c}", "r0", "r1.h10", "r2.h32", "r3"); e(f"vset2.{at}.{bt}.{c}.add", "r0", "r1", "r2", "r3"); e(f"vset4.{at}.{bt}.{c}", "r0.b10", "r1.b3210", "r2.b7654", "r3"); e(f"vset4.{at}.{bt}.{c}.add", "r0", "r1", "r2", "r3")
for op in ("vadd", "vsub", "vavrg", "vabsdiff", "vmin", "vmax"):
    for dt, at, bt in itertools.product(("u32", "s32"), repeat=3):
        for sat in opt(".sat"):
            e(f"{op}2.{dt}.{at}.{bt}{sat}", "r0", "r1", "r2", "r3"); e(f"{op}2.{dt}.{at}.{bt}{sat}", "r0.h0", "r1.h12", "r2.h30", "r3")
            e(f"{op}4.{dt}.{at}.{bt}{sat}", "r0", "r1", "r2", "r3"); e(f"{op}4.{dt}.{at}.{bt}{sat}", "r0.b310", "r1.b0123", "r2.b7531", "r3")
        e(f"{op}2.{dt}.{at}.{bt}.add", "r0", "r1", "r2", "r3"); e(f"{op}4.{dt}.{at}.{bt}.add", "r0.b3210", "r1", "r2", "r3"); e(f"{op}4.{dt}.{at}.{bt}.add", "r0", "r1", "r2", "0")
# --- textures and surfaces ---
COORD = {"1d": 1, "2d": 2, "3d": 4, "a1d": 2, "a2d": 4, "cube": 4, "acube": 4, "2dms": 4, "a2dms": 4}
def coord(g, c):
    regs = {"1d": [f"{c}4"], "2d": [f"{c}4", f"{c}5"], "3d": [f"{c}4", f"{c}5", f"{c}6", f"{c}7"], "a1d": ["r4", f"{c}5"], "a2d": ["r4", f"{c}5", f"{c}6", f"{c}7"], "cube": [f"{c}4", f"{c}5", f"{c}6", f"{c}7"], "acube": ["r4", f"{c}5", f"{c}6", f"{c}7"], "2dms": ["r3", "r4", "r5", "r6"], "a2dms": ["r3", "r4", "r5", "r6"]}[g]
    return "{" + ", ".join(regs) + "}"
for g in COORD:
    for t in ("f32", "s32", "u32"):
        d = vec(t, 4)
        for c in ("f32", "s32"):
            rc = "f" if c == "f32" else "r"
            e(f"tex.{g}.v4.{t}.{c}", d, f"[d9, {coord(g, rc)}]")
        e(f"tex.level.{g}.v4.{t}.f32", d, f"[d9, {coord(g, 'f')}]", "f9"); e(f"tex.base.{g}.v4.{t}.f32", d, f"[d9, {coord(g, 'f')}]")
        grads = {"1d": ["{f20}", "{f21}"], "a1d": ["{f20}", "{f21}"], "2d": ["{f20, f21}", "{f22, f23}"], "a2d": ["{f20, f21}", "{f22, f23}"]}.get(g, ["{f20, f21, f22, f23}", "{f24, f25, f26, f27}"])
        e(f"tex.grad.{g}.v4.{t}.f32", d, f"[d9, {coord(g, 'f')}]", *grads)
    e(f"tex.{g}.v2.f16x2.f32", "{r1, r2}", f"[d9, {coord(g, 'f')}]")
    for comp in "rgba":
        for t in ("f32", "s32", "u32"): e(f"tld4.{comp}.{g}.v4.{t}.f32", vec(t, 4), f"[d9, {coord(g, 'f')}]")
SC = {"1d": "{r4}", "2d": "{r4, r5}", "3d": "{r4, r5, r6, r7}", "a1d": "{r4, r5}", "a2d": "{r4, r5, r6, r7}"}
for g, c in SC.items():
    for v, n in VEC.items():
        for t in ("b8", "b16", "b32", "b64"):
            for m in (".trap", ".clamp", ".zero"):
                for cop in ("",) if m != ".trap" else ("", ".cg"):
                    e(f"suld.b.{g}{cop}{v}.{t}{m}", vec(t, n), f"[d9, {c}]"); e(f"sust.b.{g}{cop}{v}.{t}{m}", f"[d9, {c}]", vec(t, n))
        for t in ("b32", "u32", "s32", "f32"): e(f"sust.p.{g}{v}.{t}.trap", f"[d9, {c}]", vec(t, n))
    for op, ts in {"add": ("u32", "u64", "s32"), "min": ("u32", "s32", "u64"), "max": ("s32", "u32", "s64"), "and": ("b32",), "or": ("b32",)}.items():
        for t in ts:
            for m in (".trap", ".clamp", ".zero"): e(f"sured.b.{op}.{g}.{t}{m}", f"[d9, {c}]", reg(t, 1))
for q in ("width", "height", "depth", "channel_data_type", "channel_order", "normalized_coords", "array_size", "num_mipmap_levels", "num_samples"): e(f"txq.{q}.b32", "r0", "[d9]")
for q in ("width", "height", "depth", "channel_data_type", "channel_order", "array_size", "memory_layout"): e(f"suq.{q}.b32", "r0", "[d9]")
for q in ("width", "height", "depth"): e(f"txq.level.{q}.b32", "r0", "[d9]", "r1")
for q in ("filter_mode", "addr_mode_0", "addr_mode_1", "addr_mode_2", "force_unnormalized_coords"): e(f"txq.{q}.b32", "r0", "[d9]")
for v in ("texref", "samplerref", "surfref"): e(f"istypep.{v}", "p0", "d1")
# --- matrices ---
def regs(c, first, n): return "{" + ", ".join(f"{c}{first + i}" for i in range(n)) + "}"
WT = {  # shape: (type, registers of a, of b, class)
    "m16n16k16": [("f16", 8, 8, "r"), ("bf16", 4, 4, "r"), ("u8", 2, 2, "r"), ("s8", 2, 2, "r")],
    "m8n32k16": [("f16", 8, 8, "r"), ("bf16", 2, 8, "r"), ("u8", 1, 4, "r"), ("s8", 1, 4, "r")],
    "m32n8k16": [("f16", 8, 8, "r"), ("bf16", 8, 2, "r"), ("u8", 4, 1, "r"), ("s8", 4, 1, "r")],
    "m16n16k8": [("tf32", 4, 4, "r")], "m8n8k4": [("f64", 1, 1, "e")],
    "m8n8k32": [("u4", 1, 1, "r"), ("s4", 1, 1, "r")], "m8n8k128": [("b1", 1, 1, "r")],
}
LAY = ("row", "col")
for sh, rows in WT.items():
    for t, na, nb, c in rows:
        for l in LAY:
            for s, a in (("", "[d9]"), (".global", "[d9]"), (".shared", "[r9]")):
                for st in ([], ["r8"]):
                    e(f"wmma.load.a.sync.aligned.{l}.{sh}{s}.{t}", regs(c, 10, na), a, *st); e(f"wmma.load.b.sync.aligned.{l}.{sh}{s}.{t}", regs(c, 10, nb), a, *st)
        acc = {"f16": [("f16", 4, "r"), ("f32", 8, "f")], "bf16": [("f32", 8, "f")], "tf32": [("f32", 8, "f")], "f64": [("f64", 2, "e")]}.get(t, [("s32", 2 if sh in ("m8n8k32", "m8n8k128") else 8, "r")])
        for l in LAY:
            for s, a in (("", "[d9]"), (".global", "[d9]"), (".shared", "[r9]")):
                for u, n, k in acc:
                    e(f"wmma.load.c.sync.aligned.{l}.{sh}{s}.{u}", regs(k, 1, n), a); e(f"wmma.load.c.sync.aligned.{l}.{sh}{s}.{u}", regs(k, 1, n), a, "r8")
                    e(f"wmma.store.d.sync.aligned.{l}.{sh}{s}.{u}", a, regs(k, 1, n)); e(f"wmma.store.d.sync.aligned.{l}.{sh}{s}.{u}", a, regs(k, 1, n), "r8")
        for la, lb in itertools.product(LAY, LAY):
            if t == "f16":
                for (du, dn, dk), (cu, cn, ck) in itertools.product(acc, acc):
                    for sf in opt(".satfinite"): e(f"wmma.mma.sync.aligned.{la}.{lb}.{sh}.{du}.{cu}{sf}", regs(dk, 1, dn), regs("r", 10, na), regs("r", 20, nb), regs(ck, 1, cn))
            else:
                u, n, k = acc[0]
                for m in ("", ".satfinite", ".rn", ".rz", ".rm", ".rp"):
                    tail = f"{u}.{t}.{t}.{u}"
                    e(f"wmma.mma.sync.aligned.{la}.{lb}.{sh}.{tail}{m}", regs(k, 1, n), regs(c, 10, na), regs(c, 10 if c == "e" else 20, nb), regs(k, 1, n))
                if t == "b1":
                    for o in (".xor.popc", ".and.popc"): e(f"wmma.mma{o}.sync.aligned.{la}.{lb}.{sh}.s32.b1.b1.s32", regs("r", 1, 2), "{r10}", "{r20}", regs("r", 1, 2))
def mma(op, d, a, b, c): e(op, d, a, b, c)
for la, lb in itertools.product(LAY, LAY):
    for du, cu in itertools.product(("f16", "f32"), repeat=2):
        e(f"mma.sync.aligned.m8n8k4.{la}.{lb}.{du}.f16.f16.{cu}", regs("r" if du == "f16" else "f", 1, 4 if du == "f16" else 8), regs("r", 10, 2), regs("r", 20, 2), regs("r" if cu == "f16" else "f", 1, 4 if cu == "f16" else 8))
for k, na, nb in ((8, 2, 1), (16, 4, 2)):
    for du, cu in itertools.product(("f16", "f32"), repeat=2):
        e(f"mma.sync.aligned.m16n8k{k}.row.col.{du}.f16.f16.{cu}", regs("r" if du == "f16" else "f", 1, 2 if du == "f16" else 4), regs("r", 10, na), regs("r", 20, nb), regs("r" if cu == "f16" else "f", 1, 2 if cu == "f16" else 4))
    e(f"mma.sync.aligned.m16n8k{k}.row.col.f32.bf16.bf16.f32", regs("f", 1, 4), regs("r", 10, na), regs("r", 20, nb), regs("f", 1, 4))
for k, na, nb in ((4, 2, 1), (8, 4, 2)): e(f"mma.sync.aligned.m16n8k{k}.row.col.f32.tf32.tf32.f32", regs("f", 1, 4), regs("r", 10, na), regs("r", 20, nb), regs("f", 1, 4))
for m in opt(".rn", ".rz", ".rm", ".rp"): e(f"mma.sync.aligned.m8n8k4.row.col{m}.f64.f64.f64.f64", regs("e", 1, 2), "{e10}", "{e11}", regs("e", 1, 2)); e(f"mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64{m}", regs("e", 1, 2), "{e10}", "{e11}", regs("e", 1, 2))
for sh, na, nb, nc, types in (("m8n8k16", 1, 1, 2, ("u8", "s8")), ("m16n8k16", 2, 1, 4, ("u8", "s8")), ("m16n8k32", 4, 2, 4, ("u8", "s8")), ("m8n8k32", 1, 1, 2, ("u4", "s4")), ("m16n8k32", 2, 1, 4, ("u4", "s4")), ("m16n8k64", 4, 2, 4, ("u4", "s4"))):
    for ta, tb in itertools.product(types, types):
        for sf in opt(".satfinite"): e(f"mma.sync.aligned.{sh}.row.col{sf}.s32.{ta}.{tb}.s32", regs("r", 1, nc), regs("r", 10, na), regs("r", 20, nb), regs("r", 1, nc))
for sh, na, nb, nc in (("m8n8k128", 1, 1, 2), ("m16n8k128", 2, 1, 4), ("m16n8k256", 4, 2, 4)):
    for o in ("xor", "and"): e(f"mma.sync.aligned.{sh}.row.col.s32.b1.b1.s32.{o}.popc", regs("r", 1, nc), regs("r", 10, na), regs("r", 20, nb), regs("r", 1, nc))
for ord in ("::ordered_metadata", ""):
    for k, na, nb, t, us in ((16, 2, 2, "f16", ("f16", "f32")), (32, 4, 4, "f16", ("f16", "f32")), (16, 2, 2, "bf16", ("f32",)), (32, 4, 4, "bf16", ("f32",)), (8, 2, 2, "tf32", ("f32",)), (16, 4, 4, "tf32", ("f32",)), (32, 2, 2, "u8", ("s32",)), (64, 4, 4, "s8", ("s32",)), (64, 2, 2, "u4", ("s32",)), (128, 4, 4, "s4", ("s32",))):
        for u in us:
            k_ = {"f16": "r", "f32": "f", "s32": "r"}[u]; n = 2 if u == "f16" else 4
            e(f"mma.sp{ord}.sync.aligned.m16n8k{k}.row.col.{u}.{t}.{t}.{u}", regs(k_, 1, n), regs("r", 10, na), regs("r", 20, nb), regs(k_, 1, n), "r30", "0")
for x, n in (("x1", 1), ("x2", 2), ("x4", 4)):
    v = "{" + ", ".join(f"r{1 + i}" for i in range(n)) + "}"
    for tr in opt(".trans"):
        e(f"ldmatrix.sync.aligned.m8n8.{x}{tr}.shared.b16", v, "[r9]"); e(f"ldmatrix.sync.aligned.m8n8.{x}{tr}.b16", v, "[d9]"); e(f"ldmatrix.sync.aligned.m8n8.{x}{tr}.shared::cta.b16", v, "[sm+16]")
e("movmatrix.sync.aligned.m8n8.trans.b16", "r0", "r1")

# --- spellings of compilers ---
for op in ("ld.relaxed.gpu.v2.u32", "ld.relaxed.gpu.v2.u64", "ld.volatile.global.v4.u32", "ld.volatile.shared.u32", "ld.volatile.global.u32", "ld.acquire.gpu.u32", "ld.acquire.cta.u32", "ld.relaxed.gpu.u32"):
    n = 4 if ".v4" in op else 2 if ".v2" in op else 1
    e(op, vec(op[-3:], n), "[r9]" if ".shared" in op else "[d9]")
for op in ("st.relaxed.gpu.v2.u32", "st.relaxed.gpu.v2.u64", "st.volatile.shared.u32", "st.volatile.global.u32", "st.release.gpu.u32"): e(op, "[r9]" if ".shared" in op else "[d9]", vec(op[-3:], 2 if ".v2" in op else 1))
for t in ("b32", "f32"): e(f"st.param.{t}", "[x0]", reg(t, 1)); e(f"ld.param.{t}", reg(t, 1), "[x0]")
for op in ("atom.add.release.gpu.u32", "atom.add.relaxed.cta.u32", "atom.add.acquire.cta.u32", "atom.or.acq_rel.cta.b32", "atom.global.sys.add.u32", "atom.global.sys.add.f64", "atom.global.sys.exch.b32", "atom.global.sys.max.s32", "atom.global.sys.min.s32", "atom.global.sys.inc.u32", "atom.global.sys.dec.u32", "atom.global.sys.and.b32", "atom.global.sys.or.b32", "atom.global.sys.xor.b32"): e(op, reg(op[-3:], 0), "[d9]", reg(op[-3:], 1))
e("atom.global.sys.cas.b32", "r0", "[d9]", "r1", "r2"); e("red.and.release.cta.b32", "[d9]", "r1")
for m in ("a", "b"): e(f"wmma.load.{m}.sync.aligned.{'row' if m == 'a' else 'col'}.m8n8k4.f64", "{e10}", "[d9]", "r8")
e("wmma.mma.sync.aligned.row.col.m8n8k4.f64.f64.f64.f64.rn", "{e1, e2}", "{e10}", "{e11}", "{e1, e2}")

def accepted(ptxas, lines):
    """ptxas stops at the first errors of its parser, so that what it names is taken out until nothing is left."""
    lines = list(dict.fromkeys(lines))
    first = HEAD.count("\n") + 1
    for _ in range(200):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.ptx")
            with open(path, "w") as f: f.write(HEAD + "\n".join(lines) + TAIL)
            run = subprocess.run([ptxas, "-arch=sm_86", "-O0", "-o", "/dev/null", path], capture_output=True, text=True)
        bad = {int(n) - first for n in re.findall(r"line (\d+); (?:error|fatal)", run.stderr)}
        bad = {n for n in bad if 0 <= n < len(lines)}
        if run.returncode == 0: return lines
        if not bad: sys.exit(run.stderr[:2000])
        print(len(lines), "lines,", len(bad), "refused", file=sys.stderr)
        lines = [line for n, line in enumerate(lines) if n not in bad]
    sys.exit("too many rounds")

if __name__ == "__main__":
    print("# SPDX-License-Identifier: MIT OR Apache-2.0")
    print("# Instructions that ptxas 13.0 accepts for sm_86; made by generate.py.")
    for line in accepted(sys.argv[1], out): print(line)
