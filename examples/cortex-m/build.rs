//! Puts `memory.x` where the linker finds it.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        fs::copy("memory.x", out.join("memory.x")).expect("the output folder can be written");
        println!("cargo::rustc-link-search={}", out.display());
        for argument in ["-Tlink.x", "--nmagic"] {
            println!("cargo::rustc-link-arg={argument}");
        }
    }
}
