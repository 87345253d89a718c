//! The int8 product, beside our own float product and other int8 products.

use kernform_gemm::int8::{PackedI8, Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len, quantize_rows};
use kernform_gemm::{Epilogue, Operand, PackedB, gemm};
use kernform_simd::{Isa, Level};
use kernform_tensor::{MatrixMut, MatrixRef, Serial};

use crate::Settings;
use crate::alternate::{Contestant, alternate};
use crate::machine;
use crate::report::{Ratio, Row, Table};

/// `(m, n, k)` of Transformer layers.
const SHAPES: &[(usize, usize, usize)] = &[
    (128, 384, 384),
    (128, 1536, 384),
    (128, 384, 1536),
    (128, 4096, 4096),
    (16, 4096, 4096),
    (8, 1024, 1024),
    (1, 384, 1536),
    (1, 4096, 4096),
    (64, 64, 32),
];

/// Operands of one case, row-major, as floats and quantised by rows: B as PyTorch stores it, `[n, k]`.
pub(crate) struct Operands {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Vec<f32>,
    pub(crate) a_bytes: Vec<i8>,
    pub(crate) b: Vec<f32>,
    pub(crate) b_bytes: Vec<i8>,
    a_scales: Vec<f32>,
    b_scales: Vec<f32>,
}

fn view<T>(data: &[T], rows: usize, cols: usize) -> MatrixRef<'_, T> {
    MatrixRef::new(data, rows, cols).expect("a row-major matrix of its own length")
}

fn place<T>(data: &mut [T], rows: usize, cols: usize) -> MatrixMut<'_, T> {
    MatrixMut::new(data, rows, cols).expect("a row-major matrix of its own length")
}

impl Operands {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let values = |len: usize| (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect::<Vec<f32>>();
        let quantized = |x: &[f32], rows| {
            let (mut bytes, mut scales) = (vec![0; rows * k], vec![0.0; rows]);
            quantize_rows(Isa::best(), view(x, rows, k), place(&mut bytes, rows, k), &mut scales)
                .expect("shapes that fit");
            (bytes, scales)
        };
        let (a, b) = (values(m * k), values(n * k));
        let ((a_bytes, a_scales), (b_bytes, b_scales)) = (quantized(&a, m), quantized(&b, n));
        Operands { m, n, k, a, a_bytes, b, b_bytes, a_scales, b_scales }
    }
}

/// B packed both ways.
struct Packed {
    floats: PackedB<'static>,
    bytes: PackedI8<'static>,
}

const FLOAT: &str = "f32";
const DYNAMIC: &str = "int8";
const BYTES: &str = "int8 from bytes";
const INTEGERS: &str = "int8 to i32";
const FLOAT_AVX2: &str = "f32 avx2";
const DYNAMIC_AVX2: &str = "int8 avx2";
const READ: &str = "read";

/// Our products on one level: in floats; quantising A; from bytes; to integers.
fn ours<'a>(isa: Isa, o: &'a Operands, packed: &'a Packed, name: &str) -> Contestant<'a> {
    let Operands { m, n, k, .. } = *o;
    let mut c = vec![0.0; m * n];
    let mut integers = vec![0; m * n];
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k).max(1 << 18)];
    let floats = [FLOAT, FLOAT_AVX2].contains(&name);
    let rows = if [DYNAMIC, DYNAMIC_AVX2].contains(&name) {
        Rows::Dynamic(view(&o.a, m, k))
    } else {
        Rows::Quantized { values: view(&o.a_bytes, m, k), scale: Scale::Each(&o.a_scales) }
    };
    let to_integers = name == INTEGERS;
    Contestant::new(name, move || {
        let (epilogue, scratch) = (Epilogue::NONE, &mut scratch);
        if floats {
            let operand = Operand::Packed(&packed.floats);
            gemm(isa, &Serial, view(&o.a, m, k), operand, place(&mut c, m, n), &epilogue, scratch)
        } else if to_integers {
            let a = view(&o.a_bytes, m, k);
            gemm_i8_i32(isa, &Serial, a, &packed.bytes, place(&mut integers, m, n), scratch)
        } else {
            let scale = Scale::Each(&o.b_scales);
            gemm_i8(isa, &Serial, rows, &packed.bytes, scale, place(&mut c, m, n), &epilogue, scratch)
        }
        .expect("shapes that fit");
    })
}

