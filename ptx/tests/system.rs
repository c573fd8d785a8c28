// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the system: `vprintf` and `__assertfail`.

#![allow(clippy::result_large_err)]

mod common;
use common::{Machine, kernel_error};
use std::sync::Mutex;
use vcuda_ptx::{Fault, KernelError, Launch, Limits, Output};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n
.extern .func (.param .b32 func_retval0) vprintf (.param .b64 vprintf_param_0, .param .b64 vprintf_param_1);\n
.extern .func __assertfail (.param .b64 message, .param .b64 file, .param .b32 line, .param .b64 function, .param .b64 size) .noreturn;\n";

/// What was printed, one entry for each write.
#[derive(Default)]
struct Text(Mutex<Vec<Vec<u8>>>);

impl Output for Text {
    fn write(&self, text: &[u8]) {
        self.0.lock().unwrap().push(text.to_vec());
    }
}

impl Text {
    fn all(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().concat()).unwrap()
    }
}

/// Memory with strings, and launches whose text is kept.
struct Printer {
    machine: Machine,
    text: Text,
}

impl Printer {
    fn new() -> Printer {
        Printer {
            machine: Machine::new(),
            text: Text::default(),
        }
    }

    fn string(&self, text: &str) -> u64 {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.machine.put(&bytes)
    }

    /// Runs the kernel `k` of a module behind the declarations.
    fn run(&self, source: &str, grid: u32, threads: u32, params: &[u64]) -> Result<(), Fault> {
        let kernel = self.machine.load(&format!("{HEAD}{source}"));
        let kernel = kernel.kernel("k").unwrap();
        let params: Vec<u8> = params
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let launch = Launch {
            grid: [grid, 1, 1],
            block: [threads, 1, 1],
            dynamic_shared: 0,
            params: &params,
            cooperative: false,
        };
        let limits = Limits {
            output: Some(&self.text),
            ..Limits::default()
        };
        self.machine
            .engine
            .run(&self.machine.space, &kernel, &launch, &limits)
    }
}

/// Calls `vprintf` with the format and the values at the addresses that it is given, and stores the result.
const CALL: &str = ".visible .entry k(.param .u64 format, .param .u64 values, .param .u64 out) {
    .reg .b64 %rd<4>; .reg .b32 %r<3>;
    ld.param.u64 %rd1, [format]; ld.param.u64 %rd2, [values]; ld.param.u64 %rd3, [out];
    { .param .b64 param0; st.param.b64 [param0], %rd1;
      .param .b64 param1; st.param.b64 [param1], %rd2;
      .param .b32 retval0;
      call.uni (retval0), vprintf, (param0, param1);
      ld.param.b32 %r1, [retval0]; }
    st.global.u32 [%rd3], %r1;
    ret; }";

/// A value as C's variadic functions take it.
#[derive(Clone, Copy)]
enum Value {
    Int(i32),
    Long(i64),
    Double(f64),
}
use Value::{Double, Int, Long};

fn pack(values: &[Value]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for value in values {
        match value {
            Int(value) => bytes.extend(value.to_le_bytes()),
            Long(_) | Double(_) => {
                bytes.resize(bytes.len().next_multiple_of(8), 0xee);
                match value {
                    Double(value) => bytes.extend(value.to_le_bytes()),
                    Long(value) => bytes.extend(value.to_le_bytes()),
                    Int(_) => {}
                }
            }
        }
    }
    bytes.resize(bytes.len() + 8, 0xee);
    bytes
}

/// The text of a call, and its result.
fn printf_in(printer: &Printer, format: &str, values: &[Value]) -> (String, i32) {
    let out = printer.machine.put(&[77i32]);
    let params = [
        printer.string(format),
        printer.machine.put(&pack(values)),
        out,
    ];
    printer.run(CALL, 1, 1, &params).unwrap();
    (printer.text.all(), printer.machine.get::<i32>(out, 1)[0])
}

