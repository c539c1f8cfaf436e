//! Ready-made sets of columns.

use std::sync::Arc;

use super::stations::STATIONS;
use crate::record::{DataType, Field, Schema};

/// A column of a preset: what a user would declare and write as options.
pub struct PresetField {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub data_type: DataType,
    /// `fields.<name>.…` options.
    pub options: &'static [(&'static str, &'static str)],
}

/// A ready-made set of columns.
pub struct Preset {
    /// Its name in `preset = '…'`.
    pub name: &'static str,
    /// One line.
    pub doc: &'static str,
    /// Options of the file that `generate` writes, where they differ from what its name says.
    pub file: &'static str,
    /// Its columns.
    pub fields: &'static [PresetField],
}

impl Preset {
    /// Its columns as a schema.
    pub fn schema(&self) -> Arc<Schema> {
        Schema::new(self.fields.iter().map(|f| Field::new(f.name, f.data_type.clone())))
    }
}

const fn field(
    name: &'static str,
    data_type: DataType,
    options: &'static [(&'static str, &'static str)],
) -> PresetField {
    PresetField { name, data_type, options }
}

/// All presets.
pub static PRESETS: &[Preset] = &[
    Preset {
        name: "orders",
        doc: "orders of shares: 7 columns, on average 148 bytes as a line of JSON",
        file: "",
        fields: &[
            field("order_id", DataType::BigInt, &[("kind", "sequence"), ("start", "1000000000")]),
            field("customer_id", DataType::BigInt, &[("min", "100000"), ("max", "999999")]),
            field("amount", DataType::Double, &[("min", "1"), ("max", "9999.99"), ("decimals", "2")]),
            field(
                "symbol",
                DataType::Varchar,
                &[("kind", "choice"), ("values", "AAPL,MSFT,GOOG,AMZN,NVDA,META,TSLA,ORCL,SAP,IBM,INTC,AMD")],
            ),
            field("side", DataType::Varchar, &[("kind", "choice"), ("values", "buy,sell")]),
            field(
                "venue",
                DataType::Varchar,
                &[
                    ("kind", "choice"),
                    (
                        "values",
                        "NASDAQ New York,NYSE New York,XETRA Frankfurt,London Exchange,Euronext Paris,SIX Zurich",
                    ),
                    ("weights", "4,4,2,2,1,1"),
                ],
            ),
            field("ts", DataType::Varchar, &[("kind", "timestamp"), ("step", "15ms")]),
        ],
    },
    Preset {
        name: "clicks",
        doc: "page views, up to 5 s out of order, some without a user",
        file: "",
        fields: &[
            field("click_id", DataType::BigInt, &[("kind", "sequence"), ("start", "1")]),
            field("user_id", DataType::BigInt, &[("min", "1"), ("max", "10000"), ("nulls", "0.1")]),
            field("session_id", DataType::Varchar, &[("prefix", "s-"), ("min", "1"), ("max", "50000")]),
            field(
                "url",
                DataType::Varchar,
                &[
                    ("kind", "choice"),
                    ("values", "/,/products,/products/42,/cart,/checkout,/search,/about,/help"),
                    ("weights", "30,20,15,8,3,15,4,5"),
                ],
            ),
            field(
                "device",
                DataType::Varchar,
                &[("kind", "choice"), ("values", "phone,desktop,tablet"), ("weights", "6,3,1")],
            ),
            field(
                "status",
                DataType::Integer,
                &[("kind", "choice"), ("values", "200,304,404,500"), ("weights", "90,5,4,1")],
            ),
            field("duration_ms", DataType::Integer, &[("min", "1"), ("max", "30000")]),
            field("ts", DataType::Timestamp, &[("kind", "timestamp"), ("step", "10ms"), ("jitter", "5s")]),
        ],
    },
    Preset {
        name: "sensors",
        doc: "readings of 100 sensors, a second apart, some values missing",
        file: "",
        fields: &[
            field("sensor_id", DataType::Varchar, &[("prefix", "sensor-"), ("min", "0"), ("max", "99")]),
            field(
                "temperature",
                DataType::Double,
                &[("min", "-10"), ("max", "45"), ("decimals", "1"), ("nulls", "0.01")],
            ),
            field(
                "humidity",
                DataType::Double,
                &[("min", "15"), ("max", "100"), ("decimals", "1"), ("nulls", "0.01")],
            ),
            field("battery", DataType::Integer, &[("min", "0"), ("max", "100")]),
            field(
                "ok",
                DataType::Boolean,
                &[("kind", "choice"), ("values", "true,false"), ("weights", "99,1")],
            ),
            field("ts", DataType::Timestamp, &[("kind", "timestamp"), ("step", "10ms"), ("jitter", "2s")]),
        ],
    },
    Preset {
        name: "measurements",
        doc: "lines station;temperature of 536 stations, each with a mean of its own, as in the One Billion Row Challenge",
        file: "format = 'csv', delimiter = ';', header = 'false'",
        fields: &[
            field("station", DataType::Varchar, &[("kind", "choice"), ("values", STATIONS)]),
            field(
                "temperature",
                DataType::Decimal { precision: 3, scale: 1 },
                &[("min", "-99.9"), ("max", "99.9"), ("by", "station"), ("spread", "10")],
            ),
        ],
    },
];
