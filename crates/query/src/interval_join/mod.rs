//! Joins by time: `ON a.cpu = b.cpu AND a.start_tsc < b.end_tsc AND b.start_tsc < a.end_tsc`.
//!
//! The engine would hash such a join by what is equal and try the times of every pair, millions by millions of one cpu.
//! [`OverlapsByIndex`] finds joins of that form, whatever the columns are called, and has [`IntervalJoinExec`] do them: it
//! holds the smaller side by an [`Index`] of intervals for each key, and looks the other side's intervals up, a batch at a
//! time. The SQL stays what every engine reads.
//!
//! Invariant: the index only narrows. What is joined, the keys and the whole condition decide, on each pair that it gives.

mod index;
mod rule;

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array,
};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{and, concat_batches, filter, take};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use datafusion::common::hash_utils::{RandomState, create_hashes};
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
use rustc_hash::FxHashMap;
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
    /// Collected once, also where that fails: a plan is executed once only.
    held: Arc<OnceCell<std::result::Result<Arc<Held>, Arc<DataFusionError>>>>,
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
            let collect = || async { Held::collect(left, context).await.map_err(Arc::new) };
            let held = match held.get_or_init(collect).await {
                Ok(held) => Arc::clone(held),
                Err(error) => return Err(DataFusionError::Shared(Arc::clone(error))),
            };
            let begin = (right, None::<Looked>);
            Ok::<_, DataFusionError>(futures::stream::try_unfold(begin, move |(mut right, mut looked)| {
                let (held, join) = (Arc::clone(&held), Arc::clone(&join));
                async move {
                    loop {
                        let mut current = match (looked.take(), right.try_next()) {
                            (Some(current), _) => current,
                            (None, next) => match next.await? {
                                Some(batch) => join.look(batch)?,
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
    keys: Vec<ArrayRef>,
    /// Intervals by the hashes of their keys. Two keys may have one: they are compared where intervals overlap.
    by_hash: FxHashMap<u64, Index>,
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
        // Until the parts go, they and the whole are both there.
        let parts = memory.size();
        memory.try_grow(parts)?;
        let batch = concat_batches(&plan.schema(), &batches)?;
        drop(batches);
        memory.shrink(parts);
        // What a row's interval takes, in its index.
        memory.try_grow(batch.num_rows() * 64)?;
        let Ok(count) = u32::try_from(batch.num_rows()) else {
            return exec_err!("an interval join of {} rows by as many: narrow one side down", batch.num_rows());
        };
        let keys = evaluated(&on, &batch)?;
        let hashes = hashes(&keys, batch.num_rows())?;
        let times = Times::of(&batch, interval)?;
        let mut by_hash: FxHashMap<u64, Vec<_>> = FxHashMap::default();
        for (row, hash) in (0..count).zip(hashes) {
            if let Some((start, end)) = times.get(row as usize) {
                by_hash.entry(hash).or_default().push((start, end, row));
            }
        }
        let by_hash = by_hash.into_iter().map(|(hash, intervals)| (hash, Index::new(intervals))).collect();
        Ok(Arc::new(Held { batch, keys, by_hash, _memory: memory }))
    }
}

/// The keys of a batch.
fn evaluated(on: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    on.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Hashes of keys; all are one where there is no key.
fn hashes(keys: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![0_u64; rows];
    for key in keys {
        let one = is_one_text(key);
        let mut own = vec![0; if one { 1 } else { rows }];
        create_hashes([key.slice(0, own.len())].iter(), &RandomState::default(), &mut own)?;
        let mix = |hash: &mut u64, own: u64| *hash = (hash.rotate_left(5) ^ own).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match own[..] {
            [own] => hashes.iter_mut().for_each(|hash| mix(hash, own)),
            _ => hashes.iter_mut().zip(own).for_each(|(hash, own)| mix(hash, own)),
        }
    }
    Ok(hashes)
}

/// Whether every row has the same text, as `node` and `capture` have within a file: to hash it for each row would cost more
/// than all else.
fn is_one_text(key: &ArrayRef) -> bool {
    let same =
        |texts: &StringViewArray| texts.null_count() == 0 && texts.views().windows(2).all(|two| two[0] == two[1]);
    !key.is_empty() && key.as_string_view_opt().is_some_and(same)
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
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    times: Times,
    next_row: u32,
}

impl Probe {
    fn look(&self, batch: RecordBatch) -> Result<Looked> {
        let keys = evaluated(&self.on, &batch)?;
        let hashes = hashes(&keys, batch.num_rows())?;
        let times = Times::of(&batch, self.interval)?;
        Ok(Looked { batch, keys, hashes, times, next_row: 0 })
    }

    /// The next rows that come of a batch; none where it is at its end.
    fn next(&self, held: &Held, looked: &mut Looked) -> Result<Option<RecordBatch>> {
        let rows = looked.batch.num_rows();
        let (mut held_rows, mut rows_here) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        while (looked.next_row as usize) < rows && held_rows.len() < self.rows_at_once {
            let row = looked.next_row;
            looked.next_row += 1;
            let Some((start, end)) = looked.times.get(row as usize) else { continue };
            if let Some(index) = held.by_hash.get(&looked.hashes[row as usize]) {
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
        let mut joined: BooleanArray = joined.as_boolean().clone();
        for (held_key, key) in held.keys.iter().zip(&looked.keys) {
            let equal = eq(&take(held_key, &pairs.0, None)?, &take(key, &pairs.1, None)?)?;
            joined = and(&joined, &equal)?;
        }
        let pairs = (
            filter(&pairs.0, &joined)?.as_primitive::<UInt32Type>().clone(),
            filter(&pairs.1, &joined)?.as_primitive::<UInt32Type>().clone(),
        );
        let columns = self.columns.iter().map(|&(side, column)| pick(side, column, &pairs));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Some(batch_of(Arc::clone(&self.schema), columns, pairs.0.len())?))
    }
}

/// A batch, also one of no column.
fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
