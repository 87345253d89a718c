//! Tells the crate that the target has the DSP extension of Armv7E-M: stable compilers have no `cfg` for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(kernform_dsp)");
    // Cortex-M4 and M7, with or without floating point.
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7em-")) {
        println!("cargo::rustc-cfg=kernform_dsp");
    }
}
