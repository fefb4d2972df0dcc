//! The help texts.

#![cfg(unix)]

mod support;

use support::run;

#[test]
fn each_help_fits_a_screen_and_has_an_example() {
    for (verb, example) in [("serve", "\n  sockeye serve"), ("connect", "\n  sockeye connect ws://")] {
        let long = run(&[verb, "--help"], "");
        assert_eq!((long.code, &long.stderr[..]), (Some(0), ""), "{verb}");
        assert!(long.out().lines().count() <= 24, "{verb}: {} lines", long.out().lines().count());
        for line in long.out().lines() {
            assert!(line.chars().count() <= 80, "{verb}: {line}");
        }
        assert!(long.out().contains(example), "{verb}");
        assert_eq!(run(&[verb, "-h"], "").out(), long.out(), "{verb}: -h is the same");
    }
}

#[test]
fn the_main_help_names_the_verbs_and_the_exit_codes() {
    let help = run(&["--help"], "");
    assert_eq!(help.code, Some(0));
    assert!(help.out().lines().count() <= 24);
    for part in ["  connect  ", "  serve    ", "Exit codes:", "  14  an HTTP status", " 130  interrupted"] {
        assert!(help.out().contains(part), "{part}");
    }
    assert_eq!(run(&["--version"], "").out(), concat!("sockeye ", env!("CARGO_PKG_VERSION"), "\n"));
}