fn printf(format: &str, values: &[Value]) -> String {
    let (text, result) = printf_in(&Printer::new(), format, values);
    assert_eq!(result, values.len() as i32, "the result of {format:?}");
    text
}

#[test]
fn integers_are_printed_in_every_base_and_length() {
    assert_eq!(
        printf("%d %i|%u", &[Int(-7), Int(8), Int(-1)]),
        "-7 8|4294967295"
    );
    assert_eq!(
        printf("%x %X %o", &[Int(0xbeef), Int(0xbeef), Int(8)]),
        "beef BEEF 10"
    );
    assert_eq!(printf("%#x %#o", &[Int(255), Int(8)]), "0xff 010");
    assert_eq!(
        printf("%lld %ld %llu", &[Long(i64::MIN), Long(1 << 40), Long(-1)]),
        "-9223372036854775808 1099511627776 18446744073709551615"
    );
    assert_eq!(
        printf("%zu %td %jd", &[Long(1 << 33), Long(-2), Long(-3)]),
        "8589934592 -2 -3"
    );
    assert_eq!(
        printf(
            "%hhd %hhu %hd %hu",
            &[Int(0x1ff), Int(0x1ff), Int(0x18000), Int(-1)]
        ),
        "-1 255 -32768 65535"
    );
}

#[test]
fn values_lie_at_multiples_of_their_sizes() {
    let values = [
        Int(1),
        Long(2),
        Int(3),
        Int(4),
        Double(5.5),
        Int(6),
        Double(7.0),
    ];
    assert_eq!(printf("%d %lld %d %d %g %d %g", &values), "1 2 3 4 5.5 6 7");
}

#[test]
fn flags_width_and_precision_shape_numbers() {
    assert_eq!(
        printf(
            "[%5d|%-5d|%05d|%+d|% d]",
            &[Int(42), Int(42), Int(42), Int(42), Int(42)]
        ),
        "[   42|42   |00042|+42| 42]"
    );
    assert_eq!(printf("[%.3d|%6.3d]", &[Int(5), Int(5)]), "[005|   005]");
    assert_eq!(
        printf(
            "[%*d|%-*d|%*d]",
            &[Int(5), Int(1), Int(4), Int(2), Int(-4), Int(3)]
        ),
        "[    1|2   |3   ]"
    );
    assert_eq!(
        printf(
            "[%.*f|%.*f]",
            &[Int(1), Double(0.25), Int(-1), Double(0.25)]
        ),
        "[0.2|0.250000]"
    );
}

#[test]
fn doubles_are_printed_as_c_prints_them() {
    assert_eq!(
        printf("%5.2f|%f|%F", &[Double(2.5), Double(-0.1), Double(1e10)]),
        " 2.50|-0.100000|10000000000.000000"
    );
    assert_eq!(
        printf("%e %E %.3e", &[Double(12345.678), Double(0.5), Double(0.0)]),
        "1.234568e+04 5.000000E-01 0.000e+00"
    );
    assert_eq!(
        printf("%g %G %g", &[Double(1e-7), Double(1e20), Double(0.5)]),
        "1e-07 1E+20 0.5"
    );
    assert_eq!(
        printf("%a %A", &[Double(1.0), Double(0.1)]),
        "0x1p+0 0X1.999999999999AP-4"
    );
    assert_eq!(
        printf(
            "%f %F %g",
            &[
                Double(f64::INFINITY),
                Double(f64::NEG_INFINITY),
                Double(f64::NAN)
            ]
        ),
        "inf -INF nan"
    );
    assert_eq!(printf("%.0f", &[Double(f64::MAX)]).len(), 309);
}

#[test]
fn strings_and_characters_are_padded_and_cut() {
    let printer = Printer::new();
    let hello = printer.string("hello") as i64;
    let values = [
        Long(hello),
        Long(hello),
        Long(hello),
        Long(hello),
        Int(3),
        Long(hello),
        Long(0),
    ];
    let (text, result) = printf_in(&printer, "[%s|%-8s|%8s|%.2s|%.*s|%s]", &values);
    assert_eq!(text, "[hello|hello   |   hello|he|hel|(null)]");
    assert_eq!(result, 7);
    assert_eq!(
        printf(
            "[%c%c|%3c|%-3c]",
            &[
                Int(b'o'.into()),
                Int(b'k'.into()),
                Int(b'x'.into()),
                Int(b'y'.into())
            ]
        ),
        "[ok|  x|y  ]"
    );
}

