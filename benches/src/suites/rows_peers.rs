//! Functions of rows by rten-vecmath and candle, by MKL and oneDNN where they are installed, and by PyTorch. All on one thread.

use core::cell::RefCell;
use core::mem::MaybeUninit;

use rten_simd::{SimdOp, SimdUnaryOp};
use rten_vecmath::{
    ApproxGelu, Erf, Exp, Gelu, LogSoftmax, Normalize, NormalizeOptions, Sigmoid, Silu, Softmax, Sum, SumSquare,
    SumSquareSub, Tanh,
};

use super::candle;
use super::rows::{Data, EPSILON, Operands};
use super::rows_vendors::{Mkl, OneDnn};
use crate::alternate::Contestant;
use crate::peer::{self, Python};

/// What is loaded or started once.
pub(crate) struct Peers {
    torch: Option<RefCell<Python>>,
    mkl: Option<Mkl>,
    one_dnn: Option<OneDnn>,
}

/// Below this many elements a call from Python costs more than the work.
const LEAST_OF_TORCH: usize = 32768;

impl Peers {
    pub(crate) fn new() -> Self {
        let torch = Python::start("rows.py").inspect_err(|error| peer::missing("PyTorch", error)).ok();
        let mkl = Mkl::load().inspect_err(|error| peer::missing("MKL", error)).ok();
        let one_dnn = OneDnn::load().inspect_err(|error| peer::missing("oneDNN", error)).ok();
        Peers { torch: torch.map(RefCell::new), mkl, one_dnn }
    }

    /// Every peer that has `function`, each with an element of `data` to itself.
    pub(crate) fn of<'a>(&'a self, function: &str, data: &'a [RefCell<Data>]) -> Vec<Contestant<'a>> {
        let mut peers = Vec::new();
        peers.extend(rten(function, &data[0]));
        peers.extend(candle::of_rows(function, &data[3]));
        peers.extend(self.mkl.iter().flat_map(|mkl| mkl.of(function, &data[1])));
        peers.extend(self.one_dnn.iter().filter_map(|one_dnn| one_dnn.of(function, &data[2])));
        peers.extend(self.torch(function, &data[1].borrow()));
        peers
    }

    fn torch<'a>(&'a self, function: &str, data: &Data) -> Option<Contestant<'a>> {
        let Data { rows, width, .. } = *data;
        let torch = self.torch.as_ref().filter(|_| rows * width >= LEAST_OF_TORCH)?;
        let request = format!("{function} {rows} {width}");
        if let Err(error) = torch.borrow_mut().time(&request, 1) {
            peer::missing(&format!("PyTorch's {function}"), error);
            return None;
        }
        Some(Contestant::timing("PyTorch", move |repeats| {
            torch.borrow_mut().time(&request, repeats).unwrap_or(f64::INFINITY)
        }))
    }
}

type Slices = fn(&[f32], &mut [MaybeUninit<f32>]);

/// A function of the whole slice.
fn map(function: &str) -> Option<Slices> {
    macro_rules! of {
        ($operation:expr) => {
            |x, out| {
                $operation.map(x, out);
            }
        };
    }
    Some(match function {
        "exp" => of!(Exp {}),
        "tanh" => of!(Tanh {}),
        "erf" => of!(Erf {}),
        "sigmoid" => of!(Sigmoid {}),
        "gelu_erf" => of!(Gelu {}),
        "gelu_tanh" => of!(ApproxGelu {}),
        "silu" => of!(Silu {}),
        _ => return None,
    })
}

/// A norm of one row, put together as the crate's own engine does.
fn normalize(x: &[f32], gamma: &[f32], beta: Option<&[f32]>, out: &mut [MaybeUninit<f32>]) {
    let width = x.len() as f32;
    let (mean, variance) = match beta {
        Some(_) => {
            let mean = Sum::new(x).dispatch() / width;
            (mean, SumSquareSub::new(x, mean).dispatch() / width)
        }
        None => (0.0, SumSquare::new(x).dispatch() / width),
    };
    let options = NormalizeOptions {
        pre_scale_bias: mean,
        scale: (variance + EPSILON).sqrt().recip(),
        element_scale: Some(gamma),
        bias: 0.0,
        element_bias: beta,
    };
    Normalize::new(x, out, options).dispatch();
}

type OfRow = fn(&[f32], [&[f32]; 2], &mut [MaybeUninit<f32>]);

/// A function of one row, with two parameters a column.
fn of_row(function: &str) -> Option<OfRow> {
    Some(match function {
        "softmax" => |x, _, out| {
            Softmax::new(x, out).dispatch();
        },
        "log_softmax" => |x, _, out| {
            LogSoftmax::new(x, out).dispatch();
        },
        "layer_norm" => |x, [gamma, beta], out| normalize(x, gamma, Some(beta), out),
        "rms_norm" => |x, [gamma, _], out| normalize(x, gamma, None, out),
        _ => return None,
    })
}

/// Results as the crate takes them.
fn uninitialized(out: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the types have one layout, and the crate writes nothing but numbers.
    unsafe { &mut *(core::ptr::from_mut(out) as *mut [MaybeUninit<f32>]) }
}

fn rten<'a>(function: &str, data: &'a RefCell<Data>) -> Option<Contestant<'a>> {
    const NAME: &str = "rten-vecmath";
    if let Some(map) = map(function) {
        return Some(Contestant::new(NAME, move || {
            let mut data = data.borrow_mut();
            let Operands { x, out, .. } = data.operands();
            map(x, uninitialized(out));
        }));
    }
    let of_row = of_row(function)?;
    Some(Contestant::new(NAME, move || {
        let mut data = data.borrow_mut();
        let width = data.width;
        let Operands { x, out, gamma, beta, .. } = data.operands();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            of_row(x, [gamma, beta], uninitialized(out));
        }
    }))
}
