//! The digests that the firmware in `examples/cortex-m` must print are those of every fused level of this CPU.

extern crate alloc;

#[path = "../../../examples/cortex-m/src/attention.rs"]
mod attention;
#[path = "../../../examples/cortex-m/src/digest.rs"]
mod digest;
#[path = "../../../examples/cortex-m/src/products.rs"]
mod products;
#[path = "../../../examples/cortex-m/src/rows.rs"]
mod rows;
#[path = "../../../examples/cortex-m/src/words.rs"]
mod words;

use kernform::{Class, Isa};

type Result = core::result::Result<(), String>;

#[test]
fn every_fused_level_has_the_bits_of_the_microcontroller() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cortex-m/expected.txt");
    let expected = std::fs::read_to_string(path).unwrap();
    for isa in Isa::available().filter(|isa| isa.class() == Class::Fused) {
        let mut found = String::new();
        let mut line = |name: &str, digest: u64| found += &format!("{digest:016x} {name}\n");
        rows::run(isa, &mut line).unwrap();
        products::run(isa, &mut line).unwrap();
        attention::run(isa, &mut line).unwrap();
        words::pronounce(isa, &mut |line| found += &format!("{line}\n")).unwrap();
        let differ = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        assert!(differ.is_none(), "{isa} against the microcontroller: {differ:?}");
        assert_eq!(expected.lines().count(), found.lines().count(), "{isa}");
    }
}
