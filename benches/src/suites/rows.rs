//! Functions of elements and of rows: activations, softmax, norms.

use kernform_math::{self as math, Rows};
use kernform_norm::{self as norm, LayerNorm, RmsNorm};
use kernform_simd::Isa;

use crate::Settings;
use crate::alternate::{Contestant, Timing, alternate};
use crate::machine::{self, Traffic};
use crate::report::{Ratio, Row, Table};

/// `(rows, width)`: two that fit the first-level cache together with their results, then three that fit the second.
const SHAPES: &[(usize, usize)] = &[(5, 384), (2, 1024), (170, 384), (64, 1024), (16, 4096)];

pub(crate) const EPSILON: f32 = 1e-5;
const OURS: &str = "kernform";
const LIMIT: &str = "limit";

/// The operands of one case, in one buffer: aligned to 64 bytes, and at places that no cache takes for one another,
/// because parts of operands at a distance of about a multiple of 4096 bytes slow each other down on many CPUs.
pub(crate) struct Data {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    buffer: Vec<f32>,
}

/// The operands by name. All but the parameters are `[rows, width]`.
pub(crate) struct Operands<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) residual: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) gamma: &'a mut [f32],
    pub(crate) beta: &'a mut [f32],
}

/// Floats to which operands are aligned.
const ALIGNMENT: usize = 16;

impl Data {
    fn new(rows: usize, width: usize) -> Self {
        let buffer = vec![0.0; ALIGNMENT + 3 * Self::stride(rows * width) + 2 * Self::stride(width)];
        let mut data = Data { rows, width, buffer };
        let Operands { x, gamma, beta, .. } = data.operands();
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7919 % 1009) as f32 / 1009.0 * 8.0 - 4.0);
        gamma.fill(1.5);
        beta.fill(0.5);
        // The residual is 0, so that a sum stays what it is however often it is formed.
        data
    }

    /// The distance from an operand to the next: about a third of 4096 bytes beyond a multiple of them.
    fn stride(len: usize) -> usize {
        len.next_multiple_of(1024) + 336
    }

    pub(crate) fn operands(&mut self) -> Operands<'_> {
        let (len, width) = (self.rows * self.width, self.width);
        let first = self.buffer.as_ptr().align_offset(ALIGNMENT * size_of::<f32>());
        let mut rest = &mut self.buffer[first..];
        let mut next = |len: usize| {
            let (operand, after) = core::mem::take(&mut rest).split_at_mut(Self::stride(len));
            rest = after;
            &mut operand[..len]
        };
        Operands { x: next(len), residual: next(len), out: next(len), gamma: next(width), beta: next(width) }
    }

    fn layer_norm(&mut self, is_added: bool) {
        let (isa, rows, width) = (Isa::best(), Rows::dense(self.rows, self.width), self.width);
        let Operands { x, residual, out, gamma, beta } = self.operands();
        let p = LayerNorm { gamma, beta: Some(beta), epsilon: EPSILON };
        let done = if is_added {
            norm::add_layer_norm(isa, &p, x, rows, residual, width, out, width)
        } else {
            norm::layer_norm(isa, &p, x, rows, out, width)
        };
        done.expect("shapes that fit");
    }

    fn rms_norm(&mut self, is_added: bool) {
        let (isa, rows, width) = (Isa::best(), Rows::dense(self.rows, self.width), self.width);
        let Operands { x, residual, out, gamma, .. } = self.operands();
        let p = RmsNorm { weight: gamma, weight_offset: 0.0, epsilon: EPSILON };
        let done = if is_added {
            norm::add_rms_norm(isa, &p, x, rows, residual, width, out, width)
        } else {
            norm::rms_norm(isa, &p, x, rows, out, width)
        };
        done.expect("shapes that fit");
    }

    fn softmax(&mut self, is_log: bool) {
        let rows = Rows::dense(self.rows, self.width);
        let Operands { x, out, .. } = self.operands();
        let function = if is_log { math::log_softmax } else { math::softmax };
        function(Isa::best(), x, rows, out).expect("shapes that fit");
    }
}

/// A function, and what bounds its speed.
struct Function {
    /// The name, which is that of `benches/peers/rows.py` too.
    name: &'static str,
    /// Multiplications and multiply-adds an element, over all passes.
    products: usize,
    /// Divisions an element.
    divisions: usize,
    traffic: Traffic,
    run: fn(&mut Data),
}

macro_rules! elementwise {
    ($name:ident, $products:literal, $divisions:literal) => {
        Function {
            name: stringify!($name),
            products: $products,
            divisions: $divisions,
            traffic: Traffic::Copy,
            run: |data| {
                let Operands { x, out, .. } = data.operands();
                math::$name(Isa::best(), x, out).expect("operands of one length");
            },
        }
    };
}

