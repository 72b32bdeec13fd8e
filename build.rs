//! The SDK's crates hold thousands of functions that are alike. Folding them makes the binary, and what of it must be in
//! memory, smaller; in development builds a fixed place in memory saves some more.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Only where lld is Rust's own default linker: others don't know the option.
    if std::env::var("TARGET").as_deref() != Ok("x86_64-unknown-linux-gnu") {
        return;
    }
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
