//! libFuzzer entry: see `millstream_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: millstream_fuzz::start("frames"), |data: &[u8]| {
    millstream_fuzz::remember(data);
    millstream_fuzz::frames(data)
});
