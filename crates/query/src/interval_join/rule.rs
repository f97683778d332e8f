//! Which joins are joins of intervals.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, NullEquality, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};

use super::{Interval, IntervalJoinExec};

/// Puts an [`IntervalJoinExec`] in the place of an inner join whose condition has two intervals overlap.
///
/// It comes after the engine has chosen which side is the smaller one, and before it sees to how the sides are
/// partitioned.
#[derive(Debug)]
pub(crate) struct OverlapsByIndex;

impl PhysicalOptimizerRule for OverlapsByIndex {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let by_index = |node: Arc<dyn ExecutionPlan>| match interval_join(&node) {
            Some(join) => Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(by_index).data()
    }

    fn name(&self) -> &'static str {
        "overlaps_by_index"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn interval_join(node: &Arc<dyn ExecutionPlan>) -> Option<IntervalJoinExec> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let plain = join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing;
        let filter = join.filter.as_ref().filter(|_| plain)?;
        return joined(node, (&join.left, &join.right), join.on.clone(), filter, join.projection.as_deref());
    }
    let join = node.downcast_ref::<NestedLoopJoinExec>()?;
    let filter = join.filter().filter(|_| *join.join_type() == JoinType::Inner)?;
    joined(node, (join.left(), join.right()), Vec::new(), filter, join.projection().as_deref())
}

fn joined(
    node: &Arc<dyn ExecutionPlan>,
    (left, right): (&Arc<dyn ExecutionPlan>, &Arc<dyn ExecutionPlan>),
    on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    filter: &JoinFilter,
    projection: Option<&[usize]>,
) -> Option<IntervalJoinExec> {
    let intervals = overlap(filter)?;
    let lefts = left.schema().fields().len();
    let all = (0..lefts).map(|at| (JoinSide::Left, at));
    let all: Vec<_> = all.chain((0..right.schema().fields().len()).map(|at| (JoinSide::Right, at))).collect();
    let columns = match projection {
        Some(projection) => projection.iter().map(|&at| all[at]).collect(),
        None => all,
    };
    let sides = (Arc::clone(left), Arc::clone(right));
    Some(IntervalJoinExec::new(sides, on, intervals, filter.clone(), (columns, node.schema())))
}

/// The intervals that a condition has overlap: `left.start < right.end AND right.start < left.end`, or with `<=`.
fn overlap(filter: &JoinFilter) -> Option<(Interval, Interval)> {
    let side_of = |expression: &Arc<dyn PhysicalExpr>| {
        let column = expression.downcast_ref::<Column>()?;
        let whole = filter.schema().field(column.index()).data_type() == &DataType::Int64;
        filter.column_indices().get(column.index()).filter(|_| whole)
    };
    let (mut left_first, mut right_first) = (None, None);
    for term in split_conjunction(filter.expression()) {
        let Some(term) = term.downcast_ref::<BinaryExpr>() else { continue };
        let (low, high) = match term.op() {
            Operator::Lt | Operator::LtEq => (term.left(), term.right()),
            Operator::Gt | Operator::GtEq => (term.right(), term.left()),
            _ => continue,
        };
        let (Some(low), Some(high)) = (side_of(low), side_of(high)) else { continue };
        match (low.side, high.side) {
            (JoinSide::Left, JoinSide::Right) => left_first = left_first.or(Some((low.index, high.index))),
            (JoinSide::Right, JoinSide::Left) => right_first = right_first.or(Some((low.index, high.index))),
            _ => {}
        }
    }
    let ((left_start, right_end), (right_start, left_end)) = (left_first?, right_first?);
    Some((Interval { start: left_start, end: left_end }, Interval { start: right_start, end: right_end }))
}
