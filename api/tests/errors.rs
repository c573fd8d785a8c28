// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the table of error codes promises.

use vcuda_api::error;

#[test]
fn success_has_its_names_and_its_description() {
    assert_eq!(error::SUCCESS, 0);
    assert_eq!(error::runtime_name(0), c"cudaSuccess");
    assert_eq!(error::driver_name(0), Some(c"CUDA_SUCCESS"));
    assert_eq!(error::description(0), c"no error");
}

#[test]
fn a_code_of_one_api_has_no_name_in_the_other() {
    assert_eq!(
        error::runtime_name(error::INVALID_CONFIGURATION),
        c"cudaErrorInvalidConfiguration"
    );
    assert_eq!(error::driver_name(error::INVALID_CONFIGURATION), None);
    assert_eq!(
        error::driver_name(error::CONTEXT_ALREADY_CURRENT),
        Some(c"CUDA_ERROR_CONTEXT_ALREADY_CURRENT")
    );
    assert_eq!(
        error::runtime_name(error::CONTEXT_ALREADY_CURRENT),
        c"unrecognized error code"
    );
}

#[test]
fn unknown_codes_are_answered_like_cuda_does() {
    for code in [777, 10_000, u32::MAX] {
        assert!(error::find(code).is_none());
        assert_eq!(error::runtime_name(code), c"unrecognized error code");
        assert_eq!(error::description(code), c"unrecognized error code");
        assert_eq!(error::driver_name(code), None);
    }
}

#[test]
fn both_names_of_a_code_are_constants() {
    assert_eq!(error::OUT_OF_MEMORY, 2);
    assert_eq!(error::MEMORY_ALLOCATION, 2);
    assert_eq!(error::INVALID_VALUE, 1);
    assert_eq!(error::NOT_SUPPORTED, 801);
}

#[test]
fn every_code_is_found_and_described() {
    assert_eq!(error::all().len(), 135);
    for entry in error::all() {
        assert_eq!(error::find(entry.code), Some(entry));
        assert!(
            entry.runtime.is_some() || entry.driver.is_some(),
            "{}",
            entry.code
        );
        assert!(!entry.description.is_empty(), "{}", entry.code);
    }
}

#[test]
fn the_numbers_before_10_1_translate_both_ways() {
    assert_eq!(error::before_10_1(error::INVALID_VALUE), 11);
    assert_eq!(error::before_10_1(error::NOT_SUPPORTED), 71);
    for entry in error::all() {
        if let Some(number) = entry.before_10_1 {
            assert_eq!(error::from_before_10_1(number), Some(entry.code));
        }
    }
}

#[test]
fn an_error_that_old_runtimes_did_not_have_is_an_unknown_error_to_them() {
    assert_eq!(
        error::before_10_1(error::INVALID_CLUSTER_SIZE),
        error::before_10_1(error::UNKNOWN)
    );
    assert_eq!(error::from_before_10_1(999), None);
}
