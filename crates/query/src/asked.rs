//! Which captures a plan asks for: what its conditions say of hours, nodes and captures, before any file is listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use havana_rows::parquet::Table;

use crate::tables;

/// Nodes that are looked for one by one.
const NODES: usize = 8;

/// Of each table that is read the conditions that its rows must meet.
pub(crate) struct Asked<'a> {
    state: &'a SessionState,
    scans: Vec<Vec<Expr>>,
}

impl<'a> Asked<'a> {
    /// What a plan asks for. One that is optimised says most: conditions are then where tables are read.
    pub(crate) fn of(plan: &LogicalPlan, state: &'a SessionState) -> Result<Asked<'a>> {
        let mut scans = Vec::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && Table::ALL.iter().any(|table| table.name() == scan.table_name.table())
            {
                scans.push(scan.filters.iter().cloned().map(unnormalize_col).collect());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Asked { state, scans })
    }

    /// The nodes that are asked for, where all conditions name them, and few.
    pub(crate) fn nodes(&self) -> Option<Vec<String>> {
        let mut nodes = BTreeSet::new();
        for conditions in &self.scans {
            nodes.extend(conditions.iter().find_map(nodes_of)?);
        }
        (nodes.len() <= NODES).then(|| nodes.into_iter().collect())
    }

    /// Whether rows of captures with these keys may be asked for: the values of the first columns of
    /// [`ROOT_KEYS`](tables::ROOT_KEYS), column by column.
    pub(crate) fn keeps(&self, keys: &[Vec<&str>]) -> Result<Vec<bool>> {
        let names = &tables::ROOT_KEYS[..keys.len()];
        let rows = keys.first().map_or(0, Vec::len);
        let column = |values: &Vec<&str>| cast(&StringArray::from(values.clone()), &DataType::Utf8View);
        let columns = keys.iter().map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
        let field = |name: &&str| Field::new(*name, DataType::Utf8View, true);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>())), columns)?;
        let schema = DFSchema::try_from(batch.schema())?;
        let mut keeps = vec![false; rows];
        for conditions in &self.scans {
            let of_keys = conditions.iter().filter(|condition| expr_applicable_for_cols(names, condition));
            let Some(condition) = conjunction(of_keys.cloned()) else { return Ok(vec![true; rows]) };
            let condition = self.state.create_physical_expr(condition, &schema)?;
            let met = |rows: &RecordBatch| -> Result<Vec<bool>> {
                let met = condition.evaluate(rows)?.into_array(rows.num_rows())?;
                Ok(met.as_boolean().iter().map(|met| met == Some(true)).collect())
            };
            // One part of a condition may keep the other from what it cannot be asked of, row by row. Where one fails the engine
            // says so, if it comes to that.
            let each = |row| met(&batch.slice(row, 1)).map_or(true, |met| met == [true]);
            let met = met(&batch).unwrap_or_else(|_| (0..rows).map(each).collect());
            keeps.iter_mut().zip(met).for_each(|(keeps, met)| *keeps |= met);
        }
        Ok(keeps)
    }
}

/// The nodes that a condition allows, where it says so by name.
fn nodes_of(condition: &Expr) -> Option<Vec<String>> {
    let is_node = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == "node");
    let name = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(Into::into),
        _ => None,
    };
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_node(left) => Some(vec![name(right)?]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_node(right) => Some(vec![name(left)?]),
        // A list of two or three is taken apart.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some([nodes_of(left)?, nodes_of(right)?].concat())
        }
        Expr::InList(InList { expr, list, negated: false }) if is_node(expr) => list.iter().map(name).collect(),
        _ => None,
    }
}
