//! Every kernel on fixed inputs, and a digest of the bits that come out: on a Cortex-M as on a computer.
//!
//! ```text
//! cargo run                                                  # on this computer: a line for each case, all levels
//! cargo run --release --target thumbv7em-none-eabihf         # in an emulated Cortex-M4F (needs qemu-system-arm)
//! ```
//!
//! The digests of a computer's fused levels and of the microcontroller are the same. At the end the embedded Transformer
//! pronounces a few words, on bare metal too. `tests/run.sh cross` compares the outputs line by line.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod attention;
mod digest;
#[cfg(target_os = "none")]
mod firmware;
mod products;
mod rows;
mod words;

use kernform::Isa;

/// A failure anywhere is a text: there is nobody to handle it.
type Result = core::result::Result<(), alloc::string::String>;

/// Calls `line` with the name of each case and the digest of its result, in a fixed order.
fn run_all(isa: Isa, line: &mut dyn FnMut(&str, u64)) -> Result {
    rows::run(isa, line)?;
    products::run(isa, line)?;
    attention::run(isa, line)
}

#[cfg(not(target_os = "none"))]
fn main() -> Result {
    use kernform::{Class, Level};
    let mut expected: Option<Vec<String>> = None;
    for isa in Isa::available().filter(|isa| isa.class() == Class::Fused) {
        let mut lines = Vec::new();
        run_all(isa, &mut |name, digest| lines.push(format!("{digest:016x} {name}")))?;
        match &expected {
            None => expected = Some(lines),
            Some(expected) if *expected == lines => {}
            Some(expected) => {
                let differ = expected.iter().zip(&lines).find(|(a, b)| a != b);
                return Err(format!("{isa} differs from {}: {differ:?}", Level::Scalar));
            }
        }
    }
    for line in expected.unwrap_or_default() {
        println!("{line}");
    }
    words::pronounce(Isa::best(), &mut |line| println!("{line}"))
}
