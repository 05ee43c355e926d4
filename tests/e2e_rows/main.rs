//! Bad inputs through the program itself, row by row (bad-inputs.md): each ends with its exit code
//! and its stable id, two lines that help, and nothing left behind.
//!
//! Where each row is tested; what has no file in front of it is a module of this program.
//!
//! | row | test |
//! |---|---|
//! | 1, 3, 4, 6, 8–12, 14 | signatures::rows_1_to_14_what_is_offered_as_a_signature |
//! | 2 | registry::row_2_a_signature_lookup_that_fails |
//! | 5 | signatures::row_5_a_signature_of_another_repository |
//! | 7 | signatures::row_7_a_changed_signature_blob |
//! | 13 | signatures::row_13_too_many_signatures_or_too_large |
//! | 18 | usage::row_18_files_that_are_no_keys |
//! | 31 | registry::row_31_a_tag_that_moves |
//! | 32 | registry::row_32_other_bytes_under_a_digest |
//! | 33 | usage::rows_33_and_100_references_that_are_none, documents::rows_33_34_40_41_documents |
//! | 34 | documents::rows_33_34_40_41_documents |
//! | 35, 36 | documents::rows_35_and_36_indexes |
//! | 39 | documents::row_39_changed_layers |
//! | 40, 41 | documents::rows_33_34_40_41_documents |
//! | 42, 43 | compression::rows_42_and_43_gzip |
//! | 45 | compression::row_45_ten_gigabytes_of_zeros, compression::row_45_limits_are_the_users |
//! | 46–51 | archives::rows_46_to_51_names_and_links |
//! | 52, 53 | archives::rows_52_and_53_pax_records |
//! | 54–57 | archives::rows_54_to_57_ends_and_kinds |
//! | 58 | archives::row_58_limits, archives::row_58_five_million_entries |
//! | 59, 60, 64, 68 | archives::rows_59_60_64_68_no_extension |
//! | 59a, 61 | reports::rows_59a_and_61_whiteouts_and_privileged_files |
//! | 62 | reports::rows_62_and_63_names_of_any_bytes |
//! | 63 | reports::rows_62_and_63_names_of_any_bytes, registry::rows_63_and_92_a_refusal_in_wild_words |
//! | 65 | reports::row_65_an_os_release_of_the_layer |
//! | 69 | bases::row_69_a_release_file_of_another_extension |
//! | 70, 95 | bases::rows_70_and_95_labels |
//! | 71 | registry::row_71_a_busy_registry |
//! | 72 | registry::row_72_a_registry_that_is_always_busy |
//! | 73 | tests/registry/download.rs::row_73_a_connection_reset_at_any_byte_is_resumed |
//! | 74 | tests/registry/download.rs::row_74_a_registry_that_always_stalls_is_given_up |
//! | 75 | tests/registry/download.rs::row_75_a_range_answered_with_everything_is_discarded_once |
//! | 76 | tests/registry/credentials.rs::row_76_a_token_that_ends_in_the_middle_of_a_blob_is_renewed |
//! | 77 | registry::row_77_a_redirect_to_another_host |
//! | 78 | registry::row_78_redirects_that_are_not_followed |
//! | 79 | registry::row_79_token_services |
//! | 80 | tests/e2e_registry.rs::a_registry_of_an_unknown_authority_is_refused |
//! | 81 | tests/e2e_faults.rs::a_full_disk, tests/e2e_faults.rs::a_failing_disk, tests/e2e_faults.rs::row_81_erofs_on_a_disk_of_any_size, tests/e2e_faults.rs::row_81_composefs_on_a_disk_of_any_size, tests/e2e_faults.rs::row_81_no_room_for_what_waits, tests/e2e_faults.rs::rows_81_and_85_an_object_store_at_any_step |
//! | 82 | registry::row_82_a_layer_that_has_no_room, registry::row_82_a_spool_on_a_small_disk |
//! | 83 | outputs::rows_83_and_94_a_name_that_is_taken, tests/e2e_faults.rs::a_read_only_destination |
//! | 84 | tests/e2e_faults.rs::a_signal_ends_the_run, tests/e2e_faults.rs::row_84_signals_at_random_moments |
//! | 85 | tests/e2e_faults.rs::a_kill_at_any_step, tests/e2e_faults.rs::rows_81_and_85_an_object_store_at_any_step, tests/e2e_faults.rs::a_disk_that_knows_less |
//! | 86 | tests/e2e_faults.rs::two_runs_with_one_output |
//! | 87 | tests/e2e_faults.rs::a_kill_at_any_step |
//! | 91 | registry::row_91_a_name_that_is_not_there |
//! | 92 | registry::rows_63_and_92_a_refusal_in_wild_words |
//! | 93 | usage::row_93_no_trust |
//! | 94 | outputs::rows_83_and_94_a_name_that_is_taken |
//! | 96–98 | bases::rows_96_to_98_hosts |
//! | 98, 99 | tests/boundary/rules.rs::the_user_names_a_base, tests/boundary/rules.rs::the_image_names_its_base |
//! | 100 | usage::rows_33_and_100_references_that_are_none |

#[path = "../common/mod.rs"]
mod common;

mod archives;
mod bases;
mod compression;
mod documents;
mod outputs;
mod registry;
mod reports;
mod signatures;
mod usage;

use std::fs;

use common::command::{Outcome, Workdir};
use common::hub::Hub;
use common::layout::Layout;
use common::sign::{Key, Signer};

/// A key of openssl's.
fn key() -> Option<Key> {
    Signer::OpenSsl.new_key()
}

/// Converts a layout. `want` is `0`, or the exit code and the id of the refusal; an older image
/// is there then and must stay.
#[track_caller]
fn expect(row: &str, want: &str, layout: &Layout, key: &Key, more: &[&str]) -> Outcome {
    let reference = layout.reference();
    let key = key.public().display().to_string();
    let arguments = [reference.as_str(), "--key", &key, "-o", "image.raw"];
    expect_run(row, want, arguments.iter().chain(more))
}

/// The same for an image in a registry.
#[track_caller]
fn expect_of(row: &str, want: &str, hub: &Hub, key: &Key, more: &[&str]) -> Outcome {
    let arguments = hub.arguments(key);
    expect_run(row, want, arguments.iter().map(String::as_str).chain(more.iter().copied()))
}

#[track_caller]
fn expect_run<S: AsRef<str>>(
    row: &str,
    want: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Outcome {
    let work = Workdir::new();
    let mut command = work.command();
    command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
    println!("row {row}: {command:?}");
    let Some((code, id)) = want.split_once(' ') else {
        assert_eq!(want, "0", "row {row}");
        return work.converts_command(&mut command);
    };
    fs::write(work.out("image.raw"), "an older image").expect("a written file");
    let code = code.parse().expect("an exit code");
    let outcome = work.refuses_command(code, command.arg("--force"));
    assert_eq!(outcome.id(), id, "row {row}: {outcome:#?}");
    outcome
}

/// The table above names tests that there are.
#[test]
fn the_table_of_rows_is_true() {
    let table: Vec<_> =
        include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("//! | ")).collect();
    assert!(table.len() > 40, "{} lines", table.len());
    for line in table.iter().skip(1) {
        let (_, tests) = line.split_once(" | ").expect("two columns");
        for test in tests.trim_end_matches(" |").split(", ") {
            let (place, name) = test.rsplit_once("::").expect("MODULE::TEST");
            let here = common::repository(&format!("tests/e2e_rows/{place}.rs"));
            let file = if here.exists() { here } else { common::repository(place) };
            let text = fs::read_to_string(&file).expect("a test program");
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "no test {test}");
        }
    }
}
