//! A field of a row as one column or several: filling them, and reading them back.
//!
//! A field's type alone does not say its columns (an `i64` may be a number or a moment with its nanoseconds), so each
//! *form* below is a type of its own, and [`tables`](super::tables) says which form a field has. Values go into plain
//! vectors, a push a value, and become arrays without being copied.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, NullBufferBuilder, PrimitiveArray, RecordBatch,
    StringArray, StringBuilder, new_null_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int8Type, Int32Type, Int64Type};

use super::Error;
use super::clock::Scale;
use crate::{
    CpuStateKind, Evidence, FindingKind, LossCause, Severity, State, Taker, TakerKind, ThreadKind, Time, TrackKind,
    VcpuStateKind,
};

/// A column of a table: what it is called and holds, and how it is best encoded.
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) encoding: Encoding,
}

/// How the values of a column relate to each other; the numbers behind it are in [`writer`](super::writer).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Few distinct values.
    Repeats,
    /// Each close to the one before.
    Rises,
}

/// One form: how a field's values become columns, and how they come back.
pub(super) trait Form {
    /// The field.
    type Value;
    /// Its columns in a batch read.
    type Read<'a>;

    fn new() -> Self;
    fn columns(name: &str, out: &mut Vec<Column>);
    fn push(&mut self, value: &Self::Value);
    /// What was pushed since the last time, as arrays.
    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>);
    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<Self::Read<'a>, Error>;
    fn get(read: &Self::Read<'_>, row: usize) -> Self::Value;
}

fn column(name: String, data_type: DataType, nullable: bool, encoding: Encoding) -> Column {
    Column { field: Field::new(name, data_type, nullable), encoding }
}

fn find_array<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| Error::NoColumn { column: name.into() })
}

fn no_nulls(array: &dyn Array, name: &str) -> Result<(), Error> {
    if array.null_count() == 0 { Ok(()) } else { Err(Error::Null { column: name.into() }) }
}

fn wrong_type(array: &dyn Array, name: &str) -> Error {
    Error::ColumnType { column: name.into(), found: array.data_type().clone() }
}

fn find_numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, Error> {
    let array = find_array(batch, name)?;
    array.as_primitive_opt().ok_or_else(|| wrong_type(array, name))
}

fn find_required<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], Error> {
    let array = find_numbers::<T>(batch, name)?;
    no_nulls(array, name)?;
    Ok(array.values())
}

fn at<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// The vector's values as an array; the next batch will be about as long.
fn take_numbers<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> ScalarBuffer<T::Native> {
    let next = Vec::with_capacity(values.len());
    ScalarBuffer::from(mem::replace(values, next))
}

fn required<T: ArrowPrimitiveType>(values: ScalarBuffer<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values, None))
}

/// A number. `RISES`: each is close to the one before.
pub(super) struct Number<T: ArrowPrimitiveType, const RISES: bool = false> {
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType, const RISES: bool> Form for Number<T, RISES> {
    type Value = T::Native;
    type Read<'a> = &'a [T::Native];

    fn new() -> Self {
        Number { values: Vec::new() }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        let encoding = if RISES { Encoding::Rises } else { Encoding::Repeats };
        out.push(column(name.into(), T::DATA_TYPE, false, encoding));
    }

    #[inline]
    fn push(&mut self, value: &T::Native) {
        self.values.push(*value);
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        out.push(required::<T>(take_numbers::<T>(&mut self.values)));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], Error> {
        find_required::<T>(batch, name)
    }

    #[inline]
    fn get(read: &&[T::Native], row: usize) -> T::Native {
        read[row]
    }
}

/// A number, or none.
pub(super) struct MaybeNumber<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Form for MaybeNumber<T> {
    type Value = Option<T::Native>;
    type Read<'a> = &'a PrimitiveArray<T>;

    fn new() -> Self {
        MaybeNumber { values: Vec::new(), valid: NullBufferBuilder::new(0) }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), T::DATA_TYPE, true, Encoding::Repeats));
    }

    #[inline]
    fn push(&mut self, value: &Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let values = take_numbers::<T>(&mut self.values);
        out.push(Arc::new(PrimitiveArray::<T>::new(values, self.valid.finish())));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, Error> {
        find_numbers(batch, name)
    }

    #[inline]
    fn get(read: &&PrimitiveArray<T>, row: usize) -> Option<T::Native> {
        at(read, row)
    }
}

