//! Start, heap, output over semihosting and exit.

use alloc::format;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use embedded_alloc::LlffHeap;
use kernform::Isa;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// 16 MB of memory that these boards have beside the 4 MB of the stack; see `memory.x`.
fn heap_start() -> usize {
    // SAFETY: CPUID is readable on every Cortex-M.
    let part = unsafe { (*cortex_m::peripheral::CPUID::PTR).base.read() } >> 4 & 0xfff;
    if part == 0xc27 { 0x6000_0000 } else { 0x2100_0000 }
}

#[entry]
fn main() -> ! {
    // SAFETY: nothing else uses this memory, and this is called once.
    unsafe { HEAP.init(heap_start(), 16 << 20) };
    let isa = Isa::best();
    let mut done = crate::run_all(isa, &mut |name, digest| hprintln!("{:016x} {}", digest, name));
    if done.is_ok() {
        done = crate::words::pronounce(isa, &mut |line| hprintln!("{}", line));
    }
    match done {
        Ok(()) => debug::exit(debug::EXIT_SUCCESS),
        Err(error) => {
            hprintln!("{}", error);
            debug::exit(debug::EXIT_FAILURE);
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", format!("{info}"));
    debug::exit(debug::EXIT_FAILURE);
    loop {
        cortex_m::asm::bkpt();
    }
}
