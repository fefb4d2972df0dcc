//! Has the linker leave Node's functions open.

fn main() {
    napi_build::setup();
}
