//! Instructions a multiply-add, or an element, of kernels on a Cortex-M4F, beside CMSIS-NN's.
//!
//! ```text
//! CMSIS_NN=path/to/CMSIS-NN cargo run --release      # without the variable: kernform alone
//! ```
//!
//! The emulator's clock goes on by one nanosecond an instruction, and the system timer counts its 25 MHz: 40 instructions
//! a tick. Cycles differ: a load or a fused multiply-add takes more than one.
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(cmsis_nn)]
mod peer;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use embedded_alloc::LlffHeap;
use kernform::Isa;
use kernform::attention::{Heads, Mask, Rows as Tokens, RowsMut, Segment, attend, attend_scratch_len};
use kernform::gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len};
use kernform::gemm::{Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform::math::{self, Rows as MathRows};
use kernform::norm::{LayerNorm, layer_norm};
use kernform::tensor::{MatrixMut, MatrixRef, Serial};

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// Instructions between two ticks of the timer.
const A_TICK: u32 = 40;

/// Counts instructions.
struct Counter(cortex_m::peripheral::SYST);

impl Counter {
    fn new(mut timer: cortex_m::peripheral::SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(0x00ff_ffff);
        timer.clear_current();
        timer.enable_counter();
        Self(timer)
    }

    /// Prints the instructions of `run` for each of `amount` units of work.
    fn report(&mut self, name: &str, amount: usize, unit: &str, mut run: impl FnMut()) {
        run();
        self.0.clear_current();
        let before = cortex_m::peripheral::SYST::get_current();
        run();
        let after = cortex_m::peripheral::SYST::get_current();
        let count = before.wrapping_sub(after) & 0x00ff_ffff;
        let each = f64::from(count * A_TICK) / amount as f64;
        hprintln!("| {} | {:.2} | {} |", name, each, unit);
    }
}

fn numbers(len: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    (0..len).map(|_| next()).collect()
}

fn floats(len: usize, seed: u32) -> Vec<f32> {
    numbers(len, seed).iter().map(|x| *x as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn bytes(len: usize, seed: u32) -> Vec<i8> {
    numbers(len, seed).iter().map(|x| (*x >> 8) as i8).collect()
}

/// Rows, columns and depth: a projection of a few tokens and of one.
const SHAPES: [(usize, usize, usize); 3] = [(16, 128, 128), (1, 128, 128), (1, 128, 512)];

fn products(counter: &mut Counter, isa: Isa, (m, n, k): (usize, usize, usize)) -> Result<(), String> {
    let wrong = |error: kernform::gemm::GemmError| error.to_string();
    let shape = |error: kernform::tensor::ShapeError| error.to_string();
    let (a, b, bias) = (floats(m * k, 1), floats(n * k, 2), floats(n, 3));
    let name = format!("{m} x {n} x {k}");
    let weights = MatrixRef::new(&b, n, k).map_err(shape)?.transpose();
    let packed = PackedB::pack(weights).map_err(wrong)?;
    let rows = MatrixRef::new(&a, m, k).map_err(shape)?;
    let mut scratch = vec![0.0; gemm_scratch_len(1, m, n, k, Layout::of(&rows), Layout::Packed)];
    let mut c = vec![0.0; m * n];
    let mut failed = None;
    counter.report(&format!("f32 product {name}"), m * n * k, "multiply-add", || {
        let done = MatrixMut::new(black_box(&mut c), m, n).map_err(shape).and_then(|c| {
            gemm(isa, &Serial, rows, Operand::Packed(&packed), c, &Epilogue::bias(Some(&bias)), &mut scratch)
                .map_err(wrong)
        });
        failed = done.err();
    });
    let (x, w) = (bytes(m * k, 4), bytes(n * k, 5));
    let packed = PackedI8::pack(MatrixRef::new(&w, n, k).map_err(shape)?.transpose()).map_err(wrong)?;
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k)];
    let mut sums = vec![0; m * n];
    let bytes = MatrixRef::new(&x, m, k).map_err(shape)?;
    counter.report(&format!("int8 product {name}, to i32"), m * n * k, "multiply-add", || {
        let done = MatrixMut::new(black_box(&mut sums), m, n)
            .map_err(shape)
            .and_then(|c| gemm_i8_i32(isa, &Serial, bytes, &packed, c, &mut scratch).map_err(wrong));
        failed = failed.take().or(done.err());
    });
    let scales = floats(n, 6);
    for (what, rows) in [
        ("scaled to f32", Rows::Quantized { values: bytes, scale: Scale::One(0.02) }),
        ("from f32 to f32", Rows::Dynamic(rows)),
    ] {
        counter.report(&format!("int8 product {name}, {what}"), m * n * k, "multiply-add", || {
            let epilogue = Epilogue::bias(Some(&bias));
            let done = MatrixMut::new(black_box(&mut c), m, n).map_err(shape).and_then(|c| {
                gemm_i8(isa, &Serial, rows, &packed, Scale::Each(&scales), c, &epilogue, &mut scratch).map_err(wrong)
            });
            failed = failed.take().or(done.err());
        });
    }
    #[cfg(cmsis_nn)]
    peer::product(counter, (m, n, k), &x, &w, &name);
    failed.map_or(Ok(()), Err)
}

fn others(counter: &mut Counter, isa: Isa) -> Result<(), String> {
    let x = floats(128, 7);
    let (gamma, mut out) = (floats(128, 8), vec![0.0; 128]);
    let mut failed = None;
    let rows = MathRows::dense(1, 128);
    counter.report("softmax of 128", 128, "element", || {
        failed = math::softmax(isa, black_box(&x), rows, &mut out).err().map(|error| error.to_string());
    });
    counter.report("LayerNorm of 128", 128, "element", || {
        let norm = LayerNorm { gamma: &gamma, beta: Some(&gamma), epsilon: 1e-5 };
        let done = layer_norm(isa, &norm, black_box(&x), rows, &mut out, 128);
        failed = failed.take().or(done.err().map(|error| error.to_string()));
    });
    counter.report("GELU, tanh form, of 128", 128, "element", || {
        let done = math::gelu_tanh(isa, black_box(&x), &mut out);
        failed = failed.take().or(done.err().map(|error| error.to_string()));
    });
    let (heads, tokens) = (Heads { query_heads: 4, kv_heads: 4, head_dim: 32 }, 16);
    let (q, k, v) = (floats(tokens * 128, 9), floats(tokens * 128, 10), floats(tokens * 128, 11));
    let mut scratch = vec![0.0; attend_scratch_len(heads, &Serial).map_err(|error| error.to_string())?];
    let (mut out, segments) = (vec![0.0; tokens * 128], [Segment::of(0..tokens)]);
    counter.report("attention, 4 heads of 32, 16 x 16 tokens", 2 * tokens * tokens * 128, "multiply-add", || {
        let (q, k, v) = (Tokens::new(black_box(&q), 128), Tokens::new(&k, 128), Tokens::new(&v, 128));
        let out = RowsMut::new(&mut out, 128);
        let done = attend(isa, &Serial, heads, 0.18, q, k, v, &segments, Mask::NONE, out, &mut scratch);
        failed = failed.take().or(done.err().map(|error| error.to_string()));
    });
    failed.map_or(Ok(()), Err)
}

#[entry]
fn main() -> ! {
    // SAFETY: the board has 16 MB of memory here, nothing else uses them, and this is called once.
    unsafe { HEAP.init(0x2100_0000, 16 << 20) };
    let done = cortex_m::Peripherals::take().ok_or_else(|| "no peripherals".to_string()).and_then(|peripherals| {
        let (mut counter, isa) = (Counter::new(peripherals.SYST), Isa::best());
        hprintln!("| kernel, level {} | instructions | per |\n| --- | ---: | --- |", isa);
        SHAPES.into_iter().try_for_each(|shape| products(&mut counter, isa, shape))?;
        others(&mut counter, isa)
    });
    if cfg!(not(cmsis_nn)) {
        hprintln!("\nCMSIS-NN: missing (CMSIS_NN did not name its source folder at build time)");
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
