//! The help texts.

#![cfg(unix)]

mod support;

use support::run;

#[test]
fn each_help_fits_a_screen_and_has_an_example() {
    for (verb, example) in [("serve", "\n  sockeye serve"), ("connect", "\n  sockeye connect ws://")] {
        let (short, long) = (run(&[verb, "-h"], ""), run(&[verb, "--help"], ""));
        for help in [&short, &long] {
            assert_eq!((help.code, &help.stderr[..]), (Some(0), ""), "{verb}");
            for line in help.out().lines() {
                assert!(line.chars().count() <= 80, "{verb}: {line}");
            }
            assert!(help.out().contains(example), "{verb}");
        }
        assert!(short.out().lines().count() <= 24, "{verb}: {} lines", short.out().lines().count());
        for option in short.out().lines().filter_map(|line| line.split("--").nth(1)) {
            let name = option.split_whitespace().next().unwrap();
            assert!(long.out().contains(&format!("--{name}")), "{verb}: {name}");
        }
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
