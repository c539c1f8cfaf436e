//! libFuzzer entry: see `millstream_fuzz::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: millstream_fuzz::start("json"), |data: &[u8]| {
    millstream_fuzz::remember(data);
    millstream_fuzz::json(data)
});
