//! libFuzzer entry: see `millstream_fuzz::csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: millstream_fuzz::start("csv"), |data: &[u8]| {
    millstream_fuzz::remember(data);
    millstream_fuzz::csv(data)
});