#[test]
fn a_string_without_an_end_is_read_as_far_as_its_precision() {
    let printer = Printer::new();
    // Its allocation ends behind the text.
    let text = printer.machine.put(b"abcd") as i64;
    assert_eq!(printf_in(&printer, "%.4s", &[Long(text)]).0, "abcd");
}

#[test]
fn pointers_are_printed_in_hexadecimal() {
    assert_eq!(printf("%p", &[Long(0x10_0000_0010)]), "0x1000000010");
}

#[test]
fn percent_signs_and_unknown_conversions_stay() {
    assert_eq!(printf("100%% %y %", &[]), "100% %y %");
    assert_eq!(printf("%d%%", &[Int(5)]), "5%");
}

#[test]
fn the_33rd_value_is_not_printed() {
    let format = "%d ".repeat(33);
    let (text, result) = printf_in(&Printer::new(), &format, &[Int(7); 32]);
    assert_eq!(text, format!("{}%d ", "7 ".repeat(32)));
    assert_eq!(result, 32);
}

#[test]
fn fields_of_absurd_width_are_bounded() {
    assert_eq!(printf("%*d", &[Int(i32::MAX), Int(1)]).len(), 4096);
    assert_eq!(printf("%*d", &[Int(i32::MIN), Int(1)]).len(), 4096);
    assert_eq!(printf("%99999999999999999999d", &[Int(1)]).len(), 4096);
    assert_eq!(
        printf("%.*f", &[Int(i32::MAX), Double(f64::MAX)]).len(),
        309 + 1 + 4096
    );
}

#[test]
fn without_a_format_the_result_is_minus_1() {
    let printer = Printer::new();
    let out = printer.machine.put(&[77i32]);
    printer.run(CALL, 1, 1, &[0, 0, out]).unwrap();
    assert_eq!(printer.machine.get::<i32>(out, 1), [-1]);
    assert_eq!(printer.text.all(), "");
}

#[test]
fn without_an_output_the_text_is_lost_and_the_result_stands() {
    let machine = Machine::new();
    let format = machine.put(b"text\0");
    let out = machine.put(&[77i32]);
    let kernel = machine.load(&format!("{HEAD}{CALL}")).kernel("k").unwrap();
    let args = [format, 0, out].map(common::Arg::U64);
    machine.run(&kernel, [1, 1, 1], [1, 1, 1], &args).unwrap();
    assert_eq!(machine.get::<i32>(out, 1), [0]);
}

#[test]
fn a_format_outside_of_memory_is_an_illegal_address() {
    let printer = Printer::new();
    let out = printer.machine.put(&[0i32]);
    let fault = printer.run(CALL, 1, 1, &[0x4000, 0, out]).unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::IllegalAddress {
                address: 0x4000,
                ..
            }
        ),
        "{fault}"
    );
}

/// Each thread prints its number, from a buffer in local memory: those whose number is a multiple of `step`.
const THREADS: &str = ".global .align 1 .b8 format[14] = {98, 108, 111, 99, 107, 32, 37, 100, 58, 32, 37, 100, 10, 0};
.visible .entry k(.param .u64 step) {
    .local .align 8 .b8 depot[8]; .reg .b64 %SP; .reg .b64 %SPL; .reg .pred %p<2>; .reg .b64 %rd<6>; .reg .b32 %r<6>;
    mov.u64 %SPL, depot; cvta.local.u64 %SP, %SPL;
    ld.param.u64 %rd1, [step]; cvt.u32.u64 %r1, %rd1;
    mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; rem.u32 %r4, %r2, %r1; setp.ne.u32 %p1, %r4, 0; @%p1 bra END;
    add.u64 %rd2, %SP, 0; add.u64 %rd3, %SPL, 0;
    st.local.v2.u32 [%rd3], {%r3, %r2};
    mov.u64 %rd4, format; cvta.global.u64 %rd5, %rd4;
    { .reg .b32 temp_param_reg; .param .b64 param0; st.param.b64 [param0+0], %rd5;
      .param .b64 param1; st.param.b64 [param1+0], %rd2; .param .b32 retval0;
      call.uni (retval0), vprintf, (param0, param1);
      ld.param.b32 %r5, [retval0+0]; }
    END: ret; }";