/// `X_ns` beside the ticks of `X_tsc`: null where no clock is known.
fn nanoseconds(ticks: &[i64], valid: Option<arrow::buffer::NullBuffer>, clock: Option<&Scale>) -> ArrayRef {
    let Some(clock) = clock else { return new_null_array(&DataType::Int64, ticks.len()) };
    let ns: Vec<i64> = ticks.iter().map(|&tsc| clock.ns(tsc)).collect();
    Arc::new(PrimitiveArray::<Int64Type>::new(ns.into(), valid))
}

/// A moment without bounds, `X_tsc`, as `X_tsc` and `X_ns`.
pub(super) struct Tick {
    values: Vec<i64>,
}

impl Form for Tick {
    type Value = i64;
    type Read<'a> = &'a [i64];

    fn new() -> Self {
        Tick { values: Vec::new() }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), DataType::Int64, false, Encoding::Rises));
        let stem = name.strip_suffix("_tsc").unwrap_or(name);
        out.push(column(format!("{stem}_ns"), DataType::Int64, true, Encoding::Rises));
    }

    fn push(&mut self, value: &i64) {
        self.values.push(*value);
    }

    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let values = take_numbers::<Int64Type>(&mut self.values);
        let ns = nanoseconds(&values, None, clock);
        out.extend([required::<Int64Type>(values), ns]);
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i64], Error> {
        find_required::<Int64Type>(batch, name)
    }

    fn get(read: &&[i64], row: usize) -> i64 {
        read[row]
    }
}

/// A [`Tick`], or none.
pub(super) struct MaybeTick(MaybeNumber<Int64Type>);

impl Form for MaybeTick {
    type Value = Option<i64>;
    type Read<'a> = &'a PrimitiveArray<Int64Type>;

    fn new() -> Self {
        MaybeTick(MaybeNumber::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        let stem = name.strip_suffix("_tsc").unwrap_or(name);
        for name in [name.into(), format!("{stem}_ns")] {
            out.push(column(name, DataType::Int64, true, Encoding::Repeats));
        }
    }

    fn push(&mut self, value: &Option<i64>) {
        self.0.push(value);
    }

    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let valid = self.0.valid.finish();
        let values = take_numbers::<Int64Type>(&mut self.0.values);
        let ns = nanoseconds(&values, valid.clone(), clock);
        out.extend([Arc::new(PrimitiveArray::<Int64Type>::new(values, valid)), ns]);
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<Self::Read<'a>, Error> {
        find_numbers(batch, name)
    }

    fn get(read: &Self::Read<'_>, row: usize) -> Option<i64> {
        at(read, row)
    }
}

/// A [`Time`] called X: `X_tsc`, `X_lo_tsc`, `X_hi_tsc`, `X_ns`.
pub(super) struct Times {
    tsc: Vec<i64>,
    lo: Vec<i64>,
    hi: Vec<i64>,
}

fn time_names(name: &str) -> [String; 3] {
    [format!("{name}_tsc"), format!("{name}_lo_tsc"), format!("{name}_hi_tsc")]
}

fn time_columns(name: &str, nullable: bool, out: &mut Vec<Column>) {
    out.extend(time_names(name).map(|name| column(name, DataType::Int64, nullable, Encoding::Rises)));
    out.push(column(format!("{name}_ns"), DataType::Int64, true, Encoding::Rises));
}

impl Form for Times {
    type Value = Time;
    type Read<'a> = [&'a [i64]; 3];

    fn new() -> Self {
        Times { tsc: Vec::new(), lo: Vec::new(), hi: Vec::new() }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        time_columns(name, false, out);
    }

    #[inline]
    fn push(&mut self, value: &Time) {
        self.tsc.push(value.tsc);
        self.lo.push(value.lo);
        self.hi.push(value.hi);
    }

    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let ns = nanoseconds(&self.tsc, None, clock);
        let ticks = [&mut self.tsc, &mut self.lo, &mut self.hi].map(take_numbers::<Int64Type>);
        out.extend(ticks.map(required::<Int64Type>));
        out.push(ns);
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<[&'a [i64]; 3], Error> {
        let [tsc, lo, hi] = time_names(name).map(|name| find_required::<Int64Type>(batch, &name));
        Ok([tsc?, lo?, hi?])
    }

    #[inline]
    fn get(&[tsc, lo, hi]: &[&[i64]; 3], row: usize) -> Time {
        Time { tsc: tsc[row], lo: lo[row], hi: hi[row] }
    }
}