macro_rules! of_rows {
    ($name:literal, $products:literal, $traffic:ident, $run:expr) => {
        Function { name: $name, products: $products, divisions: 0, traffic: Traffic::$traffic, run: $run }
    };
}

const FUNCTIONS: &[Function] = &[
    elementwise!(exp, 11, 0),
    elementwise!(log, 13, 0),
    elementwise!(tanh, 10, 1),
    elementwise!(erf, 16, 0),
    elementwise!(sigmoid, 11, 1),
    elementwise!(gelu_erf, 18, 0),
    elementwise!(gelu_tanh, 11, 1),
    elementwise!(silu, 11, 1),
    elementwise!(relu, 0, 0),
    of_rows!("add", 1, Sum, |data| {
        let Operands { x, residual, .. } = data.operands();
        math::add(Isa::best(), residual, x).expect("operands of one length");
    }),
    of_rows!("softmax", 11, Copy, |data| data.softmax(false)),
    of_rows!("log_softmax", 10, Copy, |data| data.softmax(true)),
    of_rows!("layer_norm", 3, Copy, |data| data.layer_norm(false)),
    of_rows!("rms_norm", 3, Copy, |data| data.rms_norm(false)),
    of_rows!("add_layer_norm", 3, SumAndCopy, |data| data.layer_norm(true)),
    of_rows!("add_rms_norm", 3, SumAndCopy, |data| data.rms_norm(true)),
];

#[cfg(feature = "peers")]
use super::rows_peers::Peers;

/// None are compiled in.
#[cfg(not(feature = "peers"))]
struct Peers;

#[cfg(not(feature = "peers"))]
impl Peers {
    fn new() -> Self {
        Peers
    }

    fn of<'a>(&'a self, _function: &str, _data: &'a [core::cell::RefCell<Data>]) -> Vec<Contestant<'a>> {
        Vec::new()
    }
}

/// Seconds of one multiplication and one division of an element, in vectors and without waiting for one another.
fn arithmetic(settings: &Settings) -> (f64, f64) {
    let (product, products) = machine::fma_peak();
    let (division, divisions) = machine::division_peak();
    let mut contestants = [Contestant::new("FMA", product), Contestant::new("division", division)];
    let timings = alternate(&mut contestants, settings.rounds);
    (2.0 * timings[0].least / products, timings[1].least / divisions)
}

fn case(
    settings: &Settings,
    function: &Function,
    rows: usize,
    width: usize,
    peers: &Peers,
    arithmetic: (f64, f64),
) -> Row {
    let count = (rows * width) as f64;
    let mut ours = Data::new(rows, width);
    let data: Vec<_> = (0..4).map(|_| core::cell::RefCell::new(Data::new(rows, width))).collect();
    let mut stream = Data::new(rows, width);
    let Operands { x, residual, out, .. } = stream.operands();
    let mut contestants = vec![Contestant::new(OURS, || (function.run)(&mut ours))];
    contestants.extend(peers.of(function.name, &data));
    contestants.push(Contestant::new(LIMIT, machine::stream(function.traffic, x, residual, out)));
    let mut timings = alternate(&mut contestants, settings.rounds);
    // The limit is that of the memory or of the arithmetic, whichever is tighter.
    let bound = (function.products as f64 * arithmetic.0).max(function.divisions as f64 * arithmetic.1) * count;
    if let Some(Timing { least, median, .. }) = timings.last_mut() {
        (*least, *median) = (least.max(bound), median.max(bound));
    }
    Row { case: function.name.into(), work: count, timings }
}

pub(crate) fn run(settings: &Settings) -> Vec<Table> {
    let peers = Peers::new();
    let arithmetic = arithmetic(settings);
    let billions = |seconds: f64| 1e-9 / seconds;
    println!(
        "Vectors: {:.1} billion multiply-adds or {:.1} billion divisions of elements a second.\n",
        billions(arithmetic.0),
        billions(arithmetic.1)
    );
    let mut tables = Vec::new();
    for &(rows, width) in SHAPES {
        let chosen =
            FUNCTIONS.iter().filter(|function| format!("{} {rows} x {width}", function.name).contains(&settings.case));
        let rows_of_table: Vec<Row> =
            chosen.map(|function| case(settings, function, rows, width, &peers, arithmetic)).collect();
        if rows_of_table.is_empty() {
            continue;
        }
        let names = rows_of_table.iter().flat_map(|row| &row.timings).map(|timing| timing.name.clone());
        let ratio = Ratio {
            title: "kernform / best",
            ours: OURS.into(),
            peers: names.filter(|name| ![OURS, LIMIT].contains(&name.as_str())).collect(),
        };
        let table = Table {
            title: format!("rows, {rows} x {width}"),
            unit: "10^9 elements/s",
            ratios: vec![ratio],
            limit: Some((LIMIT.into(), (rows * width) as f64)),
            rows: rows_of_table,
        };
        table.print();
        tables.push(table);
    }
    tables
}
