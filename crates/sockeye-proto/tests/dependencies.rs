//! The core has no runtime: bytes and instants in, events and bytes out.

use std::process::Command;

/// Crates that bring a runtime, sockets, tasks or threads.
const RUNTIMES: &[&str] = &[
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-std",
    "compio",
    "futures-channel",
    "futures-executor",
    "futures-util",
    "glommio",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "monoio",
    "polling",
    "rayon",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-util",
    "tower",
];

#[test]
fn the_dependency_tree_holds_no_runtime() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", env!("CARGO_PKG_NAME"), "--all-features"])
        .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(
        output.status.success() && names.contains(&"sockeye-proto") && names.contains(&"bytes"),
        "no tree to look at: {}{tree}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Vec<_> = names.iter().filter(|name| RUNTIMES.contains(name)).collect();
    assert!(found.is_empty(), "{found:?} in the tree:\n{tree}");
}
