// SPDX-License-Identifier: MIT OR Apache-2.0
//! Barriers, shuffles, votes, matches and reductions.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier, set};
use crate::exec::code::{Row, Width};
use crate::exec::collective::{self, barrier, redux, shuffle, vote};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{B32, B64, F32, Pred, S32, U32};

const COUNT: &str = "another number of operands";

/// `bar` and `barrier`.
pub(crate) fn bar(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::{And, Arrive, Or, Popc, Red, Sync, Warp};
    if form.has(Warp) {
        let [members] = operands else {
            return Err(Refusal::invalid(COUNT));
        };
        let members = b.source(members, Width::Word)?;
        let run = collective::warp_barrier(b.lanes);
        b.emit(run, &[Row::NONE, members], &[], 0, 0);
        return Ok(());
    }
    let run = collective::block_barrier(b.lanes);
    let mut rows = [Row::NONE; 6];
    if !form.has(Red) {
        let mut aux = if form.has(Arrive) {
            barrier::ARRIVE
        } else {
            barrier::SYNC
        };
        let (number, count) = match operands {
            [number] if form.has(Sync) => (number, None),
            [number, count] => (number, Some(count)),
            _ => return Err(Refusal::invalid(COUNT)),
        };
        rows[1] = b.source(number, Width::Word)?;
        if let Some(count) = count {
            rows[2] = b.source(count, Width::Word)?;
            aux |= barrier::COUNTED;
        }
        b.emit(run, &rows, &[], 0, aux);
        return Ok(());
    }
    let (d, number, count, p) = match operands {
        [d, number, p] => (d, number, None, p),
        [d, number, count, p] => (d, number, Some(count), p),
        _ => return Err(Refusal::invalid(COUNT)),
    };
    let (mut aux, width) = match form.types[..] {
        [U32] if form.has(Popc) => (barrier::POPC, Width::Word),
        [Pred] if form.has(And) => (barrier::AND, Width::Predicate),
        [Pred] if form.has(Or) => (barrier::OR, Width::Predicate),
        _ => return Err(Refusal::Unsupported),
    };
    rows[1] = b.source(number, Width::Word)?;
    if let Some(count) = count {
        rows[2] = b.source(count, Width::Word)?;
        aux |= barrier::COUNTED;
    }
    rows[3] = match p {
        Operand::Not(name) => {
            aux |= barrier::NEGATED;
            b.source(&Operand::Name(*name), Width::Predicate)?
        }
        p => b.source(p, Width::Predicate)?,
    };
    rows[0] = b.destination(d, width)?;
    rows[5] = b.new_register(Width::Word)?;
    b.emit(run, &rows, &[0, 5], 0, aux);
    Ok(())
}

/// `d|p` or `d`.
fn result_pair(b: &mut Builder<'_>, operand: &Operand) -> Result<(Row, Option<Row>), Refusal> {
    match operand {
        Operand::Pair(d, p) => {
            let d = b.destination(&Operand::Name(*d), Width::Word)?;
            Ok((
                d,
                Some(b.destination(&Operand::Name(*p), Width::Predicate)?),
            ))
        }
        d => Ok((b.destination(d, Width::Word)?, None)),
    }
}

/// The member mask of an instruction without `.sync`: the lanes that happen to be together.
fn whoever(b: &mut Builder<'_>) -> Result<Row, Refusal> {
    let d = b.new_register(Width::Word)?;
    let run = collective::active_mask(b.lanes);
    b.emit(run, &[d], &[0], 0, 0);
    Ok(d)
}

pub(crate) fn shfl(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::{Bfly, Down, Idx, Sync, Up};
    let (d, x, y, c, members) = match operands {
        [d, x, y, c, members] if form.has(Sync) => (d, x, y, c, b.source(members, Width::Word)?),
        [d, x, y, c] if !form.has(Sync) => (d, x, y, c, whoever(b)?),
        _ => return Err(Refusal::invalid(COUNT)),
    };
    let mode = [
        (Up, shuffle::UP),
        (Down, shuffle::DOWN),
        (Bfly, shuffle::BFLY),
        (Idx, shuffle::IDX),
    ];
    let mode = mode
        .into_iter()
        .find(|(m, _)| form.has(*m))
        .ok_or(Refusal::Unsupported)?
        .1;
    let sources = [
        b.source(x, Width::Word)?,
        b.source(y, Width::Word)?,
        b.source(c, Width::Word)?,
    ];
    let (d, p) = result_pair(b, d)?;
    let run = collective::shuffle_lanes(b.lanes);
    let rows = [
        d,
        p.unwrap_or(Row::NONE),
        sources[0],
        sources[1],
        sources[2],
        members,
    ];
    b.emit(
        run,
        &rows,
        &[0, 1],
        0,
        mode | if p.is_some() { shuffle::PREDICATE } else { 0 },
    );
    Ok(())
}

