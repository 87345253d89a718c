//! Puts `memory.x` where the linker finds it, and compiles the peer where there is one.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    println!("cargo::rerun-if-env-changed=CMSIS_NN");
    println!("cargo::rustc-check-cfg=cfg(cmsis_nn)");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy("memory.x", out.join("memory.x")).expect("the output folder can be written");
    println!("cargo::rustc-link-search={}", out.display());
    for argument in ["-Tlink.x", "--nmagic"] {
        println!("cargo::rustc-link-arg={argument}");
    }
    let Some(peer) = env::var_os("CMSIS_NN").map(PathBuf::from) else { return };
    let source = peer.join("Source/NNSupportFunctions");
    cc::Build::new()
        .compiler("arm-none-eabi-gcc")
        .flags(["-O3", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb"])
        .include(peer.join("Include"))
        .files(["arm_nn_mat_mult_nt_t_s8.c", "arm_nn_vec_mat_mult_t_s8.c"].map(|file| source.join(file)))
        .compile("cmsis_nn");
    println!("cargo::rustc-cfg=cmsis_nn");
}
