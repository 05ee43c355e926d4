#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci2sysext_fuzz::storage::run(data));