/// Three numbers that are there together or not at all.
struct MaybeTriple {
    tsc: Vec<i64>,
    lo: Vec<i64>,
    hi: Vec<i64>,
    valid: NullBufferBuilder,
}

impl MaybeTriple {
    fn new() -> Self {
        MaybeTriple { tsc: Vec::new(), lo: Vec::new(), hi: Vec::new(), valid: NullBufferBuilder::new(0) }
    }

    #[inline]
    fn push(&mut self, value: &Option<Time>) {
        let time = value.unwrap_or_default();
        self.tsc.push(time.tsc);
        self.lo.push(time.lo);
        self.hi.push(time.hi);
        self.valid.append(value.is_some());
    }

    /// The three arrays; the first again as plain ticks, with what is valid of it.
    fn take(&mut self) -> ([ArrayRef; 3], ScalarBuffer<i64>, Option<arrow::buffer::NullBuffer>) {
        let valid = self.valid.finish();
        let ticks = [&mut self.tsc, &mut self.lo, &mut self.hi].map(take_numbers::<Int64Type>);
        let tsc = ticks[0].clone();
        let arrays = ticks.map(|values| Arc::new(PrimitiveArray::<Int64Type>::new(values, valid.clone())) as ArrayRef);
        (arrays, tsc, valid)
    }
}

type ReadTriple<'a> = [&'a PrimitiveArray<Int64Type>; 3];

fn find_triple<'a>(batch: &'a RecordBatch, names: [String; 3]) -> Result<ReadTriple<'a>, Error> {
    let [tsc, lo, hi] = names.map(|name| find_numbers::<Int64Type>(batch, &name));
    Ok([tsc?, lo?, hi?])
}

fn get_triple(&[tsc, lo, hi]: &ReadTriple<'_>, row: usize) -> Option<Time> {
    Some(Time { tsc: at(tsc, row)?, lo: at(lo, row)?, hi: at(hi, row)? })
}

/// A [`Time`], or none.
pub(super) struct MaybeTimes(MaybeTriple);

impl Form for MaybeTimes {
    type Value = Option<Time>;
    type Read<'a> = ReadTriple<'a>;

    fn new() -> Self {
        MaybeTimes(MaybeTriple::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        time_columns(name, true, out);
    }

    #[inline]
    fn push(&mut self, value: &Option<Time>) {
        self.0.push(value);
    }

    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let (arrays, ticks, valid) = self.0.take();
        out.extend(arrays);
        out.push(nanoseconds(&ticks, valid, clock));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<ReadTriple<'a>, Error> {
        find_triple(batch, time_names(name))
    }

    #[inline]
    fn get(read: &ReadTriple<'_>, row: usize) -> Option<Time> {
        get_triple(read, row)
    }
}

/// A distance in ticks with its bounds, or none, called X: `X`, `X_lo`, `X_hi`. A [`Time`] in memory, no moment.
pub(super) struct MaybeOffset(MaybeTriple);

fn offset_names(name: &str) -> [String; 3] {
    [name.into(), format!("{name}_lo"), format!("{name}_hi")]
}

impl Form for MaybeOffset {
    type Value = Option<Time>;
    type Read<'a> = ReadTriple<'a>;

    fn new() -> Self {
        MaybeOffset(MaybeTriple::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.extend(offset_names(name).map(|name| column(name, DataType::Int64, true, Encoding::Rises)));
    }

    fn push(&mut self, value: &Option<Time>) {
        self.0.push(value);
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        out.extend(self.0.take().0);
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<ReadTriple<'a>, Error> {
        find_triple(batch, offset_names(name))
    }

    fn get(read: &ReadTriple<'_>, row: usize) -> Option<Time> {
        get_triple(read, row)
    }
}

/// A distance in ticks with its bounds, always known.
pub(super) struct Offset(Times);

impl Form for Offset {
    type Value = Time;
    type Read<'a> = [&'a [i64]; 3];

