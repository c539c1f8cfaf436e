//! libFuzzer entry: see `millstream_fuzz::sql`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: millstream_fuzz::start("sql"), |data: &[u8]| {
    millstream_fuzz::remember(data);
    millstream_fuzz::sql(data)
});
