//! Joins by time: `ON a.cpu = b.cpu AND a.start_tsc < b.end_tsc AND b.start_tsc < a.end_tsc`.
//!
//! The engine would hash such a join by what is equal and try the times of every pair, millions by millions of one cpu.
//! [`OverlapsByIndex`] finds joins of that form, whatever the columns are called, and has [`IntervalJoinExec`] do them: it
//! holds the smaller side by an [`Index`] of intervals for each key, and looks the other side's intervals up, a batch at a
//! time. The SQL stays what every engine reads.
//!
//! Invariant: the index only narrows. What is joined, the whole condition decides, on each pair that the index gives.

mod index;
mod rule;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, filter, take};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinSide, Result, exec_err, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use index::Index;
pub(crate) use rule::OverlapsByIndex;

/// The columns of one side's intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    start: usize,
    end: usize,
}

/// An inner join of two sides by equal keys and intervals that overlap.
#[derive(Debug)]
struct IntervalJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    intervals: (Interval, Interval),
    /// The whole condition, but for the keys.
    filter: JoinFilter,
    /// What comes out, column by column.
    columns: Vec<(JoinSide, usize)>,
    schema: SchemaRef,
    held: Arc<OnceCell<Arc<Held>>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl IntervalJoinExec {
    fn new(
        (left, right): (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>),
        on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
        intervals: (Interval, Interval),
        filter: JoinFilter,
        (columns, schema): (Vec<(JoinSide, usize)>, SchemaRef),
    ) -> IntervalJoinExec {
        let partitions = right.output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let (held, metrics) = (Arc::default(), ExecutionPlanMetricsSet::new());
        IntervalJoinExec { left, right, on, intervals, filter, columns, schema, held, metrics, properties }
    }
}

impl DisplayAs for IntervalJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<String> = self.on.iter().map(|(left, right)| format!("{left} = {right}")).collect();
        write!(f, "IntervalJoinExec: on=[{}], filter={}", on.join(", "), self.filter)
    }
}

