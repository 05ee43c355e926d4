#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci2sysext_fuzz::auth_file::run(data));
