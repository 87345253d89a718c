//! The dense product in f32.

use kernform_gemm::{Epilogue, Layout, Operand, PackedB, gemm, gemm_scratch_len};
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

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

fn ours<'a>(operands: &'a Operands, packed: Option<&'a PackedB<'a>>) -> Contestant<'a> {
    let Operands { m, n, k, .. } = *operands;
    let (a, b) = operands.views();
    let operand = packed.map_or(Operand::Strided(b), Operand::Packed);
    let mut c = vec![0.0; m * n];
    let mut scratch = vec![0.0; gemm_scratch_len(1, m, n, k, Layout::of(&a), operand.layout())];
    Contestant::new(if packed.is_some() { PACKED } else { UNPACKED }, move || {
        let c = MatrixMut::new(&mut c, m, n).expect("a row-major matrix of its own length");
        gemm(Isa::best(), &Serial, a, operand, c, &Epilogue::NONE, &mut scratch).expect("shapes that fit");
    })
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
    let unpacked: Vec<String> =
        names.iter().filter(|name| is_peer(name) && !name.ends_with("packed")).cloned().collect();
    let ratios = vec![
        Ratio { title: "packed / best", ours: PACKED.into(), peers: names.into_iter().filter(is_peer).collect() },
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

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    let layers = MODEL_LAYERS.iter().flat_map(|&(n, k)| MODEL_ROWS.iter().map(move |&m| (m, n, k)));
    vec![
        product_table(settings, "gemm, layers of the pronunciation model", layers),
        product_table(settings, "gemm, common Transformer shapes", PEER_SHAPES.iter().copied()),
        bandwidth_table(settings),
    ]
}