    fn new() -> Self {
        Offset(Times::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.extend(offset_names(name).map(|name| column(name, DataType::Int64, false, Encoding::Rises)));
    }

    fn push(&mut self, value: &Time) {
        self.0.push(value);
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let ticks = [&mut self.0.tsc, &mut self.0.lo, &mut self.0.hi].map(take_numbers::<Int64Type>);
        out.extend(ticks.map(required::<Int64Type>));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<[&'a [i64]; 3], Error> {
        let [tsc, lo, hi] = offset_names(name).map(|name| find_required::<Int64Type>(batch, &name));
        Ok([tsc?, lo?, hi?])
    }

    fn get(read: &[&[i64]; 3], row: usize) -> Time {
        Times::get(read, row)
    }
}

/// An enum whose values have names.
pub(super) trait Named: Copy + Sized + 'static {
    const NAMES: &'static [Self];
    fn name(self) -> &'static str;
    fn from_name(name: &str) -> Option<Self>;
    /// Its place in `NAMES`.
    fn code(self) -> i8;
}

macro_rules! named {
    ($($name:ident),+) => {$(
        impl Named for $name {
            const NAMES: &'static [Self] = Self::ALL;
            fn name(self) -> &'static str {
                self.name()
            }
            fn from_name(name: &str) -> Option<Self> {
                Self::from_name(name)
            }
            #[inline]
            fn code(self) -> i8 {
                self as i8
            }
        }
    )+};
}

named!(
    CpuStateKind,
    Evidence,
    FindingKind,
    LossCause,
    Severity,
    State,
    TakerKind,
    ThreadKind,
    TrackKind,
    VcpuStateKind
);

fn name_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

/// A named value, as a dictionary: a byte a row, and the names once.
pub(super) struct Name<E> {
    codes: Vec<i8>,
    names: ArrayRef,
    of: PhantomData<E>,
}

/// The codes of a batch, and what each means in it.
pub(super) struct ReadNames<'a, E> {
    codes: &'a PrimitiveArray<Int8Type>,
    values: Vec<E>,
}

fn find_names<'a, E: Named>(batch: &'a RecordBatch, name: &str) -> Result<ReadNames<'a, E>, Error> {
    let array = find_array(batch, name)?;
    let dictionary = array.as_dictionary_opt::<Int8Type>().ok_or_else(|| wrong_type(array, name))?;
    let names = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type(array, name))?;
    let values = names.iter().map(|value| {
        let value = value.unwrap_or_default();
        E::from_name(value).ok_or_else(|| Error::UnknownName { column: name.into(), value: value.into() })
    });
    Ok(ReadNames { codes: dictionary.keys(), values: values.collect::<Result<_, _>>()? })
}

impl<E> Name<E> {
    fn take_codes(&mut self, valid: Option<arrow::buffer::NullBuffer>) -> ArrayRef {
        let codes = PrimitiveArray::<Int8Type>::new(take_numbers::<Int8Type>(&mut self.codes), valid);
        Arc::new(DictionaryArray::new(codes, Arc::clone(&self.names)))
    }
}

impl<E: Named> Form for Name<E> {
    type Value = E;
    type Read<'a> = ReadNames<'a, E>;

    fn new() -> Self {
        let names = StringArray::from_iter_values(E::NAMES.iter().map(|value| value.name()));
        Name { codes: Vec::new(), names: Arc::new(names), of: PhantomData }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), name_type(), false, Encoding::Repeats));
    }

    #[inline]
    fn push(&mut self, value: &E) {
        self.codes.push(value.code());
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        out.push(self.take_codes(None));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<ReadNames<'a, E>, Error> {
        let read = find_names(batch, name)?;
        no_nulls(read.codes, name)?;
        Ok(read)
    }

    #[inline]
    fn get(read: &ReadNames<'_, E>, row: usize) -> E {
        read.values[read.codes.value(row) as usize]
    }
}

/// A named value, or none.
pub(super) struct MaybeName<E> {
    name: Name<E>,
    valid: NullBufferBuilder,
}

impl<E: Named> Form for MaybeName<E> {
    type Value = Option<E>;
    type Read<'a> = ReadNames<'a, E>;

    fn new() -> Self {
        MaybeName { name: Name::new(), valid: NullBufferBuilder::new(0) }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), name_type(), true, Encoding::Repeats));
    }

    #[inline]
    fn push(&mut self, value: &Option<E>) {
        self.name.codes.push(value.map_or(0, Named::code));
        self.valid.append(value.is_some());
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let valid = self.valid.finish();
        out.push(self.name.take_codes(valid));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<ReadNames<'a, E>, Error> {
        find_names(batch, name)
    }

    #[inline]
    fn get(read: &ReadNames<'_, E>, row: usize) -> Option<E> {
        at(read.codes, row).map(|code| read.values[code as usize])
    }
}

