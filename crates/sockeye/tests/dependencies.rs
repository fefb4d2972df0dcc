//! The library's default dependency tree stays as small as docs/design.md says.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::process::Command;

/// With this crate and sockeye-proto, build dependencies left out.
const MOST: usize = 72;

#[test]
fn the_dependency_tree_is_small_and_has_one_implementation_of_tls() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", env!("CARGO_PKG_NAME")])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    let crates: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect();
    let has = |name| crates.iter().any(|(found, _)| *found == name);
    assert!(
        output.status.success() && has("sockeye-proto") && has("rustls"),
        "no tree to look at: {}{tree}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(crates.len() <= MOST, "{} crates:\n{crates:#?}", crates.len());
    for other in ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys", "webpki-roots"] {
        assert!(!has(other), "{other} is in the tree");
    }
}
