#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci2sysext_fuzz::registries_conf::run(data));