#[cfg(feature = "peers")]
use super::gemm_int8_peers::Peers;

/// Stands in where peers were not asked for.
#[cfg(not(feature = "peers"))]
struct Peers;

#[cfg(not(feature = "peers"))]
impl Peers {
    fn new() -> Self {
        Peers
    }
    fn of<'a>(&'a self, _: &'a Operands) -> Vec<Contestant<'a>> {
        Vec::new()
    }
}

fn case(settings: &Settings, (m, n, k): (usize, usize, usize), peers: &Peers) -> Option<Row> {
    let name = format!("{m},{n},{k}");
    if !name.contains(&settings.case) {
        return None;
    }
    let operands = Operands::new(m, n, k);
    let packed = Packed {
        floats: PackedB::pack(view(&operands.b, n, k).transpose()).expect("memory for the packed operand"),
        bytes: PackedI8::pack(view(&operands.b_bytes, n, k).transpose()).expect("memory for the packed operand"),
    };
    let isa = Isa::best();
    let mut contestants: Vec<_> =
        [FLOAT, DYNAMIC, BYTES, INTEGERS].into_iter().map(|name| ours(isa, &operands, &packed, name)).collect();
    if let Ok(avx2) = Isa::new(Level::Avx2) {
        contestants.extend([FLOAT_AVX2, DYNAMIC_AVX2].into_iter().map(|name| ours(avx2, &operands, &packed, name)));
    }
    contestants.extend(peers.of(&operands));
    Some(Row { case: name, work: 2.0 * (m * n * k) as f64, timings: alternate(&mut contestants, settings.rounds) })
}

fn product_table(settings: &Settings) -> Table {
    let peers = Peers::new();
    let rows: Vec<Row> = SHAPES.iter().filter_map(|shape| case(settings, *shape, &peers)).collect();
    let own = [FLOAT, DYNAMIC, BYTES, INTEGERS, FLOAT_AVX2, DYNAMIC_AVX2];
    let names = rows.iter().flat_map(|row| &row.timings).map(|timing| timing.name.clone());
    let others: Vec<String> = names.filter(|name| !own.contains(&name.as_str())).collect();
    let ratio = |title, ours: &str, peers| Ratio { title, ours: ours.into(), peers };
    let ratios = vec![
        ratio("int8 / f32", DYNAMIC, vec![FLOAT.into()]),
        ratio("int8 / f32, avx2", DYNAMIC_AVX2, vec![FLOAT_AVX2.into()]),
        ratio("from bytes / best peer", BYTES, others),
    ];
    let title = "gemm, int8 (quantising A, but where it says bytes)".into();
    let table = Table { title, unit: "GOP/s, case m,n,k", ratios, limit: None, rows };
    table.print();
    table
}

/// One row of A against operands that come from memory: bytes of B a second, beside reading alone.
fn bandwidth_table(settings: &Settings) -> Table {
    let mut rows = Vec::new();
    for (n, k) in [(16_384, 4096), (32_768, 2048)] {
        let name = format!("1,{n},{k}");
        if !name.contains(&settings.case) {
            continue;
        }
        let operands = Operands::new(1, n, k);
        let packed = Packed {
            floats: PackedB::pack(view(&[], 0, 0)).expect("nothing to pack"),
            bytes: PackedI8::pack(view(&operands.b_bytes, n, k).transpose()).expect("memory for the packed operand"),
        };
        let mut contestants = vec![ours(Isa::best(), &operands, &packed, DYNAMIC)];
        contestants.push(Contestant::new(READ, machine::read_all(&operands.b[..n * k / 4])));
        rows.push(Row { case: name, work: (n * k) as f64, timings: alternate(&mut contestants, settings.rounds) });
    }
    let ratios = vec![Ratio { title: "int8 / read", ours: DYNAMIC.into(), peers: vec![READ.into()] }];
    let table = Table { title: "gemm, int8, one row from memory".into(), unit: "GB/s of B", ratios, limit: None, rows };
    table.print();
    table
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    vec![product_table(settings), bandwidth_table(settings)]
}
