// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tex`, `tld4`, `txq`, `suld`, `sust`, `sured` and `suq` on texture and surface objects (PTX ISA,
//! "Texture Instructions" and "Surface Instructions").

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::code::{Detail, Row, Wide, Width};
use crate::exec::surface::{self as surfaces, Outside, Surface, SurfaceOp};
use crate::exec::texture::{self, Geometry, Method, QUERIES, Query, Returned, Sample};
use crate::parse::ast::{Operand, Type};

const COUNT: &str = "another number of operands";

fn geometry(form: &Form) -> Result<Geometry, Refusal> {
    let known = |word: &String| {
        Some(match word.as_str() {
            "1d" => Geometry::Line,
            "2d" => Geometry::Plane,
            "3d" => Geometry::Volume,
            "a1d" => Geometry::Lines,
            "a2d" => Geometry::Planes,
            "cube" => Geometry::Cube,
            "acube" => Geometry::Cubes,
            _ => return None,
        })
    };
    form.words
        .iter()
        .find_map(known)
        .ok_or(Refusal::Unsupported)
}

/// The operands of a vector, or the one operand.
fn list(b: &Builder<'_>, operand: &Operand) -> Vec<Operand> {
    match operand {
        Operand::Vector(list) => b.list(list).to_vec(),
        other => vec![other.clone()],
    }
}

/// The rows of the object, the layer and the coordinates: of `[object, {layer, x, y}]`.
fn place(b: &mut Builder<'_>, operand: &Operand, geometry: Geometry) -> Result<Vec<Row>, Refusal> {
    let Operand::Bracket(inner) = operand else {
        return Err(Refusal::invalid(
            "an operand that is not an object with coordinates",
        ));
    };
    // A sampler of its own between the two exists only without texture objects.
    let [object, coordinates] = b.list(inner) else {
        return Err(Refusal::Unsupported);
    };
    if b.register(object)?.is_none() {
        // A texture reference, which CUDA has had no more since version 12.
        return Err(Refusal::Unsupported);
    }
    let mut rows = vec![b.source(object, Width::Double)?, Row::NONE];
    let mut coordinates = list(b, coordinates).into_iter();
    let mut next = |b: &mut Builder<'_>| match coordinates.next() {
        Some(coordinate) => b.source(&coordinate, Width::Word),
        None => Err(Refusal::invalid("too few coordinates")),
    };
    if geometry.layered() {
        rows[1] = next(b)?;
    }
    for _ in 0..geometry.dimensions() {
        rows.push(next(b)?);
    }
    Ok(rows)
}

/// `tex` and `tld4`
pub(crate) fn tex(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, at, more @ ..] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let geometry = geometry(form)?;
    let (&[result, coordinate], true) = (&form.types[..], form.has_any(VECTORS)) else {
        return Err(Refusal::Unsupported);
    };
    let returned = match (result, form.elements()) {
        (Type::F32 | Type::S32 | Type::U32, 4) => Returned::Words,
        (Type::F16x2, 2) => Returned::Halves,
        _ => return Err(Refusal::Unsupported),
    };
    let integer = match coordinate {
        Type::F32 => false,
        Type::S32 => true,
        _ => return Err(Refusal::Unsupported),
    };
    let channel = match form.name.as_str() {
        "tld4" if form.has(Modifier::R) => Some(0),
        "tld4" => ["g", "b", "a"]
            .iter()
            .position(|word| form.says(word))
            .map(|at| at + 1),
        _ => None,
    };
    let method = match (channel, more) {
        (Some(channel), []) => Method::Gather(channel),
        (None, [_]) if form.says("level") => Method::Level,
        (None, [_, _]) if form.says("grad") => Method::Gradient,
        (None, []) if !form.says("level") && !form.says("grad") => Method::Base,
        _ => return Err(Refusal::Unsupported),
    };
    let mut reads = place(b, at, geometry)?;
    for operand in more {
        let words = list(b, operand);
        let used = match method {
            Method::Gradient => geometry.dimensions(),
            _ => 1,
        };
        if words.len() < used {
            return Err(Refusal::invalid("too few gradients"));
        }
        for word in &words[..used] {
            reads.push(b.source(word, Width::Word)?);
        }
    }
    let results = list(b, d);
    if results.len() as u64 != form.elements() {
        return Err(Refusal::invalid("another number of results"));
    }
    let mut rows = results
        .iter()
        .map(|d| b.destination(d, Width::Word))
        .collect::<Result<Vec<_>, _>>()?;
    let writes = rows.len();
    rows.extend(reads);
    let detail = Detail::Sample(Sample {
        geometry,
        integer,
        returned,
        method,
    });
    let run = texture::sample(b.lanes);
    b.emit_wide(
        run,
        &[],
        Wide {
            rows,
            writes,
            detail,
        },
    );
    Ok(())
}

