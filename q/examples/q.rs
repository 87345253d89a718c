//! bench
#![allow(warnings, clippy::all)]
use kernform_quant::*;
use kernform_simd::*;
use kernform_tensor::*;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let isa = Isa::best();
    println!("{isa}");
    let (n, k) = (4096usize, 4096usize);
    let big: Vec<f32> = vec![1.0; 64 << 20];
    // read bandwidth
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            let mut acc = [s.splat(0.0); 8];
            for c in self.0.chunks_exact(8 * S::LANES) {
                for (a, x) in acc.iter_mut().zip(c.chunks_exact(S::LANES)) {
                    *a = s.add(*a, s.load(x));
                }
            }
            acc.into_iter().map(|a| s.fold_vector(a, |a, b| s.add(a, b))).sum()
        }
    }
    let mut bw = 0.0f64;
    for _ in 0..6 {
        let t = Instant::now();
        std::hint::black_box(isa.dispatch(Sum(&big)));
        bw = bw.max(big.len() as f64 * 4.0 / t.elapsed().as_secs_f64() / 1e9);
    }
    println!("read {bw:.1} GB/s");
    for f in Format::ALL {
        if args.len() > 1 && !args[1..].iter().any(|a| a == f.name()) {
            continue;
        }
        let blocks = n * k / f.block_len();
        let w: Vec<u8> = (0..blocks * f.block_bytes()).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect();
        let p = PackedWeights::pack(f, n, k, &w).unwrap();
        for m in [1usize, 4, 128] {
            let a: Vec<f32> = (0..m * k).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
            let mut c = vec![0.0; m * n];
            let mut mem = vec![0; Activations::words_len(f.activation(), m, k).unwrap()];
            let (mut best, mut bq) = (1e9f64, 1e9f64);
            let reps = if m == 128 { 4 } else { 12 };
            for _ in 0..reps {
                if m < 128 {
                    std::hint::black_box(isa.dispatch(Sum(&big[..16 << 20])));
                }
                let a = MatrixRef::new(&a, m, k).unwrap();
                let t = Instant::now();
                let act = Activations::quantize(isa, f.activation(), a, &mut mem).unwrap();
                bq = bq.min(t.elapsed().as_secs_f64());
                multiply_quantized(isa, &Serial, &act, &p, MatrixMut::new(&mut c, m, n).unwrap(), None).unwrap();
                best = best.min(t.elapsed().as_secs_f64());
            }
            println!(
                "{f} m {m}: {:.3} ms, {:.1} GB/s, {:.1} GMAC/s, quantize {:.1} us",
                best * 1e3,
                p.as_slice().len() as f64 / best / 1e9,
                (m * n * k) as f64 / best / 1e9,
                bq * 1e6
            );
        }
    }
}
