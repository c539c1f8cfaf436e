//! libFuzzer entry: see `millstream_fuzz::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: millstream_fuzz::start("state"), |data: &[u8]| {
    millstream_fuzz::remember(data);
    millstream_fuzz::state(data)
});