/// Who took the cpu, or nobody, called X: `X_kind`, `X_id`.
pub(super) struct MaybeTaker {
    kind: Name<TakerKind>,
    valid: NullBufferBuilder,
    id: MaybeId,
}

impl Form for MaybeTaker {
    type Value = Option<Taker>;
    type Read<'a> = (ReadNames<'a, TakerKind>, &'a PrimitiveArray<Int32Type>);

    fn new() -> Self {
        MaybeTaker { kind: Name::new(), valid: NullBufferBuilder::new(0), id: MaybeId::new() }
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(format!("{name}_kind"), name_type(), true, Encoding::Repeats));
        out.push(column(format!("{name}_id"), DataType::Int32, true, Encoding::Repeats));
    }

    #[inline]
    fn push(&mut self, value: &Self::Value) {
        self.kind.push(&value.map_or(TakerKind::Vm, |taker| taker.kind));
        self.valid.append(value.is_some());
        self.id.push(&value.and_then(|taker| taker.id));
    }

    fn take(&mut self, clock: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        let valid = self.valid.finish();
        out.push(self.kind.take_codes(valid));
        self.id.take(clock, out);
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<Self::Read<'a>, Error> {
        Ok((find_names(batch, &format!("{name}_kind"))?, find_numbers(batch, &format!("{name}_id"))?))
    }

    #[inline]
    fn get((kind, id): &Self::Read<'_>, row: usize) -> Self::Value {
        Some(Taker { kind: kind.values[at(kind.codes, row)? as usize], id: at(id, row) })
    }
}

fn find_text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
    let array = find_array(batch, name)?;
    array.as_string_opt().ok_or_else(|| wrong_type(array, name))
}

/// Text.
pub(super) struct Text(StringBuilder);

impl Form for Text {
    type Value = String;
    type Read<'a> = &'a StringArray;

    fn new() -> Self {
        Text(StringBuilder::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), DataType::Utf8, false, Encoding::Repeats));
    }

    fn push(&mut self, value: &String) {
        self.0.append_value(value);
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        out.push(Arc::new(self.0.finish()));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
        let array = find_text(batch, name)?;
        no_nulls(array, name)?;
        Ok(array)
    }

    fn get(read: &&StringArray, row: usize) -> String {
        read.value(row).into()
    }
}

/// Text, or none.
pub(super) struct MaybeText(StringBuilder);

impl Form for MaybeText {
    type Value = Option<String>;
    type Read<'a> = &'a StringArray;

    fn new() -> Self {
        MaybeText(StringBuilder::new())
    }

    fn columns(name: &str, out: &mut Vec<Column>) {
        out.push(column(name.into(), DataType::Utf8, true, Encoding::Repeats));
    }

    fn push(&mut self, value: &Option<String>) {
        self.0.append_option(value.as_deref());
    }

    fn take(&mut self, _: Option<&Scale>, out: &mut Vec<ArrayRef>) {
        out.push(Arc::new(self.0.finish()));
    }

    fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
        find_text(batch, name)
    }

    fn get(read: &&StringArray, row: usize) -> Option<String> {
        read.is_valid(row).then(|| read.value(row).into())
    }
}

/// A part of something.
pub(super) type Ratio = Number<Float64Type>;
/// A ratio, or none.
pub(super) type MaybeRatio = MaybeNumber<Float64Type>;
/// An id, a cpu, a small number.
pub(super) type Id = Number<Int32Type>;
/// An id, or none.
pub(super) type MaybeId = MaybeNumber<Int32Type>;
/// A count that grows from row to row.
pub(super) type Serial = Number<Int32Type, true>;
/// An address: few distinct ones.
pub(super) type Address = Number<Int64Type>;
/// Ticks, or a count, of few distinct ones. An encoder of numbers that rise takes 100 kB a column, and of tables for drawing many
/// are open at once.
pub(super) type Repeated = Number<Int64Type>;
/// An address, or none.
pub(super) type MaybeAddress = MaybeNumber<Int64Type>;
/// A number, or none.
pub(super) type MaybeCount = MaybeNumber<Int64Type>;
/// Ticks or bytes that are close to those of the row before.
pub(super) type Quantity = Number<Int64Type, true>;