#[test]
fn the_lanes_of_a_warp_print_in_order() {
    let printer = Printer::new();
    printer.run(THREADS, 1, 32, &[1]).unwrap();
    let expected: String = (0..32).map(|t| format!("block 0: {t}\n")).collect();
    assert_eq!(printer.text.all(), expected);
}

#[test]
fn only_the_lanes_that_call_print() {
    let printer = Printer::new();
    printer.run(THREADS, 1, 32, &[5]).unwrap();
    let expected: String = (0..32)
        .step_by(5)
        .map(|t| format!("block 0: {t}\n"))
        .collect();
    assert_eq!(printer.text.all(), expected);
}

#[test]
fn the_texts_of_many_blocks_are_all_there_and_whole() {
    let printer = Printer::new();
    printer.run(THREADS, 50, 100, &[3]).unwrap();
    let mut expected: Vec<String> = (0..50)
        .flat_map(|block| {
            (0..100)
                .step_by(3)
                .map(move |t| format!("block {block}: {t}"))
        })
        .collect();
    let text = printer.text.all();
    let mut found: Vec<&str> = text.lines().collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let writes = printer.text.0.lock().unwrap();
    assert!(writes.iter().all(|text| text.ends_with(b"\n")));
}

#[test]
fn a_result_that_no_lane_was_left_to_take_keeps_its_value() {
    // A guarded call changes nothing for the lanes that it excludes.
    let source = ".visible .entry k(.param .u64 format, .param .u64 out) {
        .reg .pred %p; .reg .b64 %rd<5>; .reg .b32 %r<3>;
        ld.param.u64 %rd1, [format]; ld.param.u64 %rd2, [out]; mov.u32 %r1, %tid.x; setp.lt.u32 %p, %r1, 2; mov.u32 %r2, 9;
        @%p call (%r2), vprintf, (%rd1, 0);
        mul.wide.u32 %rd3, %r1, 4; add.u64 %rd4, %rd2, %rd3; st.global.u32 [%rd4], %r2; ret; }";
    let printer = Printer::new();
    let out = printer.machine.put(&[0i32; 4]);
    printer
        .run(source, 1, 4, &[printer.string("."), out])
        .unwrap();
    assert_eq!(printer.text.all(), "..");
    assert_eq!(printer.machine.get::<i32>(out, 4), [0, 0, 9, 9]);
}

const ASSERT: &str = ".visible .entry k(.param .u64 message, .param .u64 file, .param .u64 function) {
    .reg .pred %p; .reg .b64 %rd<4>; .reg .b32 %r<2>;
    ld.param.u64 %rd1, [message]; ld.param.u64 %rd2, [file]; ld.param.u64 %rd3, [function];
    mov.u32 %r1, %tid.x; setp.ne.u32 %p, %r1, 37; @%p bra END;
    { .param .b64 param0; st.param.b64 [param0], %rd1; .param .b64 param1; st.param.b64 [param1], %rd2;
      .param .b32 param2; st.param.b32 [param2], 12; .param .b64 param3; st.param.b64 [param3], %rd3;
      .param .b64 param4; st.param.b64 [param4], 1;
      call.uni __assertfail, (param0, param1, param2, param3, param4); }
    END: ret; }";

