//! Functions that make questions about intervals short.
//!
//! All are another way to write plain SQL, and are replaced by it before a question is planned. So the engine knows what it knows
//! of that: which pages hold nothing of it, how a join is done best; and a cluster needs no part of ours. Times are ticks or
//! nanoseconds, alike in one call.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::functions::core::expr_fn::{greatest, least};
use datafusion::functions_nested::range::range;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr,
    case, cast, lit, when,
};
use datafusion::prelude::SessionContext;
use havana_rows::reason;

/// Makes them known.
pub(crate) fn register(context: &SessionContext) {
    for function in Function::ALL {
        context.register_udf(ScalarUDF::new_from_impl(Short { function, signature: function.signature() }));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    OverlapNs,
    Overlaps,
    TimeBucket,
    TimeBuckets,
    ReasonName,
}

impl Function {
    const ALL: [Function; 5] =
        [Function::OverlapNs, Function::Overlaps, Function::TimeBucket, Function::TimeBuckets, Function::ReasonName];

    fn text(self) -> &'static str {
        match self {
            Function::OverlapNs => "overlap_ns",
            Function::Overlaps => "overlaps",
            Function::TimeBucket => "time_bucket",
            Function::TimeBuckets => "time_buckets",
            Function::ReasonName => "reason_name",
        }
    }

    fn signature(self) -> Signature {
        let time = DataType::Int64;
        match self {
            Function::OverlapNs | Function::Overlaps => Signature::exact(vec![time; 4], Volatility::Immutable),
            // A width is a number or a text such as '1s'.
            Function::TimeBucket => Signature::any(2, Volatility::Immutable),
            Function::TimeBuckets => Signature::any(3, Volatility::Immutable),
            Function::ReasonName => {
                Signature::uniform(1, vec![DataType::Int32, DataType::Int64], Volatility::Immutable)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Short {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Short {
    fn name(&self) -> &str {
        self.function.text()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::OverlapNs | Function::TimeBucket => DataType::Int64,
            Function::Overlaps => DataType::Boolean,
            Function::ReasonName => DataType::Utf8,
            Function::TimeBuckets => DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
        })
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(match (self.function, <[Expr; 4]>::try_from(args)) {
            (Function::OverlapNs, Ok([a_start, a_end, b_start, b_end])) => {
                let unknown = [&a_start, &a_end, &b_start, &b_end].map(|end| end.clone().is_null());
                let length = least(vec![a_end, b_end]) - greatest(vec![a_start, b_start]);
                // These two pass over what is null.
                let unknown = unknown.into_iter().reduce(Expr::or).unwrap_or(lit(false));
                when(unknown, lit(ScalarValue::Int64(None))).otherwise(greatest(vec![length, lit(0_i64)]))?
            }
            (Function::Overlaps, Ok([a_start, a_end, b_start, b_end])) => a_start.lt(b_end).and(b_start.lt(a_end)),
            (Function::ReasonName, Err(args)) => match <[Expr; 1]>::try_from(args) {
                Ok([reason]) => reason_name(reason)?,
                Err(_) => return internal_err!("reason_name takes an argument"),
            },
            (Function::TimeBucket, Err(args)) => match <[Expr; 2]>::try_from(args) {
                Ok([width, time]) => bucket(&width_of(&width)?, time),
                Err(_) => return internal_err!("time_bucket takes two arguments"),
            },
            (Function::TimeBuckets, Err(args)) => match <[Expr; 3]>::try_from(args) {
                Ok([width, start, end]) => {
                    let width = width_of(&width)?;
                    // A moment touches the bucket that it is in.
                    let end = greatest(vec![end, start.clone() + lit(1_i64)]);
                    range(bucket(&width, start), end, width)
                }
                Err(_) => return internal_err!("time_buckets takes three arguments"),
            },
            _ => return internal_err!("{} with a wrong number of arguments", self.function.text()),
        }))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is plain SQL by now", self.function.text())
    }
}

/// [`reason::name`] of a number, null of null.
fn reason_name(reason: Expr) -> Result<Expr> {
    let number = cast(reason, DataType::Int64);
    let mut names = reason::NAMES.iter();
    let Some((first, name)) = names.next() else { return internal_err!("no reason has a name") };
    let mut named = case(number.clone()).when(lit(i64::from(*first)), lit(*name));
    for (reason, name) in names {
        named = named.when(lit(i64::from(*reason)), lit(*name));
    }
    let unknown = binary_expr(lit("reason "), Operator::StringConcat, cast(number, DataType::Utf8));
    named.otherwise(unknown)
}

/// `time` down to a multiple of `width`, below zero too.
fn bucket(width: &Expr, time: Expr) -> Expr {
    let past = (time.clone() % width.clone() + width.clone()) % width.clone();
    time - past
}

/// A width as a number: of nanoseconds, where a text says a unit.
fn width_of(width: &Expr) -> Result<Expr> {
    let said = match width {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => nanoseconds(text),
        Expr::Literal(value, _) => value.cast_to(&DataType::Int64).ok().and_then(|value| match value {
            ScalarValue::Int64(number) => number,
            _ => None,
        }),
        _ => return plan_err!("the width of time buckets is a constant: '100ms', or a number"),
    };
    match said.filter(|&width| width > 0) {
        Some(width) => Ok(lit(width)),
        None => plan_err!("{width} is no width of a time bucket: write '100ms', or a number above zero"),
    }
}

/// `100ms`, `1.5s`, `2 min` in nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().ok()?;
    let scale = match unit.trim() {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    let ns = (number * scale).round();
    (ns < i64::MAX as f64).then_some(ns as i64)
}