const VECTORS: super::form::Set = super::form::set(&[Modifier::V2, Modifier::V4]);

/// `suld`, `sust` and `sured`
pub(crate) fn surface(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    use Modifier::{Add, And, Clamp, Max, Min, Or};
    let geometry = geometry(form)?;
    let &[ty] = &form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    let outside = match () {
        () if form.says("trap") => Outside::Trap,
        () if form.says("zero") => Outside::Zero,
        () if form.has(Clamp) => Outside::Clamp,
        () => return Err(Refusal::Unsupported),
    };
    let reduction = [
        (Add, SurfaceOp::Add),
        (Min, SurfaceOp::Min),
        (Max, SurfaceOp::Max),
        (And, SurfaceOp::And),
        (Or, SurfaceOp::Or),
    ];
    let reduction = reduction
        .into_iter()
        .find(|(modifier, _)| form.has(*modifier));
    let formatted = form.says("p");
    let (op, at, values) = match (form.name.as_str(), operands, reduction) {
        ("suld", [d, at], None) if !formatted => (SurfaceOp::Load, at, d),
        ("sust", [at, values], None) if formatted => (SurfaceOp::StoreFormatted, at, values),
        ("sust", [at, values], None) => (SurfaceOp::Store, at, values),
        ("sured", [at, value], Some((_, op))) if !formatted => (op, at, value),
        _ => return Err(Refusal::Unsupported),
    };
    let elements = list(b, values);
    if elements.len() as u64 != form.elements() || elements.len() > 4 {
        return Err(Refusal::invalid("another number of values"));
    }
    let mut width = Builder::type_width(ty);
    for element in &elements {
        if let Some(row) = b.register(element)? {
            width = b.width(row).unwrap_or(width);
        }
    }
    let register = width.row_bytes() / 32;
    if !matches!(width, Width::Half | Width::Word | Width::Double)
        || u64::from(register) < ty.size()
    {
        return Err(Refusal::invalid("a register that does not fit the type"));
    }
    let place = place(b, at, geometry)?;
    let (mut rows, mut writes) = (Vec::new(), 0);
    if op == SurfaceOp::Load {
        for element in &elements {
            rows.push(b.destination(element, width)?);
        }
        writes = rows.len();
        rows.extend(place);
    } else {
        rows.extend(place);
        for element in &elements {
            rows.push(b.source(element, width)?);
        }
    }
    let detail = Detail::Surface(Surface {
        geometry,
        op,
        bytes: ty.size() as u32,
        elements: elements.len() as u32,
        register,
        signed: matches!(ty, Type::S32 | Type::S64),
        float: ty == Type::F32,
        outside,
    });
    let run = surfaces::surface(b.lanes);
    b.emit_wide(
        run,
        &[],
        Wide {
            rows,
            writes,
            detail,
        },
    );
    Ok(())
}

/// `txq` and `suq`
pub(crate) fn query(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([d, at, rest @ ..], [Type::B32]) = (operands, &form.types[..]) else {
        return Err(Refusal::Unsupported);
    };
    let of_level = form.says("level");
    let mut words = form.words.iter().map(String::as_str);
    let query = match words.find(|word| *word != "level") {
        Some("width") => Query::Width,
        Some("height") => Query::Height,
        Some("depth") => Query::Depth,
        Some("array_size") => Query::Layers,
        Some("num_mipmap_levels") => Query::Levels,
        Some("num_samples") => Query::Samples,
        Some("normalized_coords") => Query::Normalized,
        Some("channel_data_type") => Query::DataType,
        Some("channel_order") => Query::Order,
        _ => return Err(Refusal::Unsupported),
    };
    let level = match rest {
        [] if !of_level => Row::NONE,
        [level] if of_level && matches!(query, Query::Width | Query::Height | Query::Depth) => {
            b.source(level, Width::Word)?
        }
        _ => return Err(Refusal::Unsupported),
    };
    let Operand::Address {
        base: Some(object),
        offset: 0,
    } = at
    else {
        return Err(Refusal::invalid("an operand that is not an object"));
    };
    let object = Operand::Name(*object);
    if b.register(&object)?.is_none() {
        return Err(Refusal::Unsupported);
    }
    let object = b.source(&object, Width::Double)?;
    let d = b.destination(d, Width::Word)?;
    let number = QUERIES
        .iter()
        .position(|known| *known == query)
        .unwrap_or(0);
    let run = texture::query(b.lanes);
    let aux = number as u64 | if of_level { texture::OF_LEVEL } else { 0 };
    b.emit(run, &[d, object, level], &[0], 0, aux);
    Ok(())
}
