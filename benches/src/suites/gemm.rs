//! The dense product: f32 and its peers, weights of 16 bits, two threads.

use kernform_gemm::fast_bf16::{FastBf16, PackedBf16, gemm_fast_bf16, gemm_fast_bf16_scratch_len};
use kernform_gemm::{Epilogue, Layout, Operand, PackedB, Weight, gemm, gemm_scratch_len};
use kernform_simd::Isa;
use kernform_tensor::parallel::RayonPool;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel, Serial, bf16, f16};

use crate::Settings;
use crate::alternate::{Contestant, alternate};
use crate::machine;
use crate::report::{Ratio, Row, Table};

/// `(m, n, k)` of the Transformer shapes that peers are known for.
const PEER_SHAPES: &[(usize, usize, usize)] = &[
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (128, 384, 384),
    (128, 1536, 384),
    (128, 384, 1536),
    (128, 512, 512),
    (512, 2048, 512),
    (128, 4096, 4096),
    (16, 4096, 4096),
    (8, 1024, 1024),
    (1, 4096, 4096),
    (1, 384, 1536),
    (64, 64, 32),
    (64, 32, 64),
];

/// `(n, k)` of the pronunciation model's layers, and the rows with which they are called.
const MODEL_LAYERS: &[(usize, usize)] = &[(384, 128), (128, 128), (512, 128), (128, 512), (101, 128)];
const MODEL_ROWS: &[usize] = &[1, 2, 3, 4, 8, 16, 64, 256, 1024];

/// Operands of one case, row-major.
pub(crate) struct Operands {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
}

impl Operands {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let values = |len: usize| (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
        Operands { m, n, k, a: values(m * k), b: values(k * n) }
    }

    fn views(&self) -> (MatrixRef<'_, f32>, MatrixRef<'_, f32>) {
        let view = |data, rows, cols| MatrixRef::new(data, rows, cols).expect("a row-major matrix of its own length");
        (view(&self.a, self.m, self.k), view(&self.b, self.k, self.n))
    }
}

const PACKED: &str = "kernform packed";
const UNPACKED: &str = "kernform";
const PEAK: &str = "FMA peak";
const READ: &str = "read";

/// Our product of these operands' A with any right operand.
fn product<'a, W: Weight>(
    name: &str,
    operands: &'a Operands,
    b: Operand<'a, W>,
    parallel: impl Parallel + 'a,
) -> Contestant<'a> {
    let Operands { m, n, k, .. } = *operands;
    let (a, _) = operands.views();
    let mut c = vec![0.0; m * n];
    let mut scratch = vec![0.0; gemm_scratch_len(parallel.threads(), m, n, k, Layout::of(&a), b.layout())];
    Contestant::new(name, move || {
        let c = MatrixMut::new(&mut c, m, n).expect("a row-major matrix of its own length");
        gemm(Isa::best(), &parallel, a, b, c, &Epilogue::NONE, &mut scratch).expect("shapes that fit");
    })
}

fn ours<'a>(operands: &'a Operands, packed: Option<&'a PackedB<'a>>) -> Contestant<'a> {
    match packed {
        Some(packed) => product(PACKED, operands, Operand::Packed(packed), Serial),
        None => product(UNPACKED, operands, Operand::Strided(operands.views().1), Serial),
    }
}

#[cfg(feature = "peers")]
fn peers(operands: &Operands) -> Vec<Contestant<'_>> {
    super::gemm_peers::all(operands)
}

#[cfg(not(feature = "peers"))]
fn peers(_: &Operands) -> Vec<Contestant<'_>> {
    Vec::new()
}

fn case(settings: &Settings, (m, n, k): (usize, usize, usize), peak: &mut dyn FnMut()) -> Option<Row> {
    let name = format!("{m},{n},{k}");
    if !name.contains(&settings.case) {
        return None;
    }
    let operands = Operands::new(m, n, k);
    let packed = PackedB::pack(operands.views().1).expect("memory for the packed operand");
    let mut contestants = vec![ours(&operands, Some(&packed)), ours(&operands, None)];
    contestants.extend(peers(&operands));
    contestants.push(Contestant::new(PEAK, peak));
    let timings = alternate(&mut contestants, settings.rounds);
    Some(Row { case: name, work: 2.0 * (m * n * k) as f64, timings })
}

