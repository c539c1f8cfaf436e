//! Aggregations by hand-made plans.
