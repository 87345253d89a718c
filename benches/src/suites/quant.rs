//! Products with weights in block formats.

use core::cell::Cell;

use kernform_quant::{Activations, Format, PackedWeights, multiply};
use kernform_simd::{Isa, Level};
use kernform_tensor::{MatrixMut, MatrixRef, Serial, cast_slice};

use super::CANDLE;
#[cfg(feature = "peers")]
use super::candle;
use crate::Settings;
use crate::alternate::{Contestant, alternate};
use crate::machine;
use crate::report::{Ratio, Row, Table};

/// Columns and values of each: a layer of a model of seven billion parameters.
const SHAPE: (usize, usize) = (4096, 4096);
/// Rows of a prompt.
const PROMPT: usize = 128;
/// Bytes of all copies of the weights where they shall come from memory.
const OUT_OF_CACHE: usize = 160 << 20;

/// Bytes that stay in a second-level cache.
const IN_CACHE: usize = 384 << 10;

const READ: &str = "read";

/// Blocks whose bits are of no importance, but whose scales are ordinary numbers.
fn blocks(format: Format) -> Vec<u8> {
    let (n, k) = SHAPE;
    let len = format.row_bytes(k).expect("a whole number of blocks") * n;
    // Without the highest exponents no half is infinite or NaN.
    (0..len).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect()
}

/// So many rows to multiply them with.
fn activations(rows: usize) -> Vec<f32> {
    (0..rows * SHAPE.1).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn weights(format: Format) -> PackedWeights<'static> {
    let (n, k) = SHAPE;
    PackedWeights::pack(format, n, k, &blocks(format)).expect("memory for the weights")
}

#[cfg(feature = "peers")]
fn peers(format: Format, rows: usize, copies: usize) -> Option<Contestant<'static>> {
    let (n, k) = SHAPE;
    candle::blocks(format, &activations(rows), (rows, n, k), &blocks(format), copies)
}

#[cfg(not(feature = "peers"))]
fn peers(_: Format, _: usize, _: usize) -> Option<Contestant<'static>> {
    None
}

/// The ratio to candle, where it is compiled in.
fn ratio_to_peers() -> Option<Ratio> {
    let (title, ours) = ("best level / candle", Isa::best().to_string());
    cfg!(feature = "peers").then(|| Ratio { title, ours, peers: vec![CANDLE.into()] })
}

/// Levels that are worth a column: the best one, and those that other machines have.
fn levels() -> Vec<Isa> {
    [Level::Avx2, Level::AvxVnni, Level::Avx512, Level::Avx512Vnni, Level::Neon, Level::NeonDotprod]
        .into_iter()
        .filter_map(|level| Isa::new(level).ok())
        .collect()
}

fn ours<'a>(isa: Isa, rows: usize, copies: &'a [PackedWeights<'a>], next: &'a Cell<usize>) -> Contestant<'a> {
    let (n, k) = SHAPE;
    let format = copies[0].format();
    let a = activations(rows);
    let len = Activations::words_len(format.activation(), rows, k).expect("a whole number of blocks");
    let (mut memory, mut c) = (vec![0; len], vec![0.0; rows * n]);
    Contestant::new(isa.to_string(), move || {
        next.set((next.get() + 1) % copies.len());
        let a = MatrixRef::new(&a, rows, k).expect("a row-major matrix of its own length");
        let c = MatrixMut::new(&mut c, rows, n).expect("a row-major matrix of its own length");
        multiply(isa, &Serial, a, &copies[next.get()], c, None, &mut memory).expect("shapes that fit");
    })
}

/// One row against weights that come from memory: bytes of them a second, beside reading alone.
fn row_table(settings: &Settings) -> Table {
    let best = Isa::best().to_string();
    let mut rows = Vec::new();
    for format in Format::ALL {
        let name = format!("{format},1 row");
        if !name.contains(&settings.case) {
            continue;
        }
        let first = weights(format);
        let bytes = first.as_slice().len();
        let copies: Vec<PackedWeights<'_>> = (0..OUT_OF_CACHE / bytes + 1).map(|_| first.clone()).collect();
        let next = Cell::new(0);
        let mut contestants: Vec<Contestant<'_>> =
            levels().into_iter().map(|isa| ours(isa, 1, &copies, &next)).collect();
        let mut reads: Vec<_> = copies
            .iter()
            .map(|copy| machine::read_all(cast_slice(copy.as_slice()).expect("weights that begin at a cache line")))
            .collect();
        contestants.extend(peers(format, 1, copies.len()));
        let at = &next;
        contestants.push(Contestant::new(READ, move || {
            at.set((at.get() + 1) % reads.len());
            reads[at.get()]();
        }));
        rows.push(Row { case: name, work: bytes as f64, timings: alternate(&mut contestants, settings.rounds) });
    }
    let mut ratios = vec![Ratio { title: "best level / read", ours: best, peers: vec![READ.into()] }];
    ratios.extend(ratio_to_peers());
    let title = "quant, one row, weights 4096 x 4096 from memory".into();
    let table = Table { title, unit: "GB/s of repacked weights", ratios, limit: None, rows };
    table.print();
    table
}

/// Reading line by line: what additions in between and the order do.
fn lines_table(settings: &Settings) -> Table {
    fn timed<const WORK: usize>(settings: &Settings, place: &str, data: &[f32]) -> Option<Row> {
        let case = format!("{place},{WORK} additions a vector");
        if !case.contains(&settings.case) {
            return None;
        }
        let mut contestants = [("upwards", true), ("downwards", false)]
            .map(|(name, upwards)| Contestant::new(name, machine::read_lines::<WORK>(data, upwards)));
        let timings = alternate(&mut contestants, settings.rounds);
        Some(Row { case, work: size_of_val(data) as f64, timings })
    }
    let data = vec![1.0; OUT_OF_CACHE / size_of::<f32>()];
    let mut rows = Vec::new();
    for (place, data) in [("memory", &data[..]), ("second-level cache", &data[..IN_CACHE / size_of::<f32>()])] {
        rows.extend(timed::<1>(settings, place, data));
        rows.extend(timed::<8>(settings, place, data));
        rows.extend(timed::<16>(settings, place, data));
    }
    let title = "reading lines, each sixteen upwards or downwards".into();
    let table = Table { title, unit: "GB/s", ratios: Vec::new(), limit: None, rows };
    table.print();
    table
}

/// Rows of a prompt.
fn prompt_table(settings: &Settings) -> Table {
    let (n, k) = SHAPE;
    let mut rows = Vec::new();
    for format in Format::ALL {
        let name = format!("{format},{PROMPT} rows");
        if !name.contains(&settings.case) {
            continue;
        }
        let copies = [weights(format)];
        let next = Cell::new(0);
        let mut contestants: Vec<Contestant<'_>> =
            levels().into_iter().map(|isa| ours(isa, PROMPT, &copies, &next)).collect();
        contestants.extend(peers(format, PROMPT, 1));
        let rounds = settings.rounds.div_ceil(3);
        let timings = alternate(&mut contestants, rounds);
        rows.push(Row { case: name, work: 2.0 * (PROMPT * n * k) as f64, timings });
    }
    let title = "quant, 128 rows, weights 4096 x 4096".into();
    let table =
        Table { title, unit: "G operations/s", ratios: ratio_to_peers().into_iter().collect(), limit: None, rows };
    table.print();
    table
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    vec![row_table(settings), prompt_table(settings), lines_table(settings)]
}