fn product_table(settings: &Settings, title: &str, shapes: impl Iterator<Item = (usize, usize, usize)>) -> Table {
    let (mut peak, peak_work) = machine::fma_peak();
    let rows: Vec<Row> = shapes.filter_map(|shape| case(settings, shape, &mut peak)).collect();
    let names: Vec<String> = rows.iter().flat_map(|row| &row.timings).map(|timing| timing.name.clone()).collect();
    let is_peer = |name: &String| ![PACKED, UNPACKED, PEAK].contains(&name.as_str());
    let (packed, unpacked): (Vec<String>, Vec<String>) =
        names.iter().filter(|name| is_peer(name)).cloned().partition(|name| name.ends_with("packed"));
    let ratios = vec![
        Ratio { title: "packed / best", ours: PACKED.into(), peers: names.into_iter().filter(is_peer).collect() },
        Ratio { title: "packed / best packed", ours: PACKED.into(), peers: packed },
        Ratio { title: "unpacked / best unpacked", ours: UNPACKED.into(), peers: unpacked },
    ];
    let limit = Some((PEAK.to_owned(), peak_work));
    let table = Table { title: title.into(), unit: "GFLOP/s, case m,n,k", ratios, limit, rows };
    table.print();
    table
}

/// One row of A against operands that come from memory: bytes of B a second, beside reading alone.
fn bandwidth_table(settings: &Settings) -> Table {
    let mut rows = Vec::new();
    for (n, k) in [(4096, 4096), (2048, 8192), (11008, 2048)] {
        let name = format!("1,{n},{k}");
        if !name.contains(&settings.case) {
            continue;
        }
        let operands = Operands::new(1, n, k);
        let packed = PackedB::pack(operands.views().1).expect("memory for the packed operand");
        let mut contestants = vec![ours(&operands, Some(&packed)), ours(&operands, None)];
        contestants.push(Contestant::new(READ, machine::read_all(&operands.b)));
        rows.push(Row { case: name, work: (4 * n * k) as f64, timings: alternate(&mut contestants, settings.rounds) });
    }
    let ratio = |title, ours: &str| Ratio { title, ours: ours.into(), peers: vec![READ.into()] };
    let ratios = vec![ratio("packed / read", PACKED), ratio("unpacked / read", UNPACKED)];
    let table = Table { title: "gemm, one row from memory".into(), unit: "GB/s of B", ratios, limit: None, rows };
    table.print();
    table
}

/// Products with weights of 16 bits: one row from memory, then a few rows and many, from memory and from a cache.
const HALF_SHAPES: &[(usize, usize, usize)] = &[
    (1, 4096, 4096),
    (1, 11008, 2048),
    (1, 1536, 384),
    (16, 4096, 4096),
    (16, 1536, 384),
    (16, 384, 1536),
    (128, 4096, 4096),
    (128, 1536, 384),
    (128, 384, 1536),
];

/// The name of products in bf16 arithmetic.
const FAST: &str = "bf16 arithmetic";

/// A product outside the contract.
fn fast_product(token: FastBf16, operands: &Operands) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *operands;
    let (a, b) = operands.views();
    let packed = PackedBf16::pack(b).expect("memory for the packed operand");
    let (mut c, mut scratch) = (vec![0.0; m * n], vec![0.0; gemm_fast_bf16_scratch_len(1, m, k)]);
    Contestant::new(FAST, move || {
        let out = MatrixMut::new(&mut c, m, n).expect("its own length");
        gemm_fast_bf16(token, &Serial, a, &packed, out, &Epilogue::NONE, &mut scratch).expect("shapes that fit");
    })
}

