//! This crate stands on `sockeye`'s public API and little else.

use std::process::Command;

/// What the crate may depend on directly.
const ALLOWED: &[&str] = &["futures-core", "futures-sink", "sockeye", "thiserror", "tokio", "url"];

/// The names of the packages that a crate's tree holds down to some depth.
fn tree(package: &str, depth: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", package, "--depth", depth])
        .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<_> =
        text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn it_depends_on_sockeye_and_what_that_has_in_its_tree() {
    let direct: Vec<_> = tree("sockeye-web", "1").into_iter().filter(|name| name != "sockeye-web").collect();
    assert_eq!(direct, ALLOWED);
    let below = tree("sockeye", "99");
    let new: Vec<_> = tree("sockeye-web", "99").into_iter().filter(|name| !below.contains(name)).collect();
    assert_eq!(new, ["sockeye-web"], "no crate comes along that sockeye does not have already");
}
