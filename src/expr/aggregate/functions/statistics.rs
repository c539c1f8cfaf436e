//! Variance, covariance, correlation, linear regression.

use super::super::accumulator::Inner;
use super::super::moments::{Moments, Spread};
use super::super::regression::Regression;
use super::super::{Accumulator, AggregateFunction};
use super::row::{keeps, row};
use crate::record::DataType;

const DOUBLE: DataType = DataType::Double;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let mut all = spreads();
    all.extend(pairs());
    all
}

fn spreads() -> Vec<AggregateFunction> {
    const SAMPLE: &str = "Standard deviation of a sample";
    let rows = "(1), (2), (4), (NULL)";
    [
        ("stddev(number)", SAMPLE, "stddev(x)", "1.5275252316519468", Spread::StddevSamp),
        ("stddev_samp(number)", SAMPLE, "stddev_samp(x)", "1.5275252316519468", Spread::StddevSamp),
        (
            "stddev_pop(number)",
            "Standard deviation of all there is",
            "stddev_pop(x)",
            "1.247219128924647",
            Spread::StddevPop,
        ),
        ("variance(number)", "Variance of a sample", "variance(x)", "2.3333333333333335", Spread::VarSamp),
        ("var_samp(number)", "Variance of a sample", "var_samp(x)", "2.3333333333333335", Spread::VarSamp),
        ("var_pop(number)", "Variance of all there is", "var_pop(x)", "1.5555555555555556", Spread::VarPop),
    ]
    .into_iter()
    .map(|(signature, doc, call, result, spread)| {
        keeps(row(signature, doc, (call, rows, result), [DOUBLE], DOUBLE, move |_, _| {
            Accumulator(Inner::Moments { moments: Moments::default(), result: spread })
        }))
    })
    .collect()
}

type Result = fn(&Regression) -> Option<f64>;

fn pairs() -> Vec<AggregateFunction> {
    const ROWS: &str = "(1, 1), (3, 2), (4, 4), (NULL, 9)";
    let table: [(&'static str, &'static str, &'static str, &'static str, Result); 11] = [
        ("covar_pop(y, x)", "Covariance of all there is", "covar_pop(x, y)", "1.4444444444444444", |r| {
            Some(r.sxy / r.n)
        }),
        ("covar_samp(y, x)", "Covariance of a sample", "covar_samp(x, y)", "2.1666666666666665", |r| {
            (r.n > 1.0).then(|| r.sxy / (r.n - 1.0))
        }),
        ("corr(y, x)", "Correlation, from -1 to 1", "corr(x, y)", "0.9285714285714286", |r| {
            (r.sxx != 0.0 && r.syy != 0.0).then(|| r.sxy / (r.sxx * r.syy).sqrt())
        }),
        (
            "regr_slope(y, x)",
            "Slope of the line of least squares",
            "regr_slope(x, y)",
            "0.9285714285714286",
            |r| (r.sxx != 0.0).then(|| r.sxy / r.sxx),
        ),
        (
            "regr_intercept(y, x)",
            "Where the line of least squares meets x = 0",
            "regr_intercept(x, y)",
            "0.4999999999999997",
            |r| (r.sxx != 0.0).then(|| (r.sy - r.sx * r.sxy / r.sxx) / r.n),
        ),
        ("regr_r2(y, x)", "Square of the correlation", "regr_r2(x, y)", "0.8622448979591838", |r| {
            (r.sxx != 0.0).then(|| if r.syy == 0.0 { 1.0 } else { r.sxy * r.sxy / (r.sxx * r.syy) })
        }),
        ("regr_avgx(y, x)", "Mean of x over the pairs", "regr_avgx(x, y)", "2.3333333333333335", |r| {
            Some(r.sx / r.n)
        }),
        ("regr_avgy(y, x)", "Mean of y over the pairs", "regr_avgy(x, y)", "2.6666666666666665", |r| {
            Some(r.sy / r.n)
        }),
        (
            "regr_sxx(y, x)",
            "Sum of squares of x about its mean",
            "regr_sxx(x, y)",
            "4.666666666666666",
            |r| Some(r.sxx),
        ),
        (
            "regr_syy(y, x)",
            "Sum of squares of y about its mean",
            "regr_syy(x, y)",
            "4.666666666666666",
            |r| Some(r.syy),
        ),
        (
            "regr_sxy(y, x)",
            "Sum of products of x and y about their means",
            "regr_sxy(x, y)",
            "4.333333333333333",
            |r| Some(r.sxy),
        ),
    ];
    let mut all: Vec<AggregateFunction> = table
        .into_iter()
        .map(|(signature, doc, call, result, read)| {
            keeps(row(signature, doc, (call, ROWS, result), [DOUBLE, DOUBLE], DOUBLE, move |_, _| {
                Accumulator::boxed(Regression::new(read))
            }))
        })
        .collect();
    all.push(row(
        "regr_count(y, x)",
        "Number of pairs without NULL",
        ("regr_count(x, y)", ROWS, "3"),
        [DOUBLE, DOUBLE],
        DataType::BigInt,
        |_, _| Accumulator::boxed(Regression::counting()),
    ));
    all
}
