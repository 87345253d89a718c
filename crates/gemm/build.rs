//! Tells the crate what a microcontroller has: stable compilers have no `cfg` for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(kernform_dsp)");
    println!("cargo::rustc-check-cfg=cfg(kernform_vfma)");
    let target = std::env::var("TARGET").unwrap_or_default();
    // Cortex-M4 and M7, with or without floating point.
    if target.starts_with("thumbv7em-") {
        println!("cargo::rustc-cfg=kernform_dsp");
    }
    // The fused multiply-add of Cortex-M4F, M7F, M33F and M55.
    if ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"].contains(&&*target) {
        println!("cargo::rustc-cfg=kernform_vfma");
    }
}