#[test]
fn an_assertion_that_fails_for_several_threads_of_a_warp_names_each() {
    let printer = Printer::new();
    let params = ["i < n", "scatter.cu", "void k(int *)"].map(|text| printer.string(text));
    let source = ASSERT.replace("setp.ne.u32 %p, %r1, 37", "setp.lt.u32 %p, %r1, 61");
    let fault = printer.run(&source, 1, 64, &params).unwrap_err();
    let line = |thread| {
        format!(
            "scatter.cu:12: void k(int *): block: [0,0,0], thread: [{thread},0,0] Assertion `i < n` failed."
        )
    };
    assert_eq!(fault.to_string(), [61, 62, 63].map(line).join("\n"));
}

#[test]
fn a_failed_assertion_ends_the_kernel_with_the_sentence_of_cuda() {
    let printer = Printer::new();
    let params = ["i < n", "scatter.cu", "void k(int *)"].map(|text| printer.string(text));
    let fault = printer.run(ASSERT, 1, 64, &params).unwrap_err();
    assert!(matches!(fault, Fault::Assert { .. }), "{fault:?}");
    assert_eq!(
        fault.to_string(),
        "scatter.cu:12: void k(int *): block: [0,0,0], thread: [37,0,0] Assertion `i < n` failed."
    );
}

#[test]
fn an_assertion_that_no_thread_reaches_does_no_harm() {
    Printer::new().run(ASSERT, 1, 32, &[0, 0, 0]).unwrap();
}

#[test]
fn a_function_that_nobody_has_is_refused_by_name() {
    let source =
        ".version 8.0\n.target sm_80\n.address_size 64\n.extern .func absent (.param .b64 a);\n
        .visible .entry k() { .param .b64 p; call absent, (p); ret; }";
    let error = kernel_error(source, "k");
    assert!(matches!(error, KernelError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn vprintf_declared_otherwise_is_refused() {
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .func (.param .b32 r) vprintf (.param .b32 a, .param .b64 b);\n
        .visible .entry k() { .param .b32 r; .param .b32 p; .param .b64 q; call (r), vprintf, (p, q); ret; }";
    let error = kernel_error(source, "k");
    assert!(matches!(error, KernelError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("vprintf"), "{error}");
}

#[test]
fn a_module_may_have_a_vprintf_of_its_own() {
    let source = ".func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b) { st.param.b32 [r], 5; ret; }
        .visible .entry k(.param .u64 out) { .reg .b64 %rd1; .reg .b32 %r1; .param .b32 r; .param .b64 p; .param .b64 q;
        ld.param.u64 %rd1, [out]; call (r), vprintf, (p, q); ld.param.b32 %r1, [r]; st.global.u32 [%rd1], %r1; ret; }";
    let machine = Machine::new();
    let head = ".version 8.0\n.target sm_80\n.address_size 64\n";
    let kernel = machine
        .load(&format!("{head}{source}"))
        .kernel("k")
        .unwrap();
    let out = machine.put(&[0i32]);
    machine
        .run(&kernel, [1, 1, 1], [1, 1, 1], &[common::Arg::U64(out)])
        .unwrap();
    assert_eq!(machine.get::<i32>(out, 1), [5]);
}

#[test]
fn warp_sz_is_32_wherever_an_immediate_may_stand() {
    let source = ".global .u32 table[WARP_SZ] = {WARP_SZ};
        .visible .entry k(.param .u64 out) { .reg .b64 %rd1; .reg .b32 %r<4>;
        ld.param.u64 %rd1, [out]; mov.u32 %r1, WARP_SZ; add.u32 %r2, %r1, WARP_SZ; ld.global.u32 %r3, [table];
        st.global.u32 [%rd1], %r2; st.global.u32 [%rd1+4], %r3; st.global.u32 [%rd1+8], WARP_SZ; ret; }";
    let printer = Printer::new();
    let out = printer.machine.put(&[0u32; 3]);
    printer.run(source, 1, 1, &[out]).unwrap();
    assert_eq!(printer.machine.get::<u32>(out, 3), [64, 32, 32]);
}
