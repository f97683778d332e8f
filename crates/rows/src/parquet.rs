//! The Parquet form of every table.