/// Weights of 16 bits beside those of 32.
fn half_table(settings: &Settings) -> Table {
    let mut rows = Vec::new();
    for &(m, n, k) in HALF_SHAPES {
        let name = format!("{m},{n},{k}");
        if !name.contains(&settings.case) {
            continue;
        }
        let operands = Operands::new(m, n, k);
        let packed = PackedB::pack(operands.views().1).expect("memory for the packed operand");
        let narrow = |data: Vec<f16>| PackedB::pack(MatrixRef::new(&data, k, n).expect("its own length"));
        let f16s = narrow(operands.b.iter().map(|x| f16::from_f32(*x)).collect()).expect("memory");
        let narrow = |data: Vec<bf16>| PackedB::pack(MatrixRef::new(&data, k, n).expect("its own length"));
        let bf16s = narrow(operands.b.iter().map(|x| bf16::from_f32(*x)).collect()).expect("memory");
        let mut contestants = vec![
            product("f32", &operands, Operand::Packed(&packed), Serial),
            product("f16", &operands, Operand::Packed(&f16s), Serial),
            product("bf16", &operands, Operand::Packed(&bf16s), Serial),
        ];
        contestants.extend(FastBf16::new().map(|token| fast_product(token, &operands)));
        let timings = alternate(&mut contestants, settings.rounds);
        rows.push(Row { case: name, work: 2.0 * (m * n * k) as f64, timings });
    }
    let ratio = |title, ours: &str| Ratio { title, ours: ours.into(), peers: vec!["f32".into()] };
    let ratios = vec![ratio("f16 / f32", "f16"), ratio("bf16 / f32", "bf16"), ratio("fast / f32", FAST)];
    let title = "gemm, packed weights of 16 bits".into();
    let table = Table { title, unit: "GFLOP/s, case m,n,k", ratios, limit: None, rows };
    table.print();
    table
}

/// Two threads beside one.
fn thread_table(settings: &Settings) -> Option<Table> {
    let Some(pool) = machine::two_cores() else {
        eprintln!("missing: a second core for two threads");
        return None;
    };
    let pool = RayonPool::from(pool);
    let mut rows = Vec::new();
    for (m, n, k) in [(512, 512, 512), (1024, 1024, 1024), (128, 1536, 384), (128, 384, 1536), (128, 4096, 4096)] {
        let name = format!("{m},{n},{k}");
        if !name.contains(&settings.case) {
            continue;
        }
        let operands = Operands::new(m, n, k);
        let b = operands.views().1;
        let packed = PackedB::pack(b).expect("memory for the packed operand");
        let mut contestants = vec![
            product("packed, 1", &operands, Operand::Packed(&packed), Serial),
            product("packed, 2", &operands, Operand::Packed(&packed), &pool),
            product("unpacked, 1", &operands, Operand::Strided(b), Serial),
            product("unpacked, 2", &operands, Operand::Strided(b), &pool),
        ];
        let timings = alternate(&mut contestants, settings.rounds);
        rows.push(Row { case: name, work: 2.0 * (m * n * k) as f64, timings });
    }
    let ratio = |title, ours: &str, peer: &str| Ratio { title, ours: ours.into(), peers: vec![peer.into()] };
    let ratios =
        vec![ratio("packed, 2 / 1", "packed, 2", "packed, 1"), ratio("unpacked, 2 / 1", "unpacked, 2", "unpacked, 1")];
    let title = "gemm, two threads".into();
    let table = Table { title, unit: "GFLOP/s, case m,n,k", ratios, limit: None, rows };
    table.print();
    Some(table)
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    let layers = MODEL_LAYERS.iter().flat_map(|&(n, k)| MODEL_ROWS.iter().map(move |&m| (m, n, k)));
    let mut tables = vec![
        product_table(settings, "gemm, layers of the pronunciation model", layers),
        product_table(settings, "gemm, common Transformer shapes", PEER_SHAPES.iter().copied()),
        bandwidth_table(settings),
        half_table(settings),
    ];
    tables.extend(thread_table(settings));
    tables
}
