// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the parser accepts, and how it refuses.

mod common;
use vcuda_ptx::parse::ast::{Initializer, Operand, Space, Statement, Type};
use vcuda_ptx::{Module, parse};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn module(rest: &str) -> Module {
    parse(format!("{HEAD}{rest}").as_bytes()).unwrap()
}

#[test]
fn a_module_has_version_and_target() {
    let module =
        parse(b"\n\n//\n.version 7.4\n.target sm_90a, debug\n.address_size 64\n\0\0").unwrap();
    assert_eq!((module.version, module.target), ((7, 4), 90));
}

#[test]
fn errors_carry_line_and_text() {
    for (text, line, found) in [
        ("", 1, "the end of the text"),
        ("hello", 1, "hello"),
        (".version 8.0\n.target\n.bogus 1", 3, ".bogus"),
        (
            ".version 8.0\n.target sm_80\n.address_size 32",
            3,
            "the end of the text",
        ),
        (
            ".version 8.0\n.target sm_80\n.global .align 3 .b8 x;",
            3,
            ".b8",
        ),
        (
            ".version 8.0\n.target sm_80\n.visible .entry k(\n.param .wide x)\n{ ret; }",
            4,
            ".wide",
        ),
        (
            ".version 8.0\n.target sm_80\n.visible .entry k() { ret; ",
            3,
            "the end of the text",
        ),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (line, found), "{error}");
        assert!(error.to_string().starts_with(&format!("PTX line {line}: ")));
    }
    assert!(parse(b"\xff\xfe").is_err());
}

#[test]
fn variables_have_sizes_and_values() {
    let module = module(
        ".visible .global .align 8 .b8 a[2][3] = {1, 0x2, -3, {4}};\n.const .f32 f = 0f3F800000;\n.const .f64 e[2] = {1.5, -2.5};\n\
         .global .u64 p[3] = {a, generic(a)+4, 0};\n.extern .shared .align 16 .b8 s[];\n.global .s32 x = (1+2)*-3, y;\n",
    );
    let sizes: Vec<_> = module
        .variables
        .iter()
        .map(|v| (v.size, v.align, v.space))
        .collect();
    assert_eq!(sizes[0], (Some(6), 8, Space::Global));
    assert_eq!(sizes[4], (None, 16, Space::Shared));
    assert_eq!(module.variables[0].init.len(), 4);
    assert_eq!(module.variables[1].init, [Initializer::F32(0x3f80_0000)]);
    assert_eq!(
        module.variables[2].init,
        [
            Initializer::F64(1.5f64.to_bits()),
            Initializer::F64((-2.5f64).to_bits())
        ]
    );
    assert!(matches!(
        module.variables[3].init[1],
        Initializer::Address {
            offset: 4,
            generic: true,
            ..
        }
    ));
    assert_eq!(module.variables[5].init, [Initializer::Int(-9i64 as u64)]);
    assert_eq!(module.variables.len(), 7);
}

#[test]
fn operands_of_every_shape() {
    let module = module(
        ".func f() { .reg .b32 %r<5>; L: @!%p1 foo.bar.s32 %r1|%p2, {%r1, _}, [%r2+-8], [t, {%r1}], !%p3, -4, 0d3FF0000000000000, (a, b); }",
    );
    let body = module.functions[0].body.as_ref().unwrap();
    assert!(matches!(
        body.statements[0],
        Statement::Registers {
            ty: Type::B32,
            count: Some(5),
            ..
        }
    ));
    let Statement::Instruction(instruction) = &body.statements[2] else {
        panic!()
    };
    assert_eq!(module.names.text(instruction.opcode), "foo.bar.s32");
    assert!(instruction.guard.is_some_and(|(_, negated)| negated));
    let operands = body.list(&instruction.operands);
    assert!(matches!(operands[0], Operand::Pair(..)));
    assert!(matches!(&operands[1], Operand::Vector(list) if list.len() == 2));
    assert!(matches!(operands[2], Operand::Address { offset: -8, .. }));
    assert!(matches!(&operands[3], Operand::Bracket(list) if list.len() == 2));
    assert!(matches!(operands[4], Operand::Not(_)));
    assert_eq!(operands[5], Operand::Int(-4i64 as u64));
    assert_eq!(operands[6], Operand::F64(1f64.to_bits()));
    assert!(matches!(&operands[7], Operand::Paren(list) if list.len() == 2));
}

#[test]
fn a_statement_that_does_not_parse_spoils_only_itself() {
    let module = module(".func f() { ret; what ] is this; ret; }\n.func g() { ret; }");
    let body = module.functions[0].body.as_ref().unwrap();
    let Statement::Unknown { text, line } = &body.statements[1] else {
        panic!("{:?}", body.statements)
    };
    assert_eq!((module.names.text(*text), *line), ("what ] is this;", 4));
    assert_eq!(body.statements.len(), 3);
    assert_eq!(module.functions.len(), 2);
}

#[test]
fn debug_information_and_directives_are_skipped() {
    let module = module(
        ".file 1 \"a.cu\"\n.visible .entry k() .maxntid 128, 2, 1 .minnctapersm 2 .pragma \"nounroll\"; {\n.loc 1 5 3, function_name $L, inlined_at 1 2 3\nret;\n}\n\
         .section .debug_str\n{\n.b8 1,2,3\n}\n",
    );
    assert_eq!(module.functions[0].bounds.max_threads, Some([128, 2, 1]));
    assert_eq!(
        module.functions[0].body.as_ref().unwrap().statements.len(),
        1
    );
}