impl ExecutionPlan for IntervalJoinExec {
    fn name(&self) -> &'static str {
        "IntervalJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition, Distribution::UnspecifiedDistribution]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expression in self.on.iter().flat_map(|(left, right)| [left, right]).chain([self.filter.expression()]) {
            if f(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([left, right]) = <[_; 2]>::try_from(children) else {
            return internal_err!("an interval join has two sides");
        };
        Ok(Arc::new(IntervalJoinExec::new(
            (left, right),
            self.on.clone(),
            self.intervals,
            self.filter.clone(),
            (self.columns.clone(), Arc::clone(&self.schema)),
        )))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (left_on, right_on): (Vec<_>, Vec<_>) = self.on.iter().cloned().unzip();
        let left = (Arc::clone(&self.left), left_on, self.intervals.0);
        let join = Arc::new(Probe {
            on: right_on,
            interval: self.intervals.1,
            filter: self.filter.clone(),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            rows_at_once: context.session_config().batch_size(),
        });
        let right = self.right.execute(partition, Arc::clone(&context))?;
        let held = Arc::clone(&self.held);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = futures::stream::once(async move {
            let held = Arc::clone(held.get_or_try_init(|| Held::collect(left, context)).await?);
            let begin = (right, None::<Looked>);
            Ok::<_, DataFusionError>(futures::stream::try_unfold(begin, move |(mut right, mut looked)| {
                let (held, join) = (Arc::clone(&held), Arc::clone(&join));
                async move {
                    loop {
                        let mut current = match (looked.take(), right.try_next()) {
                            (Some(current), _) => current,
                            (None, next) => match next.await? {
                                Some(batch) => join.look(&held, batch)?,
                                None => return Ok(None),
                            },
                        };
                        if let Some(batch) = join.next(&held, &mut current)? {
                            return Ok(Some((batch, (right, Some(current)))));
                        }
                    }
                }
            }))
        })
        .try_flatten()
        .map(move |batch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

/// The side that is held.
#[derive(Debug)]
struct Held {
    batch: RecordBatch,
    keys: Keys,
    groups: HashMap<Box<[u8]>, Index>,
    _memory: MemoryReservation,
}

impl Held {
    async fn collect(
        (plan, on, interval): (Arc<dyn ExecutionPlan>, Vec<PhysicalExprRef>, Interval),
        context: Arc<TaskContext>,
    ) -> Result<Arc<Held>> {
        let memory = MemoryConsumer::new("interval join").register(context.memory_pool());
        let mut stream = plan.execute(0, context)?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            memory.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
        }
        let batch = concat_batches(&plan.schema(), &batches)?;
        // A row costs what its interval and its key take, at most some 60 bytes.
        memory.try_grow(batch.num_rows() * 64)?;
        let keys = Keys::new(&on, &batch)?;
        let rows = keys.of(&on, &batch)?;
        let times = Times::of(&batch, interval)?;
        let Ok(count) = u32::try_from(batch.num_rows()) else {
            return exec_err!("an interval join of {} rows by as many: narrow one side down", batch.num_rows());
        };
        let mut groups: HashMap<Box<[u8]>, Vec<_>> = HashMap::new();
        for row in 0..count {
            if let (Some(key), Some((start, end))) = (rows.get(row as usize), times.get(row as usize)) {
                groups.entry(key.into()).or_default().push((start, end, row));
            }
        }
        let groups = groups.into_iter().map(|(key, intervals)| (key, Index::new(intervals))).collect();
        Ok(Arc::new(Held { batch, keys, groups, _memory: memory }))
    }
}

/// Keys of rows as bytes.
#[derive(Debug)]
struct Keys(Option<RowConverter>);

impl Keys {
    fn new(on: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Keys> {
        if on.is_empty() {
            return Ok(Keys(None));
        }
        let fields = on.iter().map(|key| Ok(SortField::new(key.data_type(batch.schema_ref())?))).collect::<Result<_>>();
        Ok(Keys(Some(RowConverter::new(fields?)?)))
    }

    fn of(&self, on: &[PhysicalExprRef], batch: &RecordBatch) -> Result<KeysOf> {
        let Some(converter) = &self.0 else { return Ok(KeysOf { rows: None, known: None }) };
        let arrays =
            on.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect::<Result<Vec<_>>>()?;
        let mut known = None;
        for array in arrays.iter().filter_map(|array| array.logical_nulls()) {
            known = arrow::buffer::NullBuffer::union(known.as_ref(), Some(&array));
        }
        Ok(KeysOf { rows: Some(converter.convert_columns(&arrays)?), known })
    }
}

/// The keys of a batch; a row without one joins nothing.
#[derive(Debug)]
struct KeysOf {
    rows: Option<Rows>,
    known: Option<arrow::buffer::NullBuffer>,
}

impl KeysOf {
    fn get(&self, row: usize) -> Option<&[u8]> {
        match &self.rows {
            None => Some(&[]),
            Some(rows) => self.known.as_ref().is_none_or(|known| known.is_valid(row)).then(|| rows.row(row).data()),
        }
    }
}

/// The intervals of a batch; one without a start or an end overlaps nothing.
#[derive(Debug)]
struct Times {
    start: Int64Array,
    end: Int64Array,
}

impl Times {
    fn of(batch: &RecordBatch, interval: Interval) -> Result<Times> {
        let column = |at: usize| match batch.column(at).as_primitive_opt::<Int64Type>() {
            Some(array) => Ok(array.clone()),
            None => internal_err!("times are 64-bit integers"),
        };
        Ok(Times { start: column(interval.start)?, end: column(interval.end)? })
    }

    fn get(&self, row: usize) -> Option<(i64, i64)> {
        (self.start.is_valid(row) && self.end.is_valid(row)).then(|| (self.start.value(row), self.end.value(row)))
    }
}

/// How batches of the other side are looked up.
#[derive(Debug)]
struct Probe {
    on: Vec<PhysicalExprRef>,
    interval: Interval,
    filter: JoinFilter,
    columns: Vec<(JoinSide, usize)>,
    schema: SchemaRef,
    rows_at_once: usize,
}

/// A batch of the other side, and how far it was looked up.
#[derive(Debug)]
struct Looked {
    batch: RecordBatch,
    keys: KeysOf,
    times: Times,
    next_row: u32,
}

impl Probe {
    fn look(&self, held: &Held, batch: RecordBatch) -> Result<Looked> {
        let keys = held.keys.of(&self.on, &batch)?;
        let times = Times::of(&batch, self.interval)?;
        Ok(Looked { batch, keys, times, next_row: 0 })
    }

    /// The next rows that come of a batch; none where it is at its end.
    fn next(&self, held: &Held, looked: &mut Looked) -> Result<Option<RecordBatch>> {
        let rows = looked.batch.num_rows();
        let (mut held_rows, mut rows_here) = (Vec::new(), Vec::new());
        while (looked.next_row as usize) < rows && held_rows.len() < self.rows_at_once {
            let row = looked.next_row;
            looked.next_row += 1;
            let (Some(key), Some((start, end))) = (looked.keys.get(row as usize), looked.times.get(row as usize))
            else {
                continue;
            };
            if let Some(index) = held.groups.get(key) {
                index.each(start, end, |held_row| held_rows.push(held_row));
                rows_here.resize(held_rows.len(), row);
            }
        }
        if held_rows.is_empty() && looked.next_row as usize == rows {
            return Ok(None);
        }
        let pairs = (UInt32Array::from(held_rows), UInt32Array::from(rows_here));
        let pick = |side: JoinSide, column: usize, pairs: &(UInt32Array, UInt32Array)| match side {
            JoinSide::Left => take(held.batch.column(column), &pairs.0, None),
            _ => take(looked.batch.column(column), &pairs.1, None),
        };
        let columns = self.filter.column_indices().iter().map(|column| pick(column.side, column.index, &pairs));
        let candidates = batch_of(Arc::clone(self.filter.schema()), columns.collect::<Result<_, _>>()?, pairs.0.len())?;
        let joined = self.filter.expression().evaluate(&candidates)?.into_array(candidates.num_rows())?;
        let joined: &BooleanArray = joined.as_boolean();
        let pairs = (
            filter(&pairs.0, joined)?.as_primitive::<UInt32Type>().clone(),
            filter(&pairs.1, joined)?.as_primitive::<UInt32Type>().clone(),
        );
        let columns = self.columns.iter().map(|&(side, column)| pick(side, column, &pairs));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Some(batch_of(Arc::clone(&self.schema), columns, pairs.0.len())?))
    }
}

/// A batch, also one of no column.
fn batch_of(schema: SchemaRef, columns: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