pub(crate) fn vote_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::{All, Any, Ballot, Sync, Uni};
    let (d, p, members) = match operands {
        [d, p, members] if form.has(Sync) => (d, p, b.source(members, Width::Word)?),
        [d, p] if !form.has(Sync) => (d, p, whoever(b)?),
        _ => return Err(Refusal::invalid(COUNT)),
    };
    let mode = [
        (All, vote::ALL),
        (Any, vote::ANY),
        (Uni, vote::UNI),
        (Ballot, vote::BALLOT),
    ];
    let mut aux = mode
        .into_iter()
        .find(|(m, _)| form.has(*m))
        .ok_or(Refusal::Unsupported)?
        .1;
    let width = if aux == vote::BALLOT {
        Width::Word
    } else {
        Width::Predicate
    };
    let p = match p {
        Operand::Not(name) => {
            aux |= vote::NEGATED;
            b.source(&Operand::Name(*name), Width::Predicate)?
        }
        p => b.source(p, Width::Predicate)?,
    };
    let d = b.destination(d, width)?;
    let run = collective::vote_lanes(b.lanes);
    b.emit(run, &[d, p, members], &[0], 0, aux);
    Ok(())
}

pub(crate) fn match_(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [d, x, members] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let (run, width) = match form.types[..] {
        [B32] => (collective::match_lanes::<u32>(b.lanes), Width::Word),
        [B64] => (collective::match_lanes::<u64>(b.lanes), Width::Double),
        _ => return Err(Refusal::Unsupported),
    };
    let (x, members) = (b.source(x, width)?, b.source(members, Width::Word)?);
    let (d, p) = result_pair(b, d)?;
    let aux = u64::from(form.has(Modifier::All)) | if p.is_some() { 2 } else { 0 };
    b.emit(
        run,
        &[d, p.unwrap_or(Row::NONE), x, members],
        &[0, 1],
        0,
        aux,
    );
    Ok(())
}

pub(crate) fn redux_(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    use Modifier::{Add, And, Max, Min, Or, Xor};
    let [d, x, members] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let operation = [Add, Min, Max, And, Or, Xor]
        .into_iter()
        .find(|m| form.has(*m))
        .ok_or(Refusal::Unsupported)?;
    let of_floats = form.has_any(set(&[Modifier::Abs, Modifier::PropagateNan]));
    if of_floats && form.types[..] != [F32] {
        return Err(Refusal::Unsupported);
    }
    let aux = match (operation, &form.types[..]) {
        (Add, [U32 | S32]) => redux::ADD,
        (Min, [U32]) => redux::MIN_U,
        (Max, [U32]) => redux::MAX_U,
        (Min, [S32]) => redux::MIN_S,
        (Max, [S32]) => redux::MAX_S,
        (And, [B32]) => redux::AND,
        (Or, [B32]) => redux::OR,
        (Xor, [B32]) => redux::XOR,
        (Min | Max, [F32]) => {
            let bit = |modifier, bit| if form.has(modifier) { bit } else { 0 };
            redux::FLOAT
                | bit(Max, redux::MAX)
                | bit(Modifier::Abs, redux::ABS)
                | bit(Modifier::PropagateNan, redux::NAN)
        }
        _ => return Err(Refusal::Unsupported),
    };
    let (x, members) = (b.source(x, Width::Word)?, b.source(members, Width::Word)?);
    let d = b.destination(d, Width::Word)?;
    let run = collective::redux_lanes(b.lanes);
    b.emit(run, &[d, x, members], &[0], 0, aux);
    Ok(())
}

pub(crate) fn activemask(
    b: &mut Builder<'_>,
    _form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [d] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let d = b.destination(d, Width::Word)?;
    let run = collective::active_mask(b.lanes);
    b.emit(run, &[d], &[0], 0, 0);
    Ok(())
}

pub(crate) fn elect(
    b: &mut Builder<'_>,
    _form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [Operand::Pair(d, p), members] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let members = b.source(members, Width::Word)?;
    let d = b.destination(&Operand::Name(*d), Width::Word)?;
    let p = b.destination(&Operand::Name(*p), Width::Predicate)?;
    let run = collective::elect(b.lanes);
    b.emit(run, &[d, p, members], &[0, 1], 0, 0);
    Ok(())
}
